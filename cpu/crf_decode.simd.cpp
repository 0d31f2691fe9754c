#include "cpu/crf_decode.simd.h"

#include <limits>

#include "cpu/vec_wide.h"

namespace bib::BIB_ISA {
namespace {

constexpr real lowest = -std::numeric_limits<real>::infinity();

/// Where a step of one sequence reads and writes.
struct Step {
  const real* before;
  real *now, *into;
};

/// W vectors of columns of S sequences, U partial maxima each: a maximum is the same in any order.
template <int S, int W, int U>
BIB_INLINE void advance(const Step* step, const real* transition, int rows, int stride, int column) {
  vec best[U][S][W];
  for (int u = 0; u < U; ++u)
    for (int s = 0; s < S; ++s)
      for (int w = 0; w < W; ++w) best[u][s][w] = splat(lowest);
  for (int i = 0; i < rows; i += U)
    for (int u = 0; u < U; ++u) {
      const real* row = transition + static_cast<long long>(i + u) * stride + column;
      for (int s = 0; s < S; ++s) {
        const vec x = splat(step[s].before[i + u]);
        for (int w = 0; w < W; ++w) best[u][s][w] = max(x + load(row + w * lanes), best[u][s][w]);
      }
    }
  for (int s = 0; s < S; ++s)
    for (int w = 0; w < W; ++w) {
      for (int u = 1; u < U; ++u) best[0][s][w] = max(best[u][s][w], best[0][s][w]);
      const int k = column + w * lanes;
      store(step[s].into + k, best[0][s][w]);
      store(step[s].now + k, best[0][s][w] + load(step[s].now + k));
    }
}

template <int S>
void steps(const real* transition, int K, int stride, const CrfPaths* paths, int begin, int end) {
  const int rows = (K + 3) / 4 * 4;
  for (int t = begin; t < end; ++t) {
    Step step[S];
    for (int s = 0; s < S; ++s) {
      real* const now = paths[s].best + static_cast<long long>(t) * stride;
      step[s] = {.before = now - stride, .now = now, .into = paths[s].into + static_cast<long long>(t) * stride};
    }
    int k = 0;
    for (; k + 4 * lanes <= stride; k += 4 * lanes) advance<S, 4, S == 1 ? 2 : 1>(step, transition, rows, stride, k);
    for (; k + 2 * lanes <= stride; k += 2 * lanes) advance<S, 2, S == 1 ? 4 : 2>(step, transition, rows, stride, k);
    for (; k < stride; k += lanes) advance<S, 1, S == 1 ? 4 : 2>(step, transition, rows, stride, k);
  }
}

void forward(const real* transition, int K, int stride, const CrfPaths* paths, int count) {
  int begin = 1;
  for (int s = count; s > 0; --s) {  // the shortest is the last
    const int end = paths[s - 1].n;
    if (end <= begin) continue;
    s == 2 ? steps<2>(transition, K, stride, paths, begin, end) : steps<1>(transition, K, stride, paths, begin, end);
    begin = end;
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
