// CRF loss with its gradients, marginals, and exact span probabilities, on the lattice of crf_lattice.h.
// Deterministic: transition gradients are summed in double over fixed groups of sequences, in their order, each thread
// owning one pair of tags; the groups' sums are added in order. The one atomic decides whose fault the host is told.
#include "bib/ops/crf.h"
#include "kernels/crf_lattice.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"

namespace bib {
namespace device::crf {
namespace {

constexpr int most_groups = 128;
constexpr std::int64_t most_sums = 4096 * 1024;  // doubles

struct Loss {
  Sums sums;
  const float* weight;
  float *loss, *d_scores, *d_transition, *d_first, *d_last;
  double* partial;  // [groups,(K+2)*K]: pairs of tags, first tags, last tags
  int groups;
  CrfFault* fault;

  enum class Kind { none, partial, full };
  /// How sequence b counts: not at all, against the paths that agree with its tags, or against its one path.
  __device__ Kind kind(int b) const {
    const int n = sums.lattice.annotated[b];
    if (n == 0 || weight[b] == 0) return Kind::none;
    return n == sums.batch.lengths[b] ? Kind::full : Kind::partial;
  }
};

/// What step t adds to the score of the annotated path, or what is wrong with it. Missing tags add nothing.
struct GoldStep {
  double score = 0;
  CrfFault fault;
  __device__ GoldStep(const Batch& a, int b, int t, int n) {
    const int tag = a.raw_tag(t, b), before = t > 0 ? a.raw_tag(t - 1, b) : -1;
    fault = {.sequence = b, .step = t, .tag = tag, .before = before};
    if (tag < -1 || tag >= a.K) fault.kind = CrfFault::not_a_tag;
    if (tag < 0 || tag >= a.K) return;
    score = a.scores[a.at(t, b, tag)];
    if (t == 0) score += a.first[tag];
    if (before >= 0 && before < a.K) score += a.transition[static_cast<std::int64_t>(before) * a.K + tag];
    if (t == n - 1) score += a.last[tag];
    if (score == -INFINITY) fault.kind = CrfFault::forbidden;
  }
};

/// The sequence's first fault; there is one.
__device__ CrfFault first_fault(const Batch& a, int b, int n) {
  for (int t = 0; t + 1 < n; ++t)
    if (const GoldStep step(a, b, t, n); step.fault.kind != CrfFault::none) return step.fault;
  return GoldStep(a, b, n - 1, n).fault;
}

/// Of missing tags that no path can fill: the first step that none reaches. Such a lattice is in log space.
__device__ CrfFault dead_end(const Sums& s, int b, int n) {
  CrfFault fault{.kind = CrfFault::no_path, .sequence = b, .step = n - 1};
  for (int t = n; t-- > 0;) {
    const double* alpha = s.lattice.alpha + s.row(1, b, t);
    bool reached = false;
    for (int k = 0; k < s.batch.K; ++k) reached |= alpha[k] != -INFINITY;
    if (!reached) fault.step = t;
  }
  return fault;
}

/// One of several threads that have found something: the host gets one fault, of any sequence.
__device__ void refuse(CrfFault* to, const CrfFault& fault) {
  if (atomicCAS(&to->kind, static_cast<int>(CrfFault::none), fault.kind) != CrfFault::none) return;
  to->sequence = fault.sequence, to->step = fault.step, to->tag = fault.tag, to->before = fault.before;
}

/// One block per sequence: its loss and d_scores.
__global__ void losses(Loss a) {
  const Batch& batch = a.sums.batch;
  const int b = static_cast<int>(blockIdx.x), n = batch.lengths[b], K = batch.K, me = static_cast<int>(threadIdx.x);
  const Loss::Kind kind = a.kind(b);
  const double w = a.weight[b];
  double gold = 0;
  int faulty = 0;
  for (int t = me; t < n; t += static_cast<int>(blockDim.x)) {
    const GoldStep step(batch, b, t, n);
    gold += step.score;
    faulty |= step.fault.kind;
  }
  gold = block_sum(gold);
  faulty = __syncthreads_or(faulty);
  if (me == 0) {
    const double* log_z = a.sums.lattice.log_z + b;
    double loss = 0;
    if (kind == Loss::Kind::full) loss = w * (log_z[0] - gold);
    if (kind == Loss::Kind::partial) loss = w * (log_z[0] - log_z[batch.B]);
    a.loss[b] = static_cast<float>(loss);
    if (faulty) {
      refuse(a.fault, first_fault(batch, b, n));
    } else if (kind == Loss::Kind::partial && log_z[batch.B] == -INFINITY) {
      refuse(a.fault, dead_end(a.sums, b, n));
    }
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

/// What sequence b adds to the gradient of transition i, j.
__device__ double pair_gradient(const Loss& a, int b, int i, int j) {
  const Batch& batch = a.sums.batch;
  const Loss::Kind kind = a.kind(b);
  if (kind == Loss::Kind::none) return 0;
  const int n = batch.lengths[b];
  double sum = 0;
  if (kind == Loss::Kind::partial) {
    for (int t = 0; t + 1 < n; ++t) sum += a.sums.pair(0, b, t, i, j) - a.sums.pair(1, b, t, i, j);
  } else {
    int gold = 0;
    for (int t = 0; t + 1 < n; ++t) {
      sum += a.sums.pair(0, b, t, i, j);
      gold += batch.tag(t, b) == i && batch.tag(t + 1, b) == j;
    }
    sum -= gold;
  }
  return a.weight[b] * sum;
}

/// Thread (x): item x of group blockIdx.y: pair of tags i, j = item, or as row K a first tag and as row K + 1 a last
/// one, whose gradients are those of the scores there.
__global__ void group_sums(Loss a) {
  const Batch& batch = a.sums.batch;
  const int K = batch.K, group = static_cast<int>(blockIdx.y);
  const std::int64_t size = static_cast<std::int64_t>(K + 2) * K, item = global_thread();
  if (item >= size) return;
  const int i = static_cast<int>(item / K), j = static_cast<int>(item % K);
  const auto bound = [&](int g) { return static_cast<int>(static_cast<std::int64_t>(batch.B) * g / a.groups); };
  double sum = 0;
  for (int b = bound(group); b < bound(group + 1); ++b) {
    const int n = batch.lengths[b];
    if (i < K) {
      sum += pair_gradient(a, b, i, j);
    } else if (n > 0) {
      sum += a.d_scores[batch.at(i == K ? 0 : n - 1, b, j)];
    }
  }
  a.partial[group * size + item] = sum;
}

struct AddGroups {
  Loss a;
  __device__ void operator()(std::int64_t item) const {
    const std::int64_t K = a.sums.batch.K, size = (K + 2) * K;
    double sum = 0;
    for (int g = 0; g < a.groups; ++g) sum += a.partial[g * size + item];
    float* const to = item < K * K ? a.d_transition + item : (item < size - K ? a.d_first : a.d_last) + item % K;
    *to += static_cast<float>(sum);
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
  const std::int64_t size = std::int64_t{batch.K + 2} * batch.K;
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
               .partial = op.d_scores ? ctx.arena().make<double, 3>({groups, batch.K + 2, batch.K}).data : nullptr,
               .groups = groups,
               .fault = ctx.cuda().fault()};
  const auto B = static_cast<unsigned>(batch.B);
  device::launch(ctx, op.name, losses, {.blocks = dim3(B), .threads = 256}, a);
  if (!op.d_scores) return;
  device::launch(
      ctx, op.name, group_sums,
      {.blocks = dim3(static_cast<unsigned>((size + 255) / 256), static_cast<unsigned>(groups)), .threads = 256}, a);
  device::for_each(ctx, op.name, size, AddGroups{a});
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
