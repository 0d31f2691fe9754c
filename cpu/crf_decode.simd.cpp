#include "cpu/crf_decode.simd.h"

#include <limits>

#include "cpu/vec_wide.h"

namespace bib::BIB_ISA {
namespace {

constexpr real lowest = -std::numeric_limits<real>::infinity();

/// W vectors of columns, U partial maxima each: a maximum is the same in any order.
template <int W, int U>
BIB_INLINE void advance(const real* before, const real* transition, int rows, int stride, real* now, real* into) {
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
    store(into + w * lanes, best[0][w]);
    store(now + w * lanes, best[0][w] + load(now + w * lanes));
  }
}

void forward(const real* transition, int K, int stride, real* best, real* into, int n) {
  const int rows = (K + 3) / 4 * 4;
  for (int t = 1; t < n; ++t) {
    const real* before = best + static_cast<long long>(t - 1) * stride;
    real *now = best + static_cast<long long>(t) * stride, *max = into + static_cast<long long>(t) * stride;
    int k = 0;
    for (; k + 4 * lanes <= stride; k += 4 * lanes)
      advance<4, 2>(before, transition + k, rows, stride, now + k, max + k);
    for (; k + 2 * lanes <= stride; k += 2 * lanes)
      advance<2, 4>(before, transition + k, rows, stride, now + k, max + k);
    for (; k < stride; k += lanes) advance<1, 4>(before, transition + k, rows, stride, now + k, max + k);
  }
}

real max_of_sum(const real* a, const real* b, int stride) {
  vec best = splat(lowest);
  for (int k = 0; k < stride; k += lanes) best = max(load(a + k) + load(b + k), best);
  return largest(best);
}

int find_sum(const real* a, const real* b, int stride, real sum) {
  for (int k = 0; k < stride; k += lanes)
    if (const unsigned found = bits(load(a + k) + load(b + k) == splat(sum))) return k + __builtin_ctz(found);
  return 0;
}

void merge(const double* before, const double* step, int stride, int N, double* head, int* rank, double* score,
           int* from) {
  for (int k = 0; k < stride; k += wide_lanes) store_wide(head + k, load_wide(before + k) + load_wide(step + k));
  for (int k = 0; k < stride; ++k) rank[k] = 0;
  for (int r = 0; r < N; ++r) {
    wide best = load_wide(head);
    for (int k = wide_lanes; k < stride; k += wide_lanes) best = max_wide(load_wide(head + k), best);
    const double top = largest_lane(best);
    int i = 0;
    for (int k = 0; k < stride; k += wide_lanes) {
      const unsigned found = lane_bits(load_wide(head + k) == splat_wide(top));
      if (!found) continue;
      i = k + __builtin_ctz(found);
      break;
    }
    score[r] = top;
    from[r] = i * N + rank[i];
    const int next = ++rank[i];
    head[i] = next < N ? before[static_cast<long long>(next) * stride + i] + step[i] : -__builtin_inf();
  }
}

}  // namespace

const CrfDecodeSimd crf_decode{.forward = forward, .max_of_sum = max_of_sum, .find_sum = find_sum, .merge = merge};

}  // namespace bib::BIB_ISA
