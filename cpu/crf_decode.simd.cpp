#include "cpu/crf_decode.simd.h"

#include <limits>

#include "cpu/vec.h"

namespace bib::BIB_ISA {
namespace {

constexpr real lowest = -std::numeric_limits<real>::infinity();

/// W vectors of columns, U partial maxima each: a maximum is the same in any order.
template <int W, int U>
BIB_INLINE void advance(const real* before, const real* transition, int rows, int stride, real* now) {
  vec best[U][W];
  for (int u = 0; u < U; ++u)
    for (int w = 0; w < W; ++w) best[u][w] = splat(lowest);
  for (int i = 0; i < rows; i += U)
    for (int u = 0; u < U; ++u) {
      const vec x = splat(before[i + u]);
      const real* row = transition + static_cast<long long>(i + u) * stride;
      for (int w = 0; w < W; ++w) best[u][w] = max(x + load(row + w * lanes), best[u][w]);
    }
  for (int w = 0; w < W; ++w) {
    for (int u = 1; u < U; ++u) best[0][w] = max(best[u][w], best[0][w]);
    store(now + w * lanes, best[0][w] + load(now + w * lanes));
  }
}

void forward(const real* transition, int K, int stride, real* best, int n) {
  const int vectors = stride / lanes, rows = (K + 3) / 4 * 4;
  for (int t = 1; t < n; ++t) {
    const real* before = best + static_cast<long long>(t - 1) * stride;
    real* now = best + static_cast<long long>(t) * stride;
    int v = 0;
    for (; v + 4 <= vectors; v += 4) advance<4, 2>(before, transition + v * lanes, rows, stride, now + v * lanes);
    for (; v + 2 <= vectors; v += 2) advance<2, 4>(before, transition + v * lanes, rows, stride, now + v * lanes);
    for (; v < vectors; ++v) advance<1, 4>(before, transition + v * lanes, rows, stride, now + v * lanes);
  }
}

int argmax_of_sum(const real* a, const real* b, int stride) {
  vec best = splat(lowest);
  for (int k = 0; k < stride; k += lanes) best = max(load(a + k) + load(b + k), best);
  const real top = largest(best);
  for (int k = 0; k < stride; k += lanes) {
    const ivec equal = load(a + k) + load(b + k) == splat(top);
    integer hit[lanes];
    __builtin_memcpy(hit, &equal, sizeof hit);
    for (int i = 0; i < lanes; ++i)
      if (hit[i]) return k + i;
  }
  return 0;
}

}  // namespace

const CrfDecodeSimd crf_decode{.forward = forward, .argmax_of_sum = argmax_of_sum};

}  // namespace bib::BIB_ISA
