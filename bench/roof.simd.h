// The loops behind the ceilings of bench/roof.h, compiled per instruction set.
#pragma once
#include <cstdint>

#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {

struct RoofSimd {
  double flops_per_round;
  real (*multiply_add)(std::int64_t rounds);               // in registers
  void (*stream)(const real* x, real* y, std::int64_t n);  // y += x / 2: two reads and a write
  // Products of integers, 16 bits and 8 bits, in registers; [1] by the CPU's instruction for them, if it has one.
  double dot_ops_per_round[2];
  int (*dot[2][2])(std::int64_t rounds);
};

BIB_TABLES(RoofSimd, roof)

}  // namespace bib
