// Viterbi without back-pointers: the forward pass only adds and takes maxima, and keeps both; the way back looks for
// the tag whose sum is that very maximum, O(K) for the one column that matters.
#include <algorithm>
#include <limits>

#include "cpu/crf_decode.simd.h"
#include "cpu/crf_sequences.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace bib {
namespace {

constexpr real lowest = -std::numeric_limits<real>::infinity();

/// Rows padded to `stride` with -infinity; `from[j]` is column j of the transitions.
struct Padded {
  int K, stride;
  real *transition, *from, *last;  // [stride,stride] twice, [stride]
};

Padded pad(Context& ctx, const CrfDecode& op) {
  const int K = op.scores.dim(2), stride = (K + 15) / 16 * 16;
  Padded p{.K = K,
           .stride = stride,
           .transition = ctx.arena().make<real, 2>({stride, stride}).data,
           .from = ctx.arena().make<real, 2>({stride, stride}).data,
           .last = ctx.arena().make<real, 1>({stride}).data};
  const auto value = [&](int i, int j) {
    return i < K && j < K ? op.transition.data[std::int64_t{i} * K + j] : lowest;
  };
  for (int i = 0; i < stride; ++i) {
    p.last[i] = i < K ? op.last[i] : lowest;
    for (int j = 0; j < stride; ++j) {
      p.transition[std::int64_t{i} * stride + j] = value(i, j);
      p.from[std::int64_t{i} * stride + j] = value(j, i);
    }
  }
  return p;
}

/// In double: independent of the order in which the forward pass rounded.
double path_score(const CrfDecode& op, int b, int n) {
  const int B = op.scores.dim(1), K = op.scores.dim(2);
  double score = 0;
  int before = -1;
  for (int t = 0; t < n; ++t) {
    const std::int64_t row = std::int64_t{t} * B + b;
    const int tag = op.tags.data[row];
    score += op.scores.data[row * K + tag];
    score += t == 0 ? op.first[tag] : op.transition.data[std::int64_t{before} * K + tag];
    before = tag;
  }
  return n == 0 ? 0 : score + op.last[before];
}

struct Rows {
  real *best, *into;  // [T,stride]: best score of a path to a tag, and the same before its emission
};

void decode(const CrfDecode& op, const CrfDecodeSimd& simd, const Padded& p, const Rows& rows, int b) {
  const int T = op.scores.dim(0), B = op.scores.dim(1), n = op.lengths[b];
  const auto best = [&](int t) { return rows.best + std::int64_t{t} * p.stride; };
  const crf::Sequence s = crf::sequence_of(op, b);
  for (int t = 0; t < n; ++t) {
    const real* scores = s.scores + t * s.score_step;
    std::copy(scores, scores + p.K, best(t));
    std::fill(best(t) + p.K, best(t + 1), lowest);
  }
  for (int k = 0; k < p.K && n > 0; ++k) rows.best[k] += op.first[k];
  simd.forward(p.transition, p.K, p.stride, rows.best, rows.into, n);
  const real* next = p.last;
  real sum = n > 0 ? simd.max_of_sum(best(n - 1), next, p.stride) : 0;
  for (int t = n; t-- > 0;) {
    const int tag = simd.find_sum(best(t), next, p.stride, sum);
    op.tags.data[std::int64_t{t} * B + b] = tag;
    next = p.from + std::int64_t{tag} * p.stride;
    sum = rows.into[std::int64_t{t} * p.stride + tag];
  }
  const double score = path_score(op, b, n);
  op.score[b] = static_cast<real>(score);
  const bool exists = score != -std::numeric_limits<double>::infinity();
  for (int t = exists ? n : 0; t < T; ++t) op.tags.data[std::int64_t{t} * B + b] = -1;
}

}  // namespace

void on_cpu(Context& ctx, const CrfDecode& op) {
  crf::expect_batch(op);
  const CrfDecodeSimd& simd = select(base::crf_decode, avx2::crf_decode, avx512::crf_decode);
  ArenaScope scratch(ctx.arena());
  const Padded padded = pad(ctx, op);
  const std::array shape{op.scores.dim(0), padded.stride};
  const auto rows = [&] { return Rows{ctx.arena().make<real, 2>(shape).data, ctx.arena().make<real, 2>(shape).data}; };
  parallel_for_with(ctx, op.scores.dim(1), rows, [&](Rows& r, int b) { decode(op, simd, padded, r, b); });
}

}  // namespace bib
