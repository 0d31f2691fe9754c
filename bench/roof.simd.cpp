#include "bench/roof.simd.h"

#include "cpu/dot.h"
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

template <class Codes, bool Native>
int dot(std::int64_t rounds) {
  const ivec a = ivec{} + 0x01020304;
  ivec b = ivec{} + 0x04030201;
  ivec sums[chains]{};
  for (std::int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+m"(b));  // as if b changed: its product with a is not the same for all rounds
#pragma GCC unroll 12            // or they stay in memory
    for (int c = 0; c < chains; ++c) sums[c] = Codes::template dot<Native>(sums[c], a, b);
  }
#pragma GCC unroll 12
  for (int c = 1; c < chains; ++c) sums[0] += sums[c];
  int total = 0;
  for (int i = 0; i < lanes; ++i) total += sums[0][i];
  return total;
}

constexpr double ops = 2.0 * chains * lanes;

}  // namespace

const RoofSimd roof{.flops_per_round = ops,
                    .multiply_add = multiply_add,
                    .stream = stream,
                    .dot_ops_per_round = {ops * Codes16::per_group, ops* Codes8::per_group},
                    .dot = {{dot<Codes16, false>, dot<Codes16, true>}, {dot<Codes8, false>, dot<Codes8, true>}}};

}  // namespace bib::BIB_ISA
