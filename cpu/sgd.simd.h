// The inner loop of SGD, compiled per instruction set.
#pragma once
#include <cstdint>

#include "bib/real.h"

namespace bib {

struct SgdFactors {
  real scale, lr, momentum, weight_decay;
};

struct SgdSimd {
  void (*update)(const SgdFactors& a, std::int64_t n, const real* grad, real* value, real* velocity);
};

namespace base {
extern const SgdSimd sgd;
}
namespace avx2 {
extern const SgdSimd sgd;
}
namespace avx512 {
extern const SgdSimd sgd;
}

}  // namespace bib
