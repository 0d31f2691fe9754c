// Sums over all tag paths of every sequence, for the CRF ops. Up to 32 tags one launch does everything, a block per
// sequence: exponentials of transitions and emissions, then the two chains of each variant at the same time, a warp
// each, then the finish, then what the op makes of it. Beyond 32 tags these are launches of their own, and a chain is a
// block's.
#pragma once
#include "kernels/crf_warps.h"
#include "kernels/launch.h"

namespace bib::device::crf {

constexpr unsigned most_finishers = 512;

/// The sequences of block g of `blocks`.
__device__ inline int first_of(const Batch& a, int g, int blocks) {
  return static_cast<int>(static_cast<std::int64_t>(a.B) * g / blocks);
}

/// Up to 32 tags: each block takes its sequences in their order, and calls then(s, b, whether b is its first).
template <int kTags, class Then>
__global__ void __launch_bounds__(sequence_threads, 3) sequences(Sums s, Then then) {
  after_previous(Next::later);
  SHARED(double, forward, [kTags * matrix_stride<kTags>]);
  SHARED(double, ends, [2][kTags]);
  SHARED(double, rows, [sequence_warps][2 * kTags]);
  SHARED(Found, found, [sequence_warps]);
  SHARED(Outcome, outcome, [2]);
  SHARED(Tops, tops, [1]);
  s.weights.forward = forward, s.weights.stride = matrix_stride<kTags>;
  s.weights.exp_first = ends[0], s.weights.exp_last = ends[1];
  exponentials_in_block<kTags>(s.batch, s.weights, *tops);
  const int block = static_cast<int>(blockIdx.x), blocks = static_cast<int>(gridDim.x), warp = warp_id(),
            begin = first_of(s.batch, block, blocks), end = first_of(s.batch, block + 1, blocks);
  for (int b = begin; b < end; ++b) {
    const int n = s.batch.lengths[b], variant = warp / 2;
    const Found mine = exponentials_in_warp(s, b);
    if (lane_id() == 0) found[warp] = mine;
    __syncthreads();
    int annotated = 0;
    for (int w = 0; w < sequence_warps; ++w) annotated += found[w].annotated;
    if (threadIdx.x == 0) s.lattice.annotated[b] = annotated;
    if (variant < s.lattice.variants && wanted(variant, n, annotated))
      chain_in_warp<kTags>(s, *tops, found, variant, b, warp % 2 == 1, rows[warp], outcome[variant]);
    __syncthreads();
    if (b + 1 == end) next_may_start();
    for (int v = 0; v < s.lattice.variants; ++v) {
      double log_z = 0;
      bool sound = true;
      if (wanted(v, n, annotated)) {
        log_z = outcome[v].log_z;
        sound = !isnan(log_z) && !outcome[v].lost && normalise_in_warps(s, v, b);
        if (!sound) log_z = sum_in_log_space(s, v, b);
      }
      if (threadIdx.x != 0) continue;
      s.lattice.log_z[v * s.batch.B + b] = log_z;
      s.lattice.in_log[v * s.batch.B + b] = !sound;
    }
    __syncthreads();
    then(s, b, b == begin);
    __syncthreads();
  }
}

/// Beyond 32 tags. Block 0: weights. The warps of the others: a step of a sequence each, then, where there are tags, a
/// sequence each.
static __global__ void __launch_bounds__(1024, 1) exponentials(Sums s) {
  after_previous();
  const Batch& a = s.batch;
  if (blockIdx.x == 0) return exponentials_of_weights(a, s.weights);
  const int item = static_cast<int>((blockIdx.x - 1) * (blockDim.x / warp_lanes)) + warp_id(), rows = a.T * a.B;
  if (item < rows && item / a.B < a.lengths[item % a.B])
    exponentials_of_emissions(a, s.lattice, item / a.B, item % a.B);
  if (item >= rows && a.tags && item - rows < a.B) count_annotated(a, s.lattice, item - rows);
}
/// Direction blockIdx.y (0 alpha, 1 beta) of variant blockIdx.z.
static __global__ void __launch_bounds__(1024, 1) chains(Sums s) {
  after_previous(Next::later);
  DYN_SHARED(double, rows);
  const int b = static_cast<int>(blockIdx.x), variant = static_cast<int>(blockIdx.z);
  if (wanted(s, variant, b)) chain(s, variant, b, blockIdx.y == 1, rows);
}
static __global__ void __launch_bounds__(most_finishers, 1) finishes(Sums s) {
  after_previous();
  finish(s, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x));
}
template <class Then>
__global__ void __launch_bounds__(256) uses(Sums s, Then then) {
  after_previous();
  then(s, static_cast<int>(blockIdx.x), true);
}

inline unsigned threads_for(int K) { return static_cast<unsigned>(std::min(1024, (K + 31) / 32 * 32)); }

/// Memory of the context's arena. With `partial`, variant 1 is made for sequences that are annotated here and there;
/// the batch's tags say where.
inline Sums make_sums(Context& ctx, const Batch& a, bool partial) {
  Arena& arena = ctx.arena();
  const int variants = partial ? 2 : 1;
  const std::array shape{variants, a.B, a.T, a.K};
  Sums s{.batch = a,
         .weights = {},
         .lattice = {.alpha = arena.make<double, 4>(shape).data,
                     .beta = arena.make<double, 4>(shape).data,
                     .ahead = arena.make<double, 4>(shape).data,
                     .emission = arena.make<double, 4>({a.K <= most_lanes ? variants : 1, a.B, a.T, a.K}).data,
                     .log_z = arena.make<double, 2>({variants, a.B}).data,
                     .in_log = arena.make<int, 2>({variants, a.B}).data,
                     .top = arena.make<double, 2>({a.T, a.B}).data,
                     .dropped = arena.make<double, 2>({a.T, a.B}).data,
                     .exponent = arena.make<int, 2>({variants, a.B}).data,
                     .lost = arena.make<int, 3>({2, variants, a.B}).data,
                     .annotated = arena.make<int, 1>({a.B}).data,
                     .variants = variants}};
  s.weights = {.forward = arena.make<double, 2>({a.K, a.K}).data,
               .backward = arena.make<double, 2>({a.K, a.K}).data,
               .exp_first = arena.make<double, 1>({a.K}).data,
               .exp_last = arena.make<double, 1>({a.K}).data,
               .tops = arena.make<double, 1>({4}).data,
               .stride = a.K};
  return s;
}

/// Enqueues the sums of every sequence, each followed by then(s, b, first) in all threads of a block, where `first`
/// says that the block has not called it yet. Up to 32 tags; at most `blocks` blocks.
template <class Then>
void sum_in_blocks(Context& ctx, std::string_view name, const Sums& s, unsigned blocks, const Then& then) {
  const int K = s.batch.K;
  launch(ctx, name,
         K <= 8    ? sequences<8, Then>
         : K <= 16 ? sequences<16, Then>
                   : sequences<32, Then>,
         {.blocks = dim3(std::min(static_cast<unsigned>(s.batch.B), blocks)), .threads = sequence_threads}, s, then);
}

/// The same for any number of tags, by a block per sequence.
template <class Then>
void sum_paths(Context& ctx, std::string_view name, const Sums& s, const Then& then) {
  const Batch& a = s.batch;
  const auto B = static_cast<unsigned>(a.B), variants = static_cast<unsigned>(s.lattice.variants);
  if (a.K <= most_lanes) return sum_in_blocks(ctx, name, s, B, then);
  const unsigned rows = static_cast<unsigned>(a.T) * B, warps = 1024 / warp_lanes;
  launch(ctx, name, exponentials, {.blocks = dim3(1 + (rows + B + warps - 1) / warps), .threads = 1024}, s);
  launch(ctx, name, chains,
         {.blocks = dim3(B, 2, variants),
          .threads = dim3(threads_for(a.K)),
          .shared = 2 * sizeof(double) * static_cast<std::size_t>(row_stride(a.K))},
         s);
  const unsigned steps_per_warp = 8;  // a warp does its steps in turn
  const unsigned finishers = std::clamp(static_cast<unsigned>(a.T) / steps_per_warp * warp_lanes, 128u, most_finishers);
  launch(ctx, name, finishes, {.blocks = dim3(B, variants), .threads = finishers}, s);
  launch(ctx, name, uses<Then>, {.blocks = dim3(B), .threads = 256}, s, then);
}

}  // namespace bib::device::crf
