// K-best Viterbi: each tag of each step keeps its N best partial paths in order; a step merges K such lists per tag.
// In double, so that paths of different score hardly ever become equal by rounding. Equal scores: the lower tag first,
// then the order of its list, which is the order of the paths from their last step to their first.
#include <algorithm>
#include <limits>

#include "cpu/crf_decode.simd.h"
#include "cpu/crf_sequences.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace bib {
namespace {

constexpr double lowest = -std::numeric_limits<double>::infinity();

struct Lists {
  double *before, *now;  // [N,stride] scores, columns falling; -infinity where there is no path
  double *step, *head;   // [stride]
  int* rank;             // [stride]
  double* score;         // [N] of the tag being merged
  int *from, *ends;      // [T,K,N] and [N]: tag * N + rank at the step before
};

class KBest {
 public:
  KBest(Context& ctx, const CrfKBest& op)
      : op_(op), K(op.scores.dim(2)), N(op.tags.dim(0)), stride((K + 7) / 8 * 8), into_(take(ctx, K)) {
    for (int j = 0; j < K; ++j)
      for (int i = 0; i < stride; ++i)
        into_[std::int64_t{j} * stride + i] = i < K ? double{op.transition[i][j]} : lowest;
  }

  Lists make_lists(Context& ctx) const {
    return {.before = take(ctx, N),
            .now = take(ctx, N),
            .step = take(ctx, 1),
            .head = take(ctx, 1),
            .rank = ctx.arena().make<int, 1>({stride}).data,
            .score = ctx.arena().make<double, 1>({N}).data,
            .from = ctx.arena().make<int, 3>({op_.tags.dim(1), K, N}).data,
            .ends = ctx.arena().make<int, 1>({N}).data};
  }

  void operator()(Lists& l, int b) const {
    const int T = op_.tags.dim(1), B = op_.scores.dim(1), n = op_.lengths[b];
    if (n > 0) {
      search(l, crf::sequence_of(op_, b));
    } else {
      std::fill(l.score, l.score + N, lowest);
      l.score[0] = 0;  // the empty path
    }
    for (int r = 0; r < N; ++r) {
      const bool exists = l.score[r] != lowest;
      int* tags = op_.tags[r].data + b;
      op_.score[r][b] = static_cast<real>(l.score[r]);
      for (int t = exists ? n : 0; t < T; ++t) tags[std::int64_t{t} * B] = -1;
      if (!exists || n == 0) continue;
      for (int t = n - 1, at = l.ends[r];; --t) {
        tags[std::int64_t{t} * B] = at / N;
        if (t == 0) break;
        at = from(l, t, at / N)[at % N];
      }
    }
  }

 private:
  double* take(Context& ctx, int rows) const { return ctx.arena().make<double, 2>({rows, stride}).data; }
  int* from(const Lists& l, int t, int k) const { return l.from + (std::int64_t{t} * K + k) * N; }

  /// Leaves the scores of the best paths in l.score and their ends in l.ends.
  void search(Lists& l, const crf::Sequence& s) const {
    std::fill(l.before, l.before + std::int64_t{N} * stride, lowest);
    std::fill(l.now, l.now + std::int64_t{N} * stride, lowest);
    for (int k = 0; k < K; ++k) l.before[k] = double{op_.first[k]} + s.scores[k];
    for (int t = 1; t < s.length; ++t) {
      for (int j = 0; j < K; ++j) {
        const double emission = s.scores[t * s.score_step + j];
        const double* into = into_ + std::int64_t{j} * stride;
        for (int i = 0; i < stride; ++i) l.step[i] = into[i] + emission;
        simd_.merge(l.before, l.step, stride, N, l.head, l.rank, l.score, from(l, t, j));
        for (int r = 0; r < N; ++r) l.now[std::int64_t{r} * stride + j] = l.score[r];
      }
      std::swap(l.before, l.now);
    }
    for (int i = 0; i < stride; ++i) l.step[i] = i < K ? double{op_.last[i]} : lowest;
    simd_.merge(l.before, l.step, stride, N, l.head, l.rank, l.score, l.ends);
  }

  const CrfKBest& op_;
  const CrfDecodeSimd& simd_ = BIB_SELECT(crf_decode);
  int K, N, stride;
  double* into_;  // [K,stride] transitions by the tag they lead to
};

}  // namespace

void on_cpu(Context& ctx, const CrfKBest& op) {
  ArenaScope scratch(ctx.arena());
  if (op.tags.dim(0) == 0) return;
  const KBest k_best(ctx, op);
  const auto lists = [&] { return k_best.make_lists(ctx); };
  parallel_for_with(ctx, op.scores.dim(1), lists, [&](Lists& l, int b) { k_best(l, b); });
}

}  // namespace bib
