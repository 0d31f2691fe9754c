// K-best Viterbi: each tag of each step keeps its N best partial paths in order; a step merges K such lists per tag.
#include <algorithm>
#include <limits>

#include "cpu/crf_sequences.h"
#include "cpu/parallel.h"

namespace bib {
namespace {

constexpr double lowest = -std::numeric_limits<double>::infinity();

/// In double, so that paths of different score hardly ever become equal by rounding.
struct Lists {
  int K, N;
  double *before, *now;  // [K,N] scores, falling; -infinity where there is no path
  int* from;             // [T,K,N]  tag * N + rank at the step before
  double* head;          // [K] the best of each list that is not taken yet
  int* rank;             // [K]
};

Lists make_lists(Context& ctx, const CrfKBest& op) {
  const int N = op.tags.dim(0), T = op.tags.dim(1), K = op.scores.dim(2);
  return {.K = K,
          .N = N,
          .before = ctx.arena().make<double, 2>({K, N}).data,
          .now = ctx.arena().make<double, 2>({K, N}).data,
          .from = ctx.arena().make<int, 3>({T, K, N}).data,
          .head = ctx.arena().make<double, 1>({K}).data,
          .rank = ctx.arena().make<int, 1>({K}).data};
}

/// The N best of {before[i][r] + step(i)}, to score[N] and from[N]. Equal scores: the lower tag first, then the order
/// of the list, which is the order of the paths from their last step to their first.
template <class Step>
void merge(const Lists& l, Step&& step, double* score, int* from) {
  for (int i = 0; i < l.K; ++i) {
    l.rank[i] = 0;
    l.head[i] = l.before[std::int64_t{i} * l.N] + step(i);
  }
  for (int r = 0; r < l.N; ++r) {
    const int i = static_cast<int>(std::max_element(l.head, l.head + l.K) - l.head);
    score[r] = l.head[i];
    from[r] = i * l.N + l.rank[i];
    const int taken = ++l.rank[i];
    l.head[i] = taken < l.N ? l.before[std::int64_t{i} * l.N + taken] + step(i) : lowest;
  }
}

void k_best(const CrfKBest& op, Lists& l, int b) {
  const int T = op.tags.dim(1), B = op.scores.dim(1), n = op.lengths[b];
  const crf::Sequence s = crf::sequence_of(op, b);
  const auto from = [&](int t, int k) { return l.from + (std::int64_t{t} * l.K + k) * l.N; };
  for (int k = 0; k < l.K && n > 0; ++k) {
    std::fill(l.before + std::int64_t{k} * l.N, l.before + std::int64_t{k + 1} * l.N, lowest);
    l.before[std::int64_t{k} * l.N] = static_cast<double>(op.first[k]) + s.scores[k];
  }
  for (int t = 1; t < n; ++t) {
    const real* scores = s.scores + t * s.score_step;
    for (int j = 0; j < l.K; ++j) {
      const real* column = op.transition.data + j;
      const double emission = scores[j];
      merge(
          l, [&](int i) { return column[std::int64_t{i} * l.K] + emission; }, l.now + std::int64_t{j} * l.N,
          from(t, j));
    }
    std::swap(l.before, l.now);
  }
  // The ends reuse what row 0 of `from`, which no step fills, and `now` have room for.
  if (n > 0) {
    merge(
        l, [&](int i) { return static_cast<double>(op.last[i]); }, l.now, from(0, 0));
  } else {
    for (int r = 0; r < l.N; ++r) l.now[r] = r == 0 ? 0 : lowest;  // the one empty path
  }
  for (int r = 0; r < l.N; ++r) {
    op.score[r][b] = static_cast<real>(l.now[r]);
    int* tags = op.tags[r].data + b;
    for (int t = l.now[r] == lowest ? 0 : n; t < T; ++t) tags[std::int64_t{t} * B] = -1;
    if (l.now[r] == lowest) continue;
    for (int t = n, at = n > 0 ? from(0, 0)[r] : 0; t-- > 0; at = t > 0 ? from(t, at / l.N)[at % l.N] : 0)
      tags[std::int64_t{t} * B] = at / l.N;
  }
}

}  // namespace

void on_cpu(Context& ctx, const CrfKBest& op) {
  crf::expect_batch(op);
  ArenaScope scratch(ctx.arena());
  if (op.tags.dim(0) == 0) return;
  const auto lists = [&] { return make_lists(ctx, op); };
  parallel_for_with(ctx, op.scores.dim(1), lists, [&](Lists& l, int b) { k_best(op, l, b); });
}

}  // namespace bib
