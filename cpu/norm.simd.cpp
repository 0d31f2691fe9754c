#include "cpu/norm.simd.h"

#include "cpu/vec.h"

namespace bib::BIB_ISA {
namespace {

real sum_of_squares(const real* x, std::int64_t n) {
  constexpr int chains = 4;  // independent sums hide the latency of the addition
  vec part[chains] = {};
  std::int64_t i = 0;
  for (; i + chains * lanes <= n; i += chains * lanes) {
    for (int c = 0; c < chains; ++c) {
      const vec v = load(x + i + c * lanes);
      part[c] += v * v;
    }
  }
  real rest = 0;
  for (; i < n; ++i) rest += x[i] * x[i];
  return sum((part[0] + part[1]) + (part[2] + part[3])) + rest;
}

}  // namespace

const NormSimd norm{.sum_of_squares = sum_of_squares};

}  // namespace bib::BIB_ISA
