// Viterbi and k-best, one block per sequence, one launch for all steps: a thread finds the best way into each of its
// tags; the scores of a step pass through shared memory, one barrier a step. Ties go to the lower tag. Sums on the way
// are those of the CPU, term by term, so equal scores are equal on both.
// Up to 32 tags a block is a warp that keeps every step's scores and the best sum into each tag, not where that came
// from: a maximum alone is a third of the work. On the way back lane i adds up its way into the path's tag once more,
// and the lowest lane whose sum is the best one, to the bit, is where the path came from.
// Beyond, back-pointers stay in shared memory where they fit; one thread walks them back and leaves the path where it
// has been. Then all threads write the path and add up its score.
#include "bib/ops/crf.h"
#include "kernels/device.h"
#include "kernels/launch.h"
#include "kernels/reduce.h"

namespace bib {
namespace device {
namespace {

constexpr int small = warp_lanes;  // tags up to which a warp does, a lane each
constexpr int early_steps = 4;     // by which a warp reads scores early

struct Chain {
  const float* scores;
  const int* lengths;
  const float *transition, *first, *last;
  int T, B, K;
  __device__ float score(int t, int b, int k) const { return scores[(static_cast<std::int64_t>(t) * B + b) * K + k]; }
};

template <class Kept>
struct Decode {
  Chain chain;
  int* tags;
  float* score;
  Kept* kept;  // what is kept of every step, when shared memory is too small, else null
};

/// Best of the ways into a tag that were tried so far.
struct Way {
  float score = -INFINITY;
  int from = 0;
  __device__ __forceinline__ void take(float v, int i) {
    if (v > score) score = v, from = i;
  }
};

/// Writes the path, tag path[t * stride] at step t < n, and its score: in double, independent of the order in which the
/// forward pass rounded. All threads.
template <class Kept, class Tag>
__device__ void write_path(const Decode<Kept>& a, const Tag* path, int stride, int b, int n) {
  const Chain& c = a.chain;
  double score = 0;
  for (int t = static_cast<int>(threadIdx.x); t < n; t += static_cast<int>(blockDim.x)) {
    const std::int64_t at = static_cast<std::int64_t>(t) * stride;
    const int tag = static_cast<int>(path[at]);
    score += c.score(t, b, tag);
    score += t == 0 ? c.first[tag] : c.transition[static_cast<std::int64_t>(path[at - stride]) * c.K + tag];
    if (t == n - 1) score += c.last[tag];
  }
  score = block_sum(score);
  const bool exists = score != -INFINITY;
  if (threadIdx.x == 0) a.score[b] = static_cast<float>(score);
  for (int t = static_cast<int>(threadIdx.x); t < c.T; t += static_cast<int>(blockDim.x))
    a.tags[static_cast<std::int64_t>(t) * c.B + b] =
        exists && t < n ? static_cast<int>(path[static_cast<std::int64_t>(t) * stride]) : -1;
}

/// The lowest lane whose sum is `best`, the largest; 0 where no sum is more than -infinity. A NaN is no way.
__device__ __forceinline__ int lowest_best(float sum, float best) {
  const unsigned ways = __ballot_sync(all_lanes, sum == best);
  return best == -INFINITY ? 0 : __ffs(static_cast<int>(ways)) - 1;
}

/// What a warp keeps of its T steps: the scores of the tags, the best sums into them, then the path. The next
/// sequence's begin at a multiple of 16 bytes again.
struct Steps {
  float* rows;
  int T;
  __host__ __device__ static constexpr std::int64_t size(int T) {
    return T * std::int64_t{2 * small} + (T + std::int64_t{3}) / 4 * 4;
  }
  __device__ float* row(int t) const { return rows + static_cast<std::int64_t>(t) * small; }
  __device__ float* into(int t) const { return rows + (static_cast<std::int64_t>(T) + t) * small; }
  __device__ int* path() const { return reinterpret_cast<int*>(into(T)); }
};

/// Up to 32 tags: a lane per tag, with its column of the transitions in registers. Tags past K are at -infinity.
template <bool in_shared>
__global__ void __launch_bounds__(warp_lanes, 1) viterbi_in_warp(Decode<float> a) {
  after_previous(Next::later);
  constexpr int stride = small + 1;  // lanes that write a column each meet different banks
  SHARED(float, transposed, [small * stride]);
  DYN_SHARED(float, shared);
  const Chain& c = a.chain;
  const int b = static_cast<int>(blockIdx.x), n = c.lengths[b], K = c.K, me = lane_id();
  const Steps steps{in_shared ? shared : a.kept + b * Steps::size(c.T), c.T};
  float column[small];
#pragma unroll
  for (int i = 0; i < small; ++i) column[i] = i < K && me < K ? c.transition[i * K + me] : -INFINITY;
#pragma unroll
  for (int i = 0; i < small; ++i) transposed[me * stride + i] = column[i];
  // Unconditional loads, of a step and a tag that exist: what is loaded goes to the addition that wants it and nowhere
  // else, so that nothing waits for it before. Tags past K get into = -infinity, whatever their score.
  const std::int64_t step = static_cast<std::int64_t>(c.B) * K;
  const float* scores = c.scores + static_cast<std::int64_t>(b) * K + min(me, K - 1);
  const auto score = [&](int t) { return scores[min(t, n - 1) * step]; };
  float early[early_steps] = {};
#pragma unroll
  for (int q = 0; q < early_steps; ++q)
    if (n > 0) early[q] = score(1 + q);
  float now = me < K && n > 0 ? score(0) + c.first[me] : -INFINITY;
  if (n > 0) steps.row(0)[me] = now;
  for (int first = 1; first < n; first += early_steps) {
#pragma unroll
    for (int q = 0; q < early_steps; ++q) {  // early[q] always in its own register: a move would wait for the load
      const int t = first + q;
      if (t >= n) break;
      __syncwarp();
      const float* before = steps.row(t - 1);
      float best[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
#pragma unroll
      for (int i = 0; i < small; i += 4) {
        const float4 v = load4(before + i);
        best[0] = fmaxf(best[0], v.x + column[i]);
        best[1] = fmaxf(best[1], v.y + column[i + 1]);
        best[2] = fmaxf(best[2], v.z + column[i + 2]);
        best[3] = fmaxf(best[3], v.w + column[i + 3]);
      }
      const float into = fmaxf(fmaxf(best[0], best[1]), fmaxf(best[2], best[3]));
      now = into + early[q];
      early[q] = score(t + early_steps);
      steps.row(t)[me] = now;
      steps.into(t)[me] = into;
    }
  }
  __syncwarp();
  next_may_start();
  if (n > 0) {
    const float end = me < K ? now + c.last[me] : -INFINITY;
    int tag = lowest_best(end, warp_fold(fmaxf(end, -INFINITY), [](float x, float y) { return fmaxf(x, y); }));
    float from = n > 1 ? steps.row(n - 2)[me] : 0.0f, into = n > 1 ? steps.into(n - 1)[me] : 0.0f;
    for (int t = n - 1; t > 0; --t) {
      const float sum = from + transposed[tag * stride + me], best = __shfl_sync(all_lanes, into, tag);
      if (me == 0) steps.path()[t] = tag;
      if (t > 1) from = steps.row(t - 2)[me], into = steps.into(t - 1)[me];
      tag = lowest_best(sum, best);
    }
    if (me == 0) steps.path()[0] = tag;
  }
  __syncwarp();
  write_path(a, steps.path(), 1, b, n);
}

template <class Pointer>
__global__ void __launch_bounds__(1024, 1) viterbi(Decode<Pointer> a) {
  after_previous(Next::later);
  const Chain& c = a.chain;
  DYN_SHARED(float, alpha);  // [2][K], then the back-pointers
  const int b = static_cast<int>(blockIdx.x), n = c.lengths[b], K = c.K, me = static_cast<int>(threadIdx.x);
  Pointer* back = a.kept ? a.kept + static_cast<std::int64_t>(b) * c.T * K : reinterpret_cast<Pointer*>(alpha + 2 * K);
  if (n > 0)
    for (int k = me; k < K; k += static_cast<int>(blockDim.x)) alpha[k] = c.score(0, b, k) + c.first[k];
  float ahead = n > 1 && me < K ? c.score(1, b, me) : 0.0f;  // the next step's score of this thread's first tag
  for (int t = 1; t < n; ++t) {
    __syncthreads();
    const float* before = alpha + (t - 1) % 2 * K;
    float* now = alpha + t % 2 * K;
    const float own = ahead;
    if (t + 1 < n && me < K) ahead = c.score(t + 1, b, me);
    for (int j = me; j < K; j += static_cast<int>(blockDim.x)) {
      Way best;
      for (int i = 0; i < K; ++i) best.take(before[i] + c.transition[static_cast<std::int64_t>(i) * K + j], i);
      now[j] = best.score + (j == me ? own : c.score(t, b, j));
      back[static_cast<std::int64_t>(t) * K + j] = static_cast<Pointer>(best.from);
    }
  }
  __syncthreads();
  next_may_start();
  if (me == 0 && n > 0) {
    Way best;
    for (int k = 0; k < K; ++k) best.take(alpha[(n - 1) % 2 * K + k] + c.last[k], k);
    int tag = best.from;
    for (std::int64_t t = n - 1; t >= 0; --t) {
      const int before = t > 0 ? static_cast<int>(back[t * K + tag]) : 0;
      back[t * K] = static_cast<Pointer>(tag);  // the row's pointers have served
      tag = before;
    }
  }
  __syncthreads();
  write_path(a, back, K, b, n);
}

unsigned threads_for(int K) { return static_cast<unsigned>(std::min(1024, (K + 31) / 32 * 32)); }

std::size_t most_shared(Context& ctx) { return std::min<std::size_t>(96 * 1024, ctx.cuda().shared_memory); }

/// Up to 32 tags.
void decode_in_warps(Context& ctx, const CrfDecode& op, const Chain& c) {
  const std::size_t kept = sizeof(float) * static_cast<std::size_t>(Steps::size(c.T));
  constexpr std::size_t fixed = sizeof(float) * small * (small + 1);  // the transitions
  const bool fits = kept + fixed <= most_shared(ctx);
  Decode<float> a{.chain = c, .tags = op.tags.data, .score = op.score.data, .kept = nullptr};
  if (!fits) a.kept = ctx.arena().make<float, 2>({c.B, static_cast<int>(Steps::size(c.T))}).data;
  launch(ctx, op.name, fits ? viterbi_in_warp<true> : viterbi_in_warp<false>,
         {.blocks = dim3(static_cast<unsigned>(c.B)), .threads = dim3(warp_lanes), .shared = fits ? kept : 0}, a);
}

template <class Pointer>
void decode(Context& ctx, const CrfDecode& op, const Chain& c) {
  const std::size_t rows = 2 * sizeof(float) * static_cast<std::size_t>(c.K);
  const std::size_t pointers = sizeof(Pointer) * static_cast<std::size_t>(c.T) * static_cast<std::size_t>(c.K);
  const bool fits = rows + pointers <= most_shared(ctx);
  Decode<Pointer> a{.chain = c, .tags = op.tags.data, .score = op.score.data, .kept = nullptr};
  if (!fits) a.kept = ctx.arena().make<Pointer, 3>({c.B, c.T, c.K}).data;
  launch(ctx, op.name, viterbi<Pointer>,
         {.blocks = dim3(static_cast<unsigned>(c.B)),
          .threads = dim3(threads_for(c.K)),
          .shared = rows + (fits ? pointers : 0)},
         a);
}

struct KBest {
  Chain chain;
  int N;
  int* tags;      // [N,T,B]
  float* score;   // [N,B]
  double* lists;  // [B,2,N,K]: the best scores of partial paths per tag, falling
  int* from;      // [B,T,K,N]: tag * N + rank at the step before
  int* rank;      // [B,K,K+1]: how many of list i tag j has taken, and the end: neighbours read neighbours
  int* ends;      // [B,N]
};

/// The N best of K falling lists, each element `before[r,i] + step(i)`; equal ones by i, then by rank. Before the r-th
/// is taken, no tag has given more than r: ranks stay below N. The rank of list i is at rank[i (K+1)].
template <class Step, class Put>
__device__ void merge(const double* before, int K, int N, int* rank, const Step& step, const Put& put) {
  const int stride = K + 1;
  for (int i = 0; i < K; ++i) rank[i * stride] = 0;
  for (int r = 0; r < N; ++r) {
    double best = -INFINITY;
    int tag = 0;
    for (int i = 0; i < K; ++i) {
      const double v = before[static_cast<std::int64_t>(rank[i * stride]) * K + i] + step(i);
      if (v > best) best = v, tag = i;
    }
    put(r, best, tag * N + rank[tag * stride]++);
  }
}

__global__ void k_best(KBest a) {
  after_previous(Next::later);
  const Chain& c = a.chain;
  const int b = static_cast<int>(blockIdx.x), n = c.lengths[b], K = c.K, N = a.N, me = static_cast<int>(threadIdx.x);
  double* const lists = a.lists + static_cast<std::int64_t>(b) * 2 * N * K;
  int* const from = a.from + static_cast<std::int64_t>(b) * c.T * K * N;
  int* const ranks = a.rank + static_cast<std::int64_t>(b) * (K + 1) * K;
  int* const ends = a.ends + static_cast<std::int64_t>(b) * N;
  const int width = static_cast<int>(blockDim.x);
  for (int k = me; k < K && n > 0; k += width)
    for (int r = 0; r < N; ++r)
      lists[static_cast<std::int64_t>(r) * K + k] =
          r == 0 ? static_cast<double>(c.first[k]) + c.score(0, b, k) : -INFINITY;
  for (int t = 1; t < n; ++t) {
    __syncthreads();
    const double* before = lists + (t - 1) % 2 * static_cast<std::int64_t>(N) * K;
    double* now = lists + t % 2 * static_cast<std::int64_t>(N) * K;
    for (int j = me; j < K; j += width) {
      const double emission = c.score(t, b, j);
      int* to = from + (static_cast<std::int64_t>(t) * K + j) * N;
      merge(
          before, K, N, ranks + j, [&](int i) { return c.transition[static_cast<std::int64_t>(i) * K + j] + emission; },
          [&](int r, double v, int at) {
            now[static_cast<std::int64_t>(r) * K + j] = v;
            to[r] = at;
          });
    }
  }
  __syncthreads();
  if (me == 0 && n > 0)
    merge(
        lists + (n - 1) % 2 * static_cast<std::int64_t>(N) * K, K, N, ranks + K,
        [&](int i) { return static_cast<double>(c.last[i]); },
        [&](int r, double v, int at) {
          a.score[static_cast<std::int64_t>(r) * c.B + b] = static_cast<float>(v);
          ends[r] = v == -INFINITY ? -1 : at;
        });
  __syncthreads();
  for (int r = me; r < N; r += width) {
    int* tags = a.tags + static_cast<std::int64_t>(r) * c.T * c.B + b;
    if (n == 0) a.score[static_cast<std::int64_t>(r) * c.B + b] = r == 0 ? 0.0f : -INFINITY;
    int at = n > 0 ? ends[r] : -1;
    for (int t = at < 0 ? 0 : n; t < c.T; ++t) tags[static_cast<std::int64_t>(t) * c.B] = -1;
    for (int t = n - 1; at >= 0 && t >= 0; --t) {
      tags[static_cast<std::int64_t>(t) * c.B] = at / N;
      if (t > 0) at = from[(static_cast<std::int64_t>(t) * K + at / N) * N + at % N];
    }
  }
}

template <class Op>
Chain chain_of(const Op& op) {
  return {op.scores.data, op.lengths.data,  op.transition.data, op.first.data,
          op.last.data,   op.scores.dim(0), op.scores.dim(1),   op.scores.dim(2)};
}

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, const CrfDecode& op) {
  const device::Chain chain = device::chain_of(op);
  ArenaScope scratch(ctx.arena());
  if (chain.K <= device::small) {
    device::decode_in_warps(ctx, op, chain);
  } else if (chain.K <= 256) {
    device::decode<std::uint8_t>(ctx, op, chain);
  } else {
    device::decode<int>(ctx, op, chain);
  }
}

void on_cuda(Context& ctx, const CrfKBest& op) {
  const device::Chain chain = device::chain_of(op);
  const int N = op.tags.dim(0), B = chain.B, K = chain.K;
  if (N == 0) return;
  ArenaScope scratch(ctx.arena());
  const device::KBest a{.chain = chain,
                        .N = N,
                        .tags = op.tags.data,
                        .score = op.score.data,
                        .lists = ctx.arena().make<double, 4>({B, 2, N, K}).data,
                        .from = ctx.arena().make<int, 4>({B, chain.T, K, N}).data,
                        .rank = ctx.arena().make<int, 3>({B, K, K + 1}).data,
                        .ends = ctx.arena().make<int, 2>({B, N}).data};
  device::launch(ctx, op.name, device::k_best,
                 {.blocks = dim3(static_cast<unsigned>(B)), .threads = dim3(std::min(128u, device::threads_for(K)))},
                 a);
}

}  // namespace bib
