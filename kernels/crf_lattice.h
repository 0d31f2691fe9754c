// What the CRF ops' kernels work on: the operands, and alpha and beta of every sequence in scaled probability space in
// double, as cpu/crf_lattice.h explains them. crf_chains.h fills them.
#pragma once
#include "bib/ops/crf.h"
#include "kernels/device.h"

namespace bib::device::crf {

/// The operands every CRF op has.
struct Batch {
  const float* scores;
  const int* lengths;
  const float *transition, *first, *last;
  const int* tags;  // null: every tag is allowed everywhere
  int T, B, K;
  __device__ std::int64_t at(int t, int b, int k) const { return (static_cast<std::int64_t>(t) * B + b) * K + k; }
  __device__ int raw_tag(int t, int b) const { return tags[static_cast<std::int64_t>(t) * B + b]; }
  /// One that is none, which the loss refuses, counts as missing.
  __device__ int tag(int t, int b) const {
    const int k = raw_tag(t, b);
    return k < K ? k : -1;
  }
};

/// Exponentials of the transition scores relative to their maximum; 0 where forbidden or more than `widest` below it.
struct Weights {
  double *forward, *backward;    // [K,stride], and beyond 32 tags transposed, [K,K]
  double *exp_first, *exp_last;  // [K]
  double* tops;                  // beyond 32 tags: transition, first, last; then the smallest distance dropped
  int stride;                    // from row to row of `forward`
};

/// Variant 0 sums all paths, variant 1 those that agree with the tags (made where some are missing).
struct Lattice {
  double *alpha, *beta, *ahead;  // [variants,B,T,K]; in log space their logarithms
                                 // at the end beta is the marginals, and alpha divided by the sum of its step
  double* emission;              // exp(score - step's maximum): [T,B,K], up to 32 tags [variants,B,T,K]
  double* log_z;                 // [variants,B]
  int* in_log;                   // [variants,B]
  double *top, *dropped;         // beyond 32 tags: [T,B] of the emissions
  int* exponent;                 // beyond 32 tags: [variants,B], powers of two taken out of alpha
  int* lost;                     // beyond 32 tags: [2,variants,B] by direction
  int* annotated;                // [B] steps that have a tag; not set where the batch has no tags
  int variants;
};

struct Sums {
  Batch batch;
  Weights weights;
  Lattice lattice;
  __device__ std::int64_t row(int variant, int b, int t) const {
    return ((static_cast<std::int64_t>(variant) * batch.B + b) * batch.T + t) * batch.K;
  }
  /// p(y_t = k | x) over the paths of the variant.
  __device__ double marginal(int variant, int b, int t, int k) const { return lattice.beta[row(variant, b, t) + k]; }
  /// p(y_t = i, y_t+1 = j | x)
  __device__ double pair(int variant, int b, int t, int i, int j) const {
    const std::int64_t here = row(variant, b, t) + i, next = row(variant, b, t + 1) + j;
    const int s = variant * batch.B + b;
    if (!lattice.in_log[s])
      return lattice.alpha[here] * weights.forward[static_cast<std::int64_t>(i) * weights.stride + j] *
             lattice.ahead[next];
    if (isinf(lattice.log_z[s])) return 0;
    return exp(lattice.alpha[here] + batch.transition[static_cast<std::int64_t>(i) * batch.K + j] +
               lattice.ahead[next] - lattice.log_z[s]);
  }
};

template <class Op>
Batch batch_of(const Op& op, const int* tags = nullptr) {
  return {.scores = op.scores.data,
          .lengths = op.lengths.data,
          .transition = op.transition.data,
          .first = op.first.data,
          .last = op.last.data,
          .tags = tags,
          .T = op.scores.dim(0),
          .B = op.scores.dim(1),
          .K = op.scores.dim(2)};
}

}  // namespace bib::device::crf
