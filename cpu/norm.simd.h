// The inner loop of the gradient norm, compiled per instruction set.
#pragma once
#include <cstdint>

#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {

struct NormSimd {
  real (*sum_of_squares)(const real* x, std::int64_t n);
};

BIB_TABLES(NormSimd, norm)

}  // namespace bib
