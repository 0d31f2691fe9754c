// The loops behind the ceilings of bench/roof.h, compiled per instruction set.
#pragma once
#include <cstdint>

#include "bib/real.h"

namespace bib {

struct RoofSimd {
  double flops_per_round;
  real (*multiply_add)(std::int64_t rounds);               // in registers
  void (*stream)(const real* x, real* y, std::int64_t n);  // y += x / 2: two reads and a write
};

namespace base {
extern const RoofSimd roof;
}
namespace avx2 {
extern const RoofSimd roof;
}
namespace avx512 {
extern const RoofSimd roof;
}

}  // namespace bib
