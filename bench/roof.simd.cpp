#include "bench/roof.simd.h"

#include "cpu/vec.h"

namespace bib::BIB_ISA {
namespace {

constexpr int chains = 12;  // two units of four cycles' latency need eight; AVX2 has sixteen registers

real multiply_add(std::int64_t rounds) {
  const vec a = splat(real(0.999)), b = splat(real(0.001));
  vec sums[chains];
  for (int c = 0; c < chains; ++c) sums[c] = splat(static_cast<real>(c));
  for (std::int64_t r = 0; r < rounds; ++r) {
    for (int c = 0; c < chains; ++c) sums[c] = fma(sums[c], a, b);
  }
  for (int c = 1; c < chains; ++c) sums[0] += sums[c];
  return sum(sums[0]);
}

void stream(const real* x, real* y, std::int64_t n) {
  for (std::int64_t i = 0; i + lanes <= n; i += lanes) store(y + i, load(y + i) + load(x + i) * real(0.5));
}

}  // namespace

const RoofSimd roof{.flops_per_round = 2.0 * chains * lanes, .multiply_add = multiply_add, .stream = stream};

}  // namespace bib::BIB_ISA
