// CRF loss with its gradients, and marginals, two sequences at a time.
// Deterministic: a sequence's loss, d_scores and marginals depend on that sequence alone; d_transition, d_first and
// d_last are summed in double over fixed groups of sequences, and the groups' sums are added in their order.
#include "bib/ops/crf.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "cpu/crf_lattice.h"
#include "cpu/crf_sequences.h"
#include "cpu/parallel.h"

namespace bib {
namespace {

using crf::Lattice;
using crf::Sequence;
using crf::Weights;

constexpr int most_groups = 32;                  // how many threads can work on one batch
constexpr std::int64_t most_sums = 4096 * 1024;  // doubles: 32 MiB for all groups, unless one alone is larger

struct Gold {
  double score = 0;   // of the annotated path; meaningful when every step is annotated
  int annotated = 0;  // steps with a tag
};

/// Checks the annotation of one sequence and scores it. Throws when it names no tag or uses a forbidden score.
Gold score_gold(const CrfLoss& op, int b) {
  const int n = op.lengths[b], B = op.scores.dim(1), K = op.scores.dim(2);
  Gold gold;
  for (int t = 0, before = -1; t < n; ++t) {
    const std::int64_t row = std::int64_t{t} * B + b;
    const int tag = op.tags.data[row];
    CrfFault fault{.sequence = b, .step = t, .tag = tag, .before = before};
    if (tag < -1 || tag >= K) fault.kind = CrfFault::not_a_tag;
    if (tag >= 0 && fault.kind == CrfFault::none) {
      double part = op.scores.data[row * K + tag];
      if (t == 0) part += op.first[tag];
      if (before >= 0) part += op.transition.data[std::int64_t{before} * K + tag];
      if (t == n - 1) part += op.last[tag];
      if (std::isinf(part) && part < 0) fault.kind = CrfFault::forbidden;
      gold.score += part;
      ++gold.annotated;
    }
    if (fault.kind != CrfFault::none) fault.refuse(op.name);
    before = tag;
  }
  return gold;
}

/// The first step that no path reaches, where log Z is -infinity (which only log space reports), else the last.
int dead_end(const Lattice& l, int n) {
  const auto unreachable = [](double log_alpha) { return std::isinf(log_alpha); };
  for (int t = 0; t < n; ++t) {
    const double* row = l.alpha + std::int64_t{t} * l.stride;
    if (std::all_of(row, row + l.K, unreachable)) return t;
  }
  return n - 1;
}

/// Gradients summed over a group of sequences: K rows of transitions, one of first, one of last.
struct Sums {
  double* data = nullptr;
  int K = 0, stride = 0;
  double* row(int i) const { return data + std::int64_t{i} * stride; }
};

/// Loss and gradients of a group of sequences, in their order.
class LossOf {
 public:
  LossOf(const CrfLoss& op, const Weights& weights) : op_(op), weights_(weights) {}

  void operator()(crf::Lattices& lattices, int begin, int end, const Sums& sums) const {
    std::array<Counted, crf::at_once> some;
    int n = 0;
    for (int b = begin; b < end; ++b) {
      const Counted next{.b = b, .gold = score_gold(op_, b)};
      const bool counts =
          next.gold.annotated > 0 && op_.weight[b] != 0;  // with no annotation every path agrees: loss 0
      if (with_gradients()) clear(b, counts ? op_.lengths[b] : 0);
      op_.loss[b] = 0;
      if (counts) some[n++] = next;
      if (n == crf::at_once || b + 1 == end) add(lattices, some.data(), std::exchange(n, 0), sums);
    }
  }

 private:
  struct Counted {
    int b;
    Gold gold;
  };

  void add(crf::Lattices& lattices, const Counted* some, int n, const Sums& sums) const {
    std::array<Sequence, crf::at_once> sequences;
    for (int i = 0; i < n; ++i) sequences[i] = crf::sequence_of(op_, some[i].b);
    crf::sum_paths(weights_, sequences.data(), n, lattices.data(), with_gradients());
    for (int i = 0; i < n; ++i) add_one(lattices[i], sequences[i], some[i], sums);
  }

  void add_one(Lattice& lattice, Sequence sequence, const Counted& which, const Sums& sums) const {
    const auto [b, gold] = which;
    const int n = op_.lengths[b];
    const double w = op_.weight[b], log_z = lattice.log_z;
    double log_z_allowed = gold.score;
    if (gold.annotated == n) {
      if (with_gradients()) subtract_gold(lattice, b, w, sums);
      if (with_gradients()) add_expectations(lattice, b, w, false, sums);
    } else {
      if (with_gradients()) add_expectations(lattice, b, w, false, sums);
      sequence.tags = op_.tags.data + b;
      sequence.tag_step = op_.tags.dim(1);
      crf::sum_paths(weights_, &sequence, 1, &lattice, with_gradients());
      log_z_allowed = lattice.log_z;
      if (std::isinf(log_z_allowed))
        CrfFault{.kind = CrfFault::no_path, .sequence = b, .step = dead_end(lattice, n)}.refuse(op_.name);
      if (with_gradients()) add_expectations(lattice, b, -w, true, sums);
    }
    op_.loss[b] = static_cast<real>(w * (log_z - log_z_allowed));
  }

  bool with_gradients() const { return static_cast<bool>(op_.d_scores); }

  void clear(int b, int from) const {
    for (int t = from; t < op_.d_scores.dim(0); ++t) {
      real* row = op_.d_scores[t][b].data;
      std::fill(row, row + op_.d_scores.dim(2), real(0));
    }
  }

  /// In double, before anything is rounded: p - 1 keeps its digits where p is nearly 1.
  void subtract_gold(const Lattice& l, int b, double w, const Sums& sums) const {
    const int n = op_.lengths[b], B = op_.tags.dim(1);
    const int* tag = op_.tags.data + b;
    for (int t = 0; t < n; ++t, tag += B) {
      l.marginal[std::int64_t{t} * l.stride + *tag] -= 1;
      if (t > 0) sums.row(tag[-B])[*tag] -= w;
    }
  }

  void add_expectations(const Lattice& l, int b, double w, bool add, const Sums& sums) const {
    const int n = op_.lengths[b];
    real* d_scores = op_.d_scores.data + std::int64_t{b} * l.K;
    crf::lattice_kernels().write_marginals(l, n, w, add, d_scores, crf::step_of(op_.d_scores));
    crf::add_pairs(weights_, l, n, w, sums.data);
    const double* final = l.marginal + std::int64_t{n - 1} * l.stride;
    for (int k = 0; k < l.K; ++k) {
      sums.row(l.K)[k] += w * l.marginal[k];
      sums.row(l.K + 1)[k] += w * final[k];
    }
  }

  const CrfLoss& op_;
  const Weights& weights_;
};

/// Adds the groups' sums, in their order, to the gradients (and into the first group).
void add_groups(Context& ctx, const CrfLoss& op, View<double, 3> groups) {
  const int K = op.first.dim(0);
  parallel_chunks(ctx, K + 2, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      double* total = groups[0][i].data;
      for (int g = 1; g < groups.dim(0); ++g) {
        const double* part = groups[g][i].data;
        for (int k = 0; k < K; ++k) total[k] += part[k];
      }
      real* out = i < K ? op.d_transition[i].data : i == K ? op.d_first.data : op.d_last.data;
      for (int k = 0; k < K; ++k) out[k] += static_cast<real>(total[k]);
    }
  });
}

}  // namespace

void on_cpu(Context& ctx, const CrfLoss& op) {
  const int T = op.scores.dim(0), B = op.scores.dim(1), K = op.scores.dim(2);
  ArenaScope scratch(ctx.arena());
  const Weights weights = crf::make_weights(ctx, K, op.transition.data, op.first.data, op.last.data);
  const LossOf loss(op, weights);
  const std::int64_t sums_of_group = op.d_scores ? std::int64_t{K + 2} * weights.stride : 1;
  const std::int64_t fit = std::max<std::int64_t>(1, most_sums / sums_of_group);
  const int pairs = (B + crf::at_once - 1) / crf::at_once;
  const int groups = static_cast<int>(std::min<std::int64_t>({pairs, most_groups, fit}));
  const auto sums = ctx.arena().make<double, 3>({op.d_scores ? groups : 0, K + 2, weights.stride});
  const auto lattices = [&] { return crf::make_lattices(ctx, weights, T); };
  parallel_for_with(ctx, groups, lattices, [&](crf::Lattices& l, int g) {
    const auto bound = [&](int i) {
      return std::min(B, crf::at_once * static_cast<int>(std::int64_t{pairs} * i / groups));
    };
    Sums sum;
    if (op.d_scores) {
      sum = {.data = sums[g].data, .K = K, .stride = weights.stride};
      std::fill(sum.data, sum.data + sums[g].size(), 0.0);
    }
    loss(l, bound(g), bound(g + 1), sum);
  });
  if (op.d_scores && groups > 0) add_groups(ctx, op, sums);
}

void on_cpu(Context& ctx, const CrfMarginals& op) {
  const int T = op.scores.dim(0), B = op.scores.dim(1), K = op.scores.dim(2);
  ArenaScope scratch(ctx.arena());
  const Weights weights = crf::make_weights(ctx, K, op.transition.data, op.first.data, op.last.data);
  const std::int64_t step = crf::step_of(op.marginals);
  for (int b = 0; b < B; ++b) {
    op.log_z[b] = 0;
    for (int t = op.lengths[b]; t < T; ++t) std::fill_n(op.marginals[t][b].data, K, real(0));
  }
  const auto all = [](int) { return true; };
  crf::with_marginals(ctx, op, weights, all, [&](const Lattice& l, int b) {
    real* out = op.marginals.data + std::int64_t{b} * K;
    crf::lattice_kernels().write_marginals(l, op.lengths[b], 1, false, out, step);
    op.log_z[b] = static_cast<real>(l.log_z);
  });
}

}  // namespace bib
