// The inner loop of SGD, compiled per instruction set.
#pragma once
#include <cstdint>

#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {

struct SgdFactors {
  real scale, lr, momentum, weight_decay;
};

struct SgdSimd {
  void (*update)(const SgdFactors& a, std::int64_t n, const real* grad, real* value, real* velocity);
};

BIB_TABLES(SgdSimd, sgd)

}  // namespace bib
