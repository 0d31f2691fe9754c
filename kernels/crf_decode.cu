// Viterbi and k-best, one block per sequence, one launch for all steps: a thread keeps the best way into each of its
// tags; the scores of a step pass through shared memory, two buffers in turns, one barrier a step. Back-pointers stay
// in shared memory where they fit; one thread walks them back and leaves the path where it has been, then all threads
// write it and add up its score. Ties go to the lower tag: previous tags are tried in rising order (in a warp, four
// runs of them side by side, which are then compared in their order) and only a better one replaces. Sums on the way
// are those of the CPU, term by term, so equal scores are equal on both.
#include "bib/ops/crf.h"
#include "kernels/device.h"
#include "kernels/launch.h"
#include "kernels/reduce.h"

namespace bib {
namespace device {
namespace {

constexpr int small = 32;  // tags up to which a warp does, each lane with its column of the transitions in registers

struct Chain {
  const float* scores;
  const int* lengths;
  const float *transition, *first, *last;
  int T, B, K;
  __device__ float score(int t, int b, int k) const { return scores[(static_cast<std::int64_t>(t) * B + b) * K + k]; }
};

template <class Pointer>
struct Decode {
  Chain chain;
  int* tags;
  float* score;
  Pointer* back;  // [B,T,K] when shared memory is too small, else null
};

/// Best of the ways into a tag that were tried so far.
struct Way {
  float score = -INFINITY;
  int from = 0;
  __device__ __forceinline__ void take(float v, int i) {
    if (v > score) score = v, from = i;
  }
};

/// The score of path[t * K], t < n. In double: independent of the order in which the forward pass rounded. All threads.
template <class Pointer>
__device__ double path_score(const Chain& c, const Pointer* path, int b, int n) {
  double score = 0;
  for (int t = static_cast<int>(threadIdx.x); t < n; t += static_cast<int>(blockDim.x)) {
    const std::int64_t row = static_cast<std::int64_t>(t) * c.K;
    const int tag = static_cast<int>(path[row]);
    score += c.score(t, b, tag);
    score += t == 0 ? c.first[tag] : c.transition[static_cast<std::int64_t>(path[row - c.K]) * c.K + tag];
    if (t == n - 1) score += c.last[tag];
  }
  return block_sum(score);
}

template <class Pointer, bool in_warp>
__global__ void __launch_bounds__(in_warp ? warp_lanes : 1024, 1) viterbi(Decode<Pointer> a) {
  after_previous(Next::later);
  const Chain& c = a.chain;
  DYN_SHARED(float, alpha);  // [2][K], then the back-pointers
  const int b = static_cast<int>(blockIdx.x), n = c.lengths[b], K = c.K, me = static_cast<int>(threadIdx.x);
  Pointer* back = a.back ? a.back + static_cast<std::int64_t>(b) * c.T * K : reinterpret_cast<Pointer*>(alpha + 2 * K);
  float column[in_warp ? small : 1];
  if constexpr (in_warp) {
#pragma unroll
    for (int i = 0; i < small; ++i) column[i] = i < K && me < K ? c.transition[i * K + me] : -INFINITY;
  }
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
      if constexpr (in_warp) {
        constexpr int run = small / 4;
        Way of_run[4];
#pragma unroll
        for (int i = 0; i < run; ++i)
#pragma unroll
          for (int r = 0; r < 4; ++r)
            if (r * run + i < K) of_run[r].take(before[r * run + i] + column[r * run + i], r * run + i);
#pragma unroll
        for (int r = 0; r < 4; ++r) best.take(of_run[r].score, of_run[r].from);
      } else {
        for (int i = 0; i < K; ++i) best.take(before[i] + c.transition[static_cast<std::int64_t>(i) * K + j], i);
      }
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
  const double score = path_score(c, back, b, n);
  const bool exists = score != -INFINITY;
  if (me == 0) a.score[b] = static_cast<float>(score);
  for (int t = me; t < c.T; t += static_cast<int>(blockDim.x))
    a.tags[static_cast<std::int64_t>(t) * c.B + b] =
        exists && t < n ? static_cast<int>(back[static_cast<std::int64_t>(t) * K]) : -1;
}

unsigned threads_for(int K) { return static_cast<unsigned>(std::min(1024, (K + 31) / 32 * 32)); }

template <class Pointer>
void decode(Context& ctx, const CrfDecode& op, const Chain& c) {
  const std::size_t most_shared = std::min<std::size_t>(96 * 1024, ctx.cuda().shared_memory);
  const std::size_t rows = 2 * sizeof(float) * static_cast<std::size_t>(c.K);
  const std::size_t pointers = sizeof(Pointer) * static_cast<std::size_t>(c.T) * static_cast<std::size_t>(c.K);
  const bool fits = rows + pointers <= most_shared;
  Decode<Pointer> a{.chain = c, .tags = op.tags.data, .score = op.score.data, .back = nullptr};
  if (!fits) a.back = ctx.arena().make<Pointer, 3>({c.B, c.T, c.K}).data;
  const Grid grid{.blocks = dim3(static_cast<unsigned>(c.B)),
                  .threads = dim3(threads_for(c.K)),
                  .shared = rows + (fits ? pointers : 0)};
  if (c.K <= small) {
    launch(ctx, op.name, viterbi<Pointer, true>, grid, a);
  } else {
    launch(ctx, op.name, viterbi<Pointer, false>, grid, a);
  }
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
  if (chain.K <= 256) {
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
