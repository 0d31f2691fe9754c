// CRF loss with its gradients, marginals, and exact span probabilities, on the lattice of crf_lattice.h.
// Deterministic: transition gradients are summed in double over fixed groups of sequences, in their order, each thread
// owning one pair of tags; the groups' sums are added in order. No atomics, no word to the host.
#include "bib/ops/crf.h"
#include "kernels/crf_lattice.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"

namespace bib {
namespace device::crf {
namespace {

constexpr int most_groups = 32;
constexpr std::int64_t most_sums = 4096 * 1024;  // doubles

struct Loss {
  Sums sums;
  const float* weight;
  float *loss, *d_scores, *d_transition, *d_first, *d_last;
  double* pairs;  // [groups,K,K]
  int groups;

  enum class Kind { none, partial, full };
  /// How sequence b counts: not at all, against the paths that agree with its tags, or against its one path.
  __device__ Kind kind(int b) const {
    const int n = annotated(sums.batch, b);
    if (n == 0 || weight[b] == 0) return Kind::none;
    return n == sums.batch.lengths[b] ? Kind::full : Kind::partial;
  }
};

__device__ double gold_score(const Batch& a, int b) {
  double score = 0;
  const int n = a.lengths[b];
  for (int t = 0; t < n; ++t) {
    const int tag = a.tag(t, b);
    score += a.scores[a.at(t, b, tag)];
    score += t == 0 ? a.first[tag] : a.transition[static_cast<std::int64_t>(a.tag(t - 1, b)) * a.K + tag];
    if (t == n - 1) score += a.last[tag];
  }
  return score;
}

/// One block per sequence: its loss and d_scores.
__global__ void losses(Loss a) {
  const Batch& batch = a.sums.batch;
  const int b = static_cast<int>(blockIdx.x), n = batch.lengths[b], K = batch.K;
  const Loss::Kind kind = a.kind(b);
  const double w = a.weight[b];
  if (threadIdx.x == 0) {
    const double* log_z = a.sums.lattice.log_z + b;
    double loss = 0;
    if (kind == Loss::Kind::full) loss = w * (log_z[0] - gold_score(batch, b));
    if (kind == Loss::Kind::partial) loss = w * (log_z[0] - log_z[batch.B]);
    a.loss[b] = static_cast<float>(loss);
  }
  if (!a.d_scores) return;
  for (int i = static_cast<int>(threadIdx.x); i < batch.T * K; i += static_cast<int>(blockDim.x)) {
    const int t = i / K, k = i % K;
    double d = 0;
    if (t < n && kind != Loss::Kind::none) {
      d = a.sums.marginal(0, b, t, k);
      d -= kind == Loss::Kind::partial ? a.sums.marginal(1, b, t, k) : static_cast<double>(batch.tag(t, b) == k);
    }
    a.d_scores[batch.at(t, b, k)] = static_cast<float>(w * d);
  }
}

/// Thread (x): pair of tags x of group blockIdx.y.
__global__ void pair_sums(Loss a) {
  const Batch& batch = a.sums.batch;
  const int K = batch.K, group = static_cast<int>(blockIdx.y);
  const std::int64_t size = static_cast<std::int64_t>(K) * K, pair = global_thread();
  if (pair >= size) return;
  const int i = static_cast<int>(pair / K), j = static_cast<int>(pair % K);
  const auto bound = [&](int g) { return static_cast<int>(static_cast<std::int64_t>(batch.B) * g / a.groups); };
  double sum = 0;
  for (int b = bound(group); b < bound(group + 1); ++b) {
    const Loss::Kind kind = a.kind(b);
    if (kind == Loss::Kind::none) continue;
    double of_sequence = 0;
    for (int t = 0; t + 1 < batch.lengths[b]; ++t) {
      of_sequence += a.sums.pair(0, b, t, i, j);
      of_sequence -= kind == Loss::Kind::partial
                         ? a.sums.pair(1, b, t, i, j)
                         : static_cast<double>(batch.tag(t, b) == i && batch.tag(t + 1, b) == j);
    }
    sum += a.weight[b] * of_sequence;
  }
  a.pairs[group * size + pair] = sum;
}

struct AddGroups {
  Loss a;
  __device__ void operator()(std::int64_t pair) const {
    const std::int64_t size = static_cast<std::int64_t>(a.sums.batch.K) * a.sums.batch.K;
    double sum = 0;
    for (int g = 0; g < a.groups; ++g) sum += a.pairs[g * size + pair];
    a.d_transition[pair] += static_cast<float>(sum);
  }
};

/// Gradients of first and last: those of the scores at the ends of the sequences.
struct AddEnds {
  Loss a;
  __device__ void operator()(std::int64_t k) const {
    const Batch& batch = a.sums.batch;
    double first = 0, last = 0;
    for (int b = 0; b < batch.B; ++b) {
      const int n = batch.lengths[b];
      if (n == 0) continue;
      first += a.d_scores[batch.at(0, b, static_cast<int>(k))];
      last += a.d_scores[batch.at(n - 1, b, static_cast<int>(k))];
    }
    a.d_first[k] += static_cast<float>(first);
    a.d_last[k] += static_cast<float>(last);
  }
};

__global__ void write_marginals(Sums s, float* log_z, float* marginals) {
  const int b = static_cast<int>(blockIdx.x), n = s.batch.lengths[b], K = s.batch.K;
  if (threadIdx.x == 0) log_z[b] = static_cast<float>(s.lattice.log_z[b]);
  for (int i = static_cast<int>(threadIdx.x); i < s.batch.T * K; i += static_cast<int>(blockDim.x)) {
    const int t = i / K, k = i % K;
    marginals[s.batch.at(t, b, k)] = t < n ? static_cast<float>(s.marginal(0, b, t, k)) : 0.0f;
  }
}

/// The posterior of a linear chain is itself a Markov chain: p(y_b..y_e) = p(y_b) prod_t p(y_t, y_t+1) / p(y_t)
struct SpanProbability {
  Sums s;
  const int *tags, *extend, *spans;
  float* probability;
  __device__ int tag(int t, int b) const { return tags[static_cast<std::int64_t>(t) * s.batch.B + b]; }
  __device__ void operator()(std::int64_t i) const {
    const int b = spans[3 * i], begin = spans[3 * i + 1], end = spans[3 * i + 2];
    double p = s.marginal(0, b, begin, tag(begin, b));
    for (int t = begin; t + 1 < end && p > 0; ++t)
      p *= s.pair(0, b, t, tag(t, b), tag(t + 1, b)) / s.marginal(0, b, t, tag(t, b));
    const int final = end - 1, next = extend[tag(final, b)];
    if (p > 0 && next >= 0 && end < s.batch.lengths[b]) {
      double stops = 0;  // summed, not 1 - p(extend): exact also where nearly every path goes on
      for (int j = 0; j < s.batch.K; ++j)
        if (j != next) stops += s.pair(0, b, final, tag(final, b), j);
      p *= stops / s.marginal(0, b, final, tag(final, b));
    }
    probability[i] = static_cast<float>(p < 1 ? p : 1);
  }
};

}  // namespace
}  // namespace device::crf

void on_cuda(Context& ctx, const CrfLoss& op) {
  using namespace device::crf;
  const Batch batch = batch_of(op, op.tags.data);
  const std::int64_t size = std::int64_t{batch.K} * batch.K;
  const int groups =
      static_cast<int>(std::min<std::int64_t>({batch.B, most_groups, std::max<std::int64_t>(1, most_sums / size)}));
  ArenaScope scratch(ctx.arena());
  if (batch.B == 0) return;
  const Loss a{.sums = sum_paths(ctx, batch, true),
               .weight = op.weight.data,
               .loss = op.loss.data,
               .d_scores = op.d_scores.data,
               .d_transition = op.d_transition.data,
               .d_first = op.d_first.data,
               .d_last = op.d_last.data,
               .pairs = op.d_scores ? ctx.arena().make<double, 3>({groups, batch.K, batch.K}).data : nullptr,
               .groups = groups};
  const auto B = static_cast<unsigned>(batch.B);
  device::launch(ctx, op.name, losses, {.blocks = dim3(B), .threads = 128}, a);
  if (!op.d_scores) return;
  device::launch(
      ctx, op.name, pair_sums,
      {.blocks = dim3(static_cast<unsigned>((size + 255) / 256), static_cast<unsigned>(groups)), .threads = 256}, a);
  device::for_each(ctx, op.name, size, AddGroups{a});
  device::for_each(ctx, op.name, batch.K, AddEnds{a});
}

void on_cuda(Context& ctx, const CrfMarginals& op) {
  using namespace device::crf;
  ArenaScope scratch(ctx.arena());
  const Sums sums = sum_paths(ctx, batch_of(op), false);
  device::launch(ctx, op.name, write_marginals, {.blocks = dim3(static_cast<unsigned>(sums.batch.B)), .threads = 128},
                 sums, op.log_z.data, op.marginals.data);
}

void on_cuda(Context& ctx, const CrfSpanProbability& op) {
  using namespace device::crf;
  ArenaScope scratch(ctx.arena());
  const Sums sums = sum_paths(ctx, batch_of(op), false);
  device::for_each(ctx, op.name, op.spans.dim(0),
                   SpanProbability{sums, op.tags.data, op.extend.data, op.spans.data, op.probability.data});
}

}  // namespace bib
