// The LSTM on tensor cores, for H <= 512: what forward and backward share. A cluster of 1, 4 or 8 blocks takes 8
// sequences of one direction; a block owns the units of up to 8 (one block alone: 16) groups of 8, a warp up to G
// groups, and of these a thread (g, q) (kernels/mma.h) all four gates of unit g for sequences 2q and 2q+1.
#pragma once
#include "kernels/lstm.h"
#include "kernels/mma.h"

namespace bib::device::lstm {

inline constexpr int group_units = 8, warps = threads / warp_lanes;

/// As forward_steps and backward_steps, on tensor cores. False, with nothing done, where the context's math is strict
/// or there is no such kernel for this H on this GPU.
bool fast_forward_steps(Context& ctx, Recurrence a);
bool fast_backward_steps(Context& ctx, Recurrence a);

/// Units per block: whole groups.
inline int fast_units(int H, int blocks) {
  const int groups = (H + group_units - 1) / group_units;
  return (groups + blocks - 1) / blocks * group_units;
}

/// One kernel per range of H: the numbers of products per warp are constants, so that weights stay in registers.
struct FastVariant {
  int most_units, blocks, tiles, steps;  // tiles, steps: of 16 x 16 weights per warp
  std::size_t fixed_shared;              // bytes, whatever H is
  void (*kernel)(Recurrence);
};

/// The first that H fits, or null. bf16 needs sm_80, clusters sm_90.
template <std::size_t N>
const FastVariant* variant_for(const FastVariant (&variants)[N], const CudaState& state, int H) {
  if (state.math != Math::fast || state.compute_major < 8) return nullptr;
  for (const FastVariant& v : variants)
    if (H <= v.most_units) return v.blocks == 1 || state.compute_major >= 9 ? &v : nullptr;
  return nullptr;
}

/// Packs the weights and runs the variant with `more_shared` bytes; false where a block of this GPU has not so much
/// shared memory.
bool run_variant(Context& ctx, const char* name, const FastVariant& v, std::size_t more_shared, bool backward,
                 Recurrence a);

/// Row of the state in shared memory, in bf16 values: 16 bytes more than `k`, so that the eight rows which ldmatrix
/// reads at once lie in different banks.
__host__ __device__ constexpr int padded_row(int k) { return k + 8; }

#ifdef BIB_TENSOR_CORES
/// a's words of kTiles x kSteps products that a warp repeats at every step: those of the first kKept steps of the sum
/// in registers, the others in shared memory.
template <int kTiles, int kSteps, int kKept>
struct Weights {
  uint4 kept[kTiles][kKept];
  uint4* rest;  // [kTiles][kSteps - kKept][32], at this lane

  /// The warp's part of what Fragments wrote.
  __device__ __forceinline__ void load(uint4* memory, const float* packed, int place) {
    rest = memory + warp_id() * kTiles * (kSteps - kKept) * warp_lanes + lane_id();
    const uint4* from = reinterpret_cast<const uint4*>(packed) +
                        static_cast<std::int64_t>(place * warps + warp_id()) * kTiles * kSteps * warp_lanes + lane_id();
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const uint4 a = from[(tile * kSteps + step) * warp_lanes];
        if (step < kKept) {
          kept[tile][step] = a;
        } else {
          rest[(tile * (kSteps - kKept) + step - kKept) * warp_lanes] = a;
        }
      }
    }
  }

  __device__ __forceinline__ uint4 get(int tile, int step) const {
    return step < kKept ? kept[tile][step] : rest[(tile * (kSteps - kKept) + step - kKept) * warp_lanes];
  }

  /// sum[tile] += its products with `state` [8][padded_row(16 kSteps)]. Several chains per tile where there are few
  /// tiles: a product waits for the one before it in its chain. Their sums are added in a fixed order.
  __device__ __forceinline__ void multiply(float (&sum)[kTiles][4], const std::uint16_t* state) const {
    constexpr int chains = kTiles == 1 ? 4 : kTiles == 2 ? 2 : 1;
    const std::uint16_t* row = state + lane_id() % 8 * padded_row(16 * kSteps) + lane_id() / 8 * 8;
    float part[chains][kTiles][4] = {};
#pragma unroll
    for (int step = 0; step < kSteps; step += 2) {
      unsigned b[4];
      load_matrices(b, row + 16 * step);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          float(&to)[4] = chains == 1 || (step + i) % chains == 0 ? sum[tile] : part[(step + i) % chains][tile];
          mma_bf16(to, get(tile, step + i), b[2 * i], b[2 * i + 1]);
        }
      }
    }
#pragma unroll
    for (int chain = 1; chain < chains; ++chain)
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
        for (int i = 0; i < 4; ++i) sum[tile][i] += part[chain][tile][i];
  }
};

/// Where a thread's two sequences, 2q and 2q+1 of the tile, stand in arrays of [D,T,B,H]. 32 bits: run_variant() sees
/// to that, and registers are what these kernels are short of.
struct Pair {
  int first[2], length[2];  // index of unit 0 at step 0, counted in the direction of reading
  int stride;               // from step to step

  __device__ __forceinline__ bool has(int j, int s) const { return s < length[j]; }
  __device__ __forceinline__ int at(int j, int s) const { return first[j] + s * stride; }
};
__device__ __forceinline__ Pair pair_of(const Recurrence& a, const Tile& tile, int d) {
  const int n = 2 * (lane_id() % 4);
  Pair p{.first = {}, .length = {tile.length[n], tile.length[n + 1]}, .stride = (d ? -a.B : a.B) * a.H};
  for (int j = 0; j < 2; ++j) p.first[j] = ((d ? a.T + p.length[j] - 1 : 0) * a.B + tile.index[n + j]) * a.H;
  return p;
}

/// h, d_h are [T,B,D*H]: the index for what is at `at` in [D,T,B,H].
__device__ __forceinline__ int output_at(const Recurrence& a, int d, int at) {
  return (at - d * a.T * a.B * a.H) * a.D + d * a.H;
}

/// Recurrent dropout of this unit in the tile's sequence n; 1 without.
__device__ __forceinline__ float mask_of(const Recurrence& a, const Tile& tile, int d, int n, int unit) {
  const int b = tile.index[n];
  return a.h_mask && b >= 0 && unit < a.H ? a.h_mask[(static_cast<std::int64_t>(d) * a.B + b) * a.H + unit] : 1.0f;
}

/// The barrier of a step in two halves, so that work which nobody waits for stands between them.
template <bool clusters>
__device__ __forceinline__ void step_done() {
#ifdef BIB_CLUSTERS
  if constexpr (clusters) cluster_arrive();
#endif
}
template <bool clusters>
__device__ __forceinline__ void await_step() {
#ifdef BIB_CLUSTERS
  if constexpr (clusters) {
    cluster_wait();
    return;
  }
#endif
  __syncthreads();
}

template <class T>
__device__ __forceinline__ void clear(T* p, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += threads) p[i] = 0;
}
#endif

}  // namespace bib::device::lstm
