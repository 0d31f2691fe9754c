// The inner loop of the gradient norm, compiled per instruction set.
#pragma once
#include <cstdint>

#include "bib/real.h"

namespace bib {

struct NormSimd {
  real (*sum_of_squares)(const real* x, std::int64_t n);
};

namespace base {
extern const NormSimd norm;
}
namespace avx2 {
extern const NormSimd norm;
}
namespace avx512 {
extern const NormSimd norm;
}

}  // namespace bib
