// CRF loss with its gradients, marginals, and exact span probabilities: what is made of each sequence's sums
// (crf_sums.h). Deterministic: transition gradients are summed in double over fixed groups of sequences, in their
// order, each thread owning one pair of tags; the groups' sums are added in order. The one atomic decides whose fault
// the host is told.
#include "bib/ops/crf.h"
#include "kernels/crf_sums.h"
#include "kernels/elementwise.h"
#include "kernels/mma.h"
#include "kernels/reduce.h"

namespace bib {
namespace device::crf {
namespace {

constexpr int most_blocks = 512;                 // up to 32 tags: beyond, a block takes several sequences
constexpr int most_groups = 128;                 // beyond 32 tags
constexpr std::int64_t most_sums = 4096 * 1024;  // doubles

/// How sequence b counts: not at all, against the paths that agree with its tags, or against its one path.
enum class Kind { none, partial, full };

struct Loss {
  const float* weight;
  float *loss, *d_scores, *d_transition, *d_first, *d_last;
  double* partial;  // [groups,(K+2)*K]: pairs of tags, first tags, last tags
  int groups;
  CrfFault* fault;

  __device__ Kind kind(const Sums& s, int b) const {
    const int n = s.lattice.annotated[b];
    if (n == 0 || weight[b] == 0) return Kind::none;
    return n == s.batch.lengths[b] ? Kind::full : Kind::partial;
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
  if (atomicExch(&to->claimed, 1) != 0) return;
  to->sequence = fault.sequence, to->step = fault.step, to->tag = fault.tag, to->before = fault.before;
  __threadfence_system();
  *const_cast<volatile int*>(&to->kind) = fault.kind;  // last: the host may be looking already
}

/// d_scores of sequence b, a warp eight steps at once. All threads of a block.
__device__ void write_score_gradients(const Sums& s, int b, Kind kind, double w, float* d_scores) {
  const Batch& batch = s.batch;
  const int T = batch.T, n = kind == Kind::none ? 0 : batch.lengths[b], K = batch.K;
  const bool partial = kind == Kind::partial;
  for (int t = at_once * warp_id(); t < T; t += at_once * static_cast<int>(blockDim.x) / warp_lanes)
    for (int k = lane_id(); k < K; k += warp_lanes) {
      const double* all = s.lattice.beta + s.row(0, b, t) + k;
      const double* agreeing = s.lattice.beta + s.row(1, b, t) + k;
      const int* tags = batch.tags + static_cast<std::int64_t>(t) * batch.B + b;
      float* to = d_scores + batch.at(t, b, k);
      double p[at_once], less[at_once];
      int tag[at_once];
#pragma unroll
      for (int q = 0; q < at_once; ++q, all += K, agreeing += K, tags += batch.B) {
        p[q] = t + q < n ? *all : 0.0;
        less[q] = t + q < n && partial ? *agreeing : 0.0;
        tag[q] = t + q < n && !partial ? *tags : -1;
      }
#pragma unroll
      for (int q = 0; q < at_once; ++q, to += static_cast<std::int64_t>(batch.B) * K)
        if (t + q < T) *to = static_cast<float>(w * (p[q] - (tag[q] == k ? 1.0 : less[q])));
    }
}

/// All threads of a block: loss and d_scores of sequence b.
__device__ void write_loss(const Sums& s, const Loss& a, int b) {
  const Batch& batch = s.batch;
  const int n = batch.lengths[b], me = static_cast<int>(threadIdx.x);
  const Kind kind = a.kind(s, b);
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
    const double* log_z = s.lattice.log_z + b;
    double loss = 0;
    if (kind == Kind::full) loss = w * (log_z[0] - gold);
    if (kind == Kind::partial) loss = w * (log_z[0] - log_z[batch.B]);
    a.loss[b] = static_cast<float>(loss);
    if (faulty) {
      refuse(a.fault, first_fault(batch, b, n));
    } else if (kind == Kind::partial && log_z[batch.B] == -INFINITY) {
      refuse(a.fault, dead_end(s, b, n));
    }
  }
  if (!a.d_scores) return;
  write_score_gradients(s, b, kind, w, a.d_scores);
}

/// What sequence b adds to the gradient of transition i, j.
__device__ double pair_gradient(const Sums& s, const Loss& a, int b, int i, int j) {
  const Batch& batch = s.batch;
  const Kind kind = a.kind(s, b);
  if (kind == Kind::none) return 0;
  const int n = batch.lengths[b];
  double sum = 0;
  if (kind == Kind::partial) {
    for (int t = 0; t + 1 < n; ++t) sum += s.pair(0, b, t, i, j) - s.pair(1, b, t, i, j);
  } else {
    int gold = 0;
    for (int t = 0; t + 1 < n; ++t) {
      sum += s.pair(0, b, t, i, j);
      gold += batch.tag(t, b) == i && batch.tag(t + 1, b) == j;
    }
    sum -= gold;
  }
  return a.weight[b] * sum;
}

/// What it adds to that of first (`ends` 0) or last tag j: the gradient of that score.
__device__ double end_gradient(const Sums& s, const Loss& a, int b, int ends, int j) {
  const int n = s.batch.lengths[b];
  return n > 0 ? a.d_scores[s.batch.at(ends == 0 ? 0 : n - 1, b, j)] : 0.0;
}

/// Up to 32 tags, all threads of a block: to[i][j] = (`first`) or += the gradients of pairs of tags. Summed over time
/// that is a product of alpha, transposed, and what is ahead; warp w takes its rows 8w to 8w + 7, 16 steps at once.
__device__ void add_pairs(const Sums& s, const Loss& a, int b, bool first, double* to) {
  constexpr int rows = most_lanes / sequence_warps, columns = most_lanes / 8, groups = 4;
  static_assert(rows == 8);
  SHARED(int, gold, [most_lanes * most_lanes]);
  const Batch& batch = s.batch;
  const int n = batch.lengths[b], K = batch.K, me = static_cast<int>(threadIdx.x);
  const Kind kind = a.kind(s, b);
  const int variants = kind == Kind::partial ? 2 : 1;
  bool scaled = kind != Kind::none;
  for (int v = 0; v < variants; ++v) scaled = scaled && !s.lattice.in_log[v * batch.B + b];
  if (!scaled) {
    for (int item = me; item < K * K; item += static_cast<int>(sequence_threads))
      to[item] = (first ? 0.0 : to[item]) + pair_gradient(s, a, b, item / K, item % K);
    return;
  }
  for (int i = me; i < K * K; i += static_cast<int>(sequence_threads)) gold[i] = 0;
  __syncthreads();
  for (int t = me; kind == Kind::full && t + 1 < n; t += static_cast<int>(sequence_threads))
    atomicAdd(gold + batch.tag(t, b) * K + batch.tag(t + 1, b), 1);
  const int g = lane_id() / 4, q = lane_id() % 4, i = rows * warp_id() + g;
  double sum[columns][2] = {};
  for (int v = 0; v < variants && rows * warp_id() < K; ++v) {
    const double* alpha = s.lattice.alpha + s.row(v, b, q) + i;
    const double* ahead = s.lattice.ahead + s.row(v, b, q + 1) + g;
    for (int t = 0; t + 1 < n; t += 4 * groups) {
      double x[groups], y[groups][columns];
#pragma unroll
      for (int u = 0; u < groups; ++u) {
        const bool here = t + 4 * u + q + 1 < n;
        const int at = (t + 4 * u) * K;
        x[u] = here && i < K ? alpha[at] : 0.0;
#pragma unroll
        for (int j = 0; j < columns; ++j) y[u][j] = here && 8 * j + g < K ? ahead[at + 8 * j] : 0.0;
      }
#pragma unroll
      for (int u = 0; u < groups; ++u)
#pragma unroll
        for (int j = 0; j < columns; ++j) mma_f64(sum[j], v == 0 ? x[u] : -x[u], y[u][j]);
    }
  }
  __syncthreads();
#pragma unroll
  for (int j = 0; j < columns; ++j)
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int column = 8 * j + 2 * q + c, item = i * K + column;
      if (i >= K || column >= K) continue;
      const double pairs = sum[j][c] * s.weights.forward[i * s.weights.stride + column] - gold[item];
      to[item] = (first ? 0.0 : to[item]) + a.weight[b] * pairs;
    }
}

/// Up to 32 tags: everything of a sequence; the groups' sums are those of the blocks.
struct LossAndSums {
  Loss a;
  __device__ void operator()(const Sums& s, int b, bool first) const {
    write_loss(s, a, b);
    if (!a.d_scores) return;
    const int K = s.batch.K, size = (K + 2) * K;
    double* sums = a.partial + static_cast<std::int64_t>(blockIdx.x) * size;
    add_pairs(s, a, b, first, sums);
    __syncthreads();
    for (int item = K * K + static_cast<int>(threadIdx.x); item < size; item += static_cast<int>(sequence_threads))
      sums[item] = (first ? 0.0 : sums[item]) + end_gradient(s, a, b, item / K - K, item % K);
  }
};
struct LossAlone {
  Loss a;
  __device__ void operator()(const Sums& s, int b, bool) const { write_loss(s, a, b); }
};

/// Beyond 32 tags: thread (x) takes item x of group blockIdx.y.
__global__ void group_sums(Sums s, Loss a) {
  after_previous();
  const int K = s.batch.K, group = static_cast<int>(blockIdx.y);
  const std::int64_t size = static_cast<std::int64_t>(K + 2) * K, item = global_thread();
  if (item >= size) return;
  const int i = static_cast<int>(item) / K, j = static_cast<int>(item) % K;
  double sum = 0;
  for (int b = first_of(s.batch, group, a.groups); b < first_of(s.batch, group + 1, a.groups); ++b)
    sum += i < K ? pair_gradient(s, a, b, i, j) : end_gradient(s, a, b, i - K, j);
  a.partial[group * size + item] = sum;
}

/// Thread (x, y) adds groups y, y + slices, ... of an item; the slices are added in their order.
constexpr unsigned slices = 8;
__global__ void __launch_bounds__(warp_lanes* slices) add_groups(Loss a, int K) {
  after_previous();
  SHARED(double, sums, [slices][warp_lanes]);
  const std::int64_t size = static_cast<std::int64_t>(K + 2) * K, pairs = static_cast<std::int64_t>(K) * K;
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const std::int64_t item = static_cast<std::int64_t>(blockIdx.x) * warp_lanes + x;
  double sum = 0;
  if (item < size) {
    sum = sum_in_order<8, double>(y, a.groups, static_cast<int>(slices),
                                  [&](int g) { return a.partial[g * size + item]; });
  }
  sums[y][x] = sum;
  __syncthreads();
  if (y != 0 || item >= size) return;
  for (int i = 1; i < static_cast<int>(slices); ++i) sum += sums[i][x];
  float* const to = item < pairs ? a.d_transition + item : (item < size - K ? a.d_first : a.d_last) + item % K;
  *to += static_cast<float>(sum);
}

struct WriteMarginals {
  float *log_z, *marginals;
  __device__ void operator()(const Sums& s, int b, bool) const {
    const int n = s.batch.lengths[b], K = s.batch.K;
    if (threadIdx.x == 0) log_z[b] = static_cast<float>(s.lattice.log_z[b]);
    const std::int64_t step = static_cast<std::int64_t>(s.batch.B) * K;
    for (int t = at_once * warp_id(); t < s.batch.T; t += at_once * static_cast<int>(blockDim.x) / warp_lanes)
      for (int k = lane_id(); k < K; k += warp_lanes) {
        const double* from = s.lattice.beta + s.row(0, b, t) + k;
        double p[at_once];
#pragma unroll
        for (int q = 0; q < at_once; ++q) p[q] = t + q < n ? from[static_cast<std::int64_t>(q) * K] : 0.0;
#pragma unroll
        for (int q = 0; q < at_once; ++q)
          if (t + q < s.batch.T) marginals[s.batch.at(t, b, k) + q * step] = static_cast<float>(p[q]);
      }
  }
};

/// For a later launch: the weights, which up to 32 tags lie in shared memory.
struct KeepWeights {
  double* forward;
  __device__ void operator()(const Sums& s, int b, bool) const {
    if (b != 0 || s.weights.forward == forward) return;
    for (int i = static_cast<int>(threadIdx.x); i < s.batch.K * s.batch.K; i += static_cast<int>(blockDim.x))
      forward[i] = s.weights.forward[i / s.batch.K * s.weights.stride + i % s.batch.K];
  }
};

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
    probability[i] = static_cast<float>(p > 1 ? 1 : p);  // NaN stays
  }
};

}  // namespace
}  // namespace device::crf

void on_cuda(Context& ctx, const CrfLoss& op) {
  using namespace device::crf;
  const Batch batch = batch_of(op, op.tags.data);
  const std::int64_t size = std::int64_t{batch.K + 2} * batch.K, fit = std::max<std::int64_t>(1, most_sums / size);
  const bool in_blocks = batch.K <= most_lanes;  // each block sums the transition gradients of its sequences itself
  ArenaScope scratch(ctx.arena());
  if (batch.B == 0) return;
  const Sums sums = make_sums(ctx, batch, true);
  Loss a{.weight = op.weight.data,
         .loss = op.loss.data,
         .d_scores = op.d_scores.data,
         .d_transition = op.d_transition.data,
         .d_first = op.d_first.data,
         .d_last = op.d_last.data,
         .groups = static_cast<int>(std::min<std::int64_t>({batch.B, in_blocks ? most_blocks : most_groups, fit})),
         .fault = ctx.cuda().fault()};
  if (!op.d_scores) return sum_paths(ctx, op.name, sums, LossAlone{a});
  a.partial = ctx.arena().make<double, 3>({a.groups, batch.K + 2, batch.K}).data;
  const auto groups = static_cast<unsigned>(a.groups);
  if (in_blocks) {
    sum_in_blocks(ctx, op.name, sums, groups, LossAndSums{a});
  } else {
    sum_paths(ctx, op.name, sums, LossAlone{a});
    device::launch(ctx, op.name, group_sums,
                   {.blocks = dim3(static_cast<unsigned>((size + 255) / 256), groups), .threads = 256}, sums, a);
  }
  device::launch(ctx, op.name, add_groups,
                 {.blocks = dim3(static_cast<unsigned>((size + device::warp_lanes - 1) / device::warp_lanes)),
                  .threads = dim3(device::warp_lanes, slices)},
                 a, batch.K);
}

void on_cuda(Context& ctx, const CrfMarginals& op) {
  using namespace device::crf;
  ArenaScope scratch(ctx.arena());
  const Sums sums = make_sums(ctx, batch_of(op), false);
  sum_paths(ctx, op.name, sums, WriteMarginals{op.log_z.data, op.marginals.data});
}

void on_cuda(Context& ctx, const CrfSpanProbability& op) {
  using namespace device::crf;
  ArenaScope scratch(ctx.arena());
  const Sums sums = make_sums(ctx, batch_of(op), false);
  sum_paths(ctx, op.name, sums, KeepWeights{sums.weights.forward});
  device::for_each(ctx, op.name, op.spans.dim(0),
                   SpanProbability{sums, op.tags.data, op.extend.data, op.spans.data, op.probability.data});
}

}  // namespace bib
