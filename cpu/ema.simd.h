// The inner loop of the moving average, compiled per instruction set.
#pragma once
#include <cstdint>

#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {

struct EmaSimd {
  /// average = keep average + add value, but exactly value where the two agree.
  void (*update)(real keep, real add, std::int64_t n, const real* value, real* average);
};

BIB_TABLES(EmaSimd, ema)

}  // namespace bib
