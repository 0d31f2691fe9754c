// All tag paths of a sequence in log space: slower than the scaled chains, right for any finite score. For the few
// sequences that those refuse.
#pragma once
#include "kernels/crf_lattice.h"

namespace bib::device::crf {

__device__ inline double larger(double a, double b) { return a > b ? a : b; }

/// log of the sum of exp(term(i)), i < K
template <class F>
__device__ double log_sum(int K, const F& term) {
  double top = -INFINITY, sum = 0;
  for (int i = 0; i < K; ++i) top = larger(top, term(i));
  if (isinf(top)) return top;
#pragma unroll 1
  for (int i = 0; i < K; ++i) sum += exp(term(i) - top);
  return top + log(sum);
}

/// Of n steps and K tags, B K scores and B tags from step to step. log Z; alpha, ahead and, at `beta`, marginals, all
/// [n,K]. All threads of a block. A function of its own, of plain arguments, so that the kernels that may come here
/// keep their registers and what they know of their pointers.
static __device__ __attribute__((noinline)) double log_space(const float* scores, const int* tags,
                                                             const float* transition, const float* first,
                                                             const float* last, double* alpha, double* beta,
                                                             double* ahead, int n, int B, int K) {
  const int me = static_cast<int>(threadIdx.x), width = static_cast<int>(blockDim.x);
  const auto row = [&](double* of, int t) { return of + static_cast<std::int64_t>(t) * K; };
  const auto score = [&](int t, int k) -> double {
    const int tag = tags ? tags[static_cast<std::int64_t>(t) * B] : -1;
    return tag < 0 || tag >= K || tag == k ? scores[static_cast<std::int64_t>(t) * B * K + k] : -INFINITY;
  };
  const auto between = [&](int i, int j) -> double { return transition[static_cast<std::int64_t>(i) * K + j]; };
  for (int t = 0; t < n; ++t) {
    const double* before = row(alpha, t > 0 ? t - 1 : 0);
    for (int j = me; j < K; j += width)
      row(alpha, t)[j] =
          score(t, j) + (t == 0 ? first[j] : log_sum(K, [&](int i) { return before[i] + between(i, j); }));
    __syncthreads();
  }
  for (int t = n; t-- > 0;) {
    const double* next = row(ahead, t + 1 < n ? t + 1 : t);
    for (int i = me; i < K; i += width) {
      const double to_end = t + 1 == n ? last[i] : log_sum(K, [&](int j) { return between(i, j) + next[j]; });
      row(beta, t)[i] = to_end;
      row(ahead, t)[i] = to_end + score(t, i);
    }
    __syncthreads();
  }
  const double log_z = log_sum(K, [&](int k) { return row(alpha, n - 1)[k] + last[k]; });
  for (std::int64_t i = me; i < std::int64_t{n} * K; i += width)
    beta[i] = isinf(log_z) ? 0.0 : exp(alpha[i] + beta[i] - log_z);
  return log_z;
}

__device__ inline double sum_in_log_space(const Sums& s, int variant, int b) {
  const Batch& a = s.batch;
  const std::int64_t at = s.row(variant, b, 0);
  return log_space(a.scores + a.at(0, b, 0), variant ? a.tags + b : nullptr, a.transition, a.first, a.last,
                   s.lattice.alpha + at, s.lattice.beta + at, s.lattice.ahead + at, a.lengths[b], a.B, a.K);
}

}  // namespace bib::device::crf
