// The LSTM on tensor cores, for H <= 512: what forward and backward share. A cluster of up to 16 blocks takes kWide
// times 8 sequences of one direction; a block owns up to 32 or 64 units (one block alone: 128), a warp 4, 8 or 16, and
// of these a thread (g, q) (kernels/mma.h) all four gates: of 4 units those of unit g % 4 for sequence 2q + g / 4 of
// each 8, else of unit g (of each group of 8) for sequences 2q and 2q+1.
// Narrow tiles and small blocks have the shortest steps; wide tiles and large blocks are for batches that would need
// several rounds of clusters.
#pragma once
#include <optional>
#include <span>

#include "bib/ops/lstm.h"
#include "kernels/lstm.h"
#include "kernels/mma.h"

namespace bib::device::lstm {

inline constexpr int group_units = 8, warps = threads / warp_lanes;

/// The ops on tensor cores. False, with nothing done, where the context's math is strict or there is no such kernel for
/// this H on this GPU.
bool fast_forward(Context& ctx, const LstmForward& op, Recurrence a);
bool fast_backward(Context& ctx, const LstmBackward& op, Recurrence a);

/// Units per block: whole groups.
inline int fast_units(int H, int blocks) {
  const int groups = (H + group_units - 1) / group_units;
  return (groups + blocks - 1) / blocks * group_units;
}

/// One kernel per range of H and width: the numbers of products per warp are constants, so that weights stay in
/// registers.
struct FastVariant {
  int most_units, blocks, parts, wide, warp_units, tiles, steps;  // tiles, steps: of 16 x 16 weights per warp
  bool async;               // blocks of a cluster send each other what a step made, in place of its barrier
  std::size_t state, rest;  // bytes of shared memory: what steps exchange, weights
  void (*kernel)(Recurrence);
};

std::span<const FastVariant> forward_variants();
std::span<const FastVariant> backward_variants();

/// Sequences of a cluster.
inline int tile_of(const FastVariant& v) { return v.parts * v.wide * sequences; }

/// The variant that is estimated to be fastest for this H and batch, and its plan; none where there is none for this
/// GPU: 16 bits need sm_80, clusters sm_90, and a block room for state and weights. To train, both passes have one or
/// none has, as they pass gates on in fp16.
/// BIB_LSTM_TILE=8|16|32 asks for tiles of so many sequences and BIB_LSTM_WARP=4|8 for so many units a warp, where
/// there are such, and BIB_LSTM_EXCHANGE=barrier|async for the way in which blocks of a cluster exchange a step
/// (barrier, where nothing is asked). Throws std::invalid_argument when one asks for something else.
std::optional<FastVariant> fastest(Context& ctx, Recurrence& a, bool backward);

/// What the kernel reads: the order of the sequences, the weights in the order of registers, and (forward) the products
/// with x. Memory of the context's arena.
void prepare(Context& ctx, const LstmForward& op, const FastVariant& variant, Recurrence& a);

/// What the products that end backward read beside a.d_gates_bf16, in bf16.
struct BackwardOperands {
  std::uint16_t* inputs;   // [D,T,B,inputs_row]: x, zeros up to inputs_h, h of the step before, 1, zeros
  std::uint16_t* weights;  // [D,H,4,inputs_h]: w_x, zeros; null: d_x is not asked for
  int inputs_h, inputs_row;
};
BackwardOperands prepare(Context& ctx, const LstmBackward& op, const FastVariant& variant, Recurrence& a);

/// Gradients of weights, biases and x from those of the gates' sums.
void finish(Context& ctx, const LstmBackward& op, const BackwardOperands& operands, const Recurrence& a);

/// Where value k of sequence n stands in the state, 16 bits each in shared memory, of `values` per sequence:
/// [n/8][k/8][8][8]. Eight by eight side by side are 128 bytes, from all banks: what ldmatrix reads at once, and what a
/// warp sends.
__host__ __device__ constexpr int state_at(int n, int k, int values) {
  return (n / 8 * (values / 8) + k / 8) * 64 + n % 8 * 8 + k % 8;
}

/// Row length of a Supply: 16 units, and padding that keeps lanes from meeting in a bank.
template <class T>
inline constexpr int supply_row = 16 + 16 / sizeof(T);
template <class T>
constexpr std::size_t supply_bytes(int arrays, int ahead) {
  return sizeof(T) * warps * ahead * arrays * sequences * supply_row<T>;
}
inline constexpr int backward_ahead = 3;
inline constexpr std::size_t backward_supply =
    supply_bytes<uint2>(1, backward_ahead) + supply_bytes<float>(2, backward_ahead);

#ifdef BIB_TENSOR_CORES
/// Whether this architecture has what the kernel needs; else it is empty, and never launched.
template <bool clusters>
inline constexpr bool compiled =
#ifdef BIB_CLUSTERS
    true;
#else
    !clusters;
#endif

/// The recurrent weights of a warp, operand A of the kTiles x kSteps mma that it repeats at every time step: of the
/// first kKept k-steps in registers, of the others in shared memory.
/// kChains: independent accumulators that a sum is split over, so that an mma need not wait for the one before it; they
/// are added in their order. Forward has as many in every kernel for an H: h has the same bits in all.
template <Format format, int kTiles, int kSteps, int kKept, int kChains>
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

  /// Before the steps: until the weights have come. ptxas would have the first product of every step wait for them, and
  /// with them for all loads that are under way by then.
  __device__ __forceinline__ void await() const {
    unsigned all = 0;
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int step = 0; step < kKept; ++step) all ^= kept[tile][step].x;
    }
    await_value(all);
  }

  __device__ __forceinline__ uint4 get(int tile, int step) const {
    return step < kKept ? kept[tile][step] : rest[(tile * (kSteps - kKept) + step - kKept) * warp_lanes];
  }

  /// sum[n][tile] += weights of the tile times the n-th 8 sequences of `state`, 16 kSteps values each.
  template <int kWide>
  __device__ __forceinline__ void multiply(float (&sum)[kWide][kTiles][4], const std::uint16_t* state) const {
    const std::uint16_t* const row = state + 8 * lane_id();
    float part[kChains][kWide][kTiles][4] = {};
#pragma unroll
    for (int step = 0; step < kSteps; step += 2) {
      unsigned b[kWide][4];
#pragma unroll
      for (int n = 0; n < kWide; ++n) load_matrices(b[n], row + state_at(8 * n, 16 * step, 16 * kSteps));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          const uint4 weights = get(tile, step + i);
#pragma unroll
          for (int n = 0; n < kWide; ++n) {
            const int chain = (step + i) % kChains;
            mma<format>(chain == 0 ? sum[n][tile] : part[chain][n][tile], weights, b[n][2 * i], b[n][2 * i + 1]);
          }
        }
      }
    }
#pragma unroll
    for (int chain = 1; chain < kChains; ++chain)
#pragma unroll
      for (int n = 0; n < kWide; ++n)
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
          for (int i = 0; i < 4; ++i) sum[n][tile][i] += part[chain][n][tile][i];
  }
};

/// How a warp's units are divided over its threads.
template <int kUnits>
struct Share {
  static constexpr int groups = kUnits > 8 ? kUnits / 8 : 1, group_units = kUnits / groups;
  static constexpr int of_pair = kUnits == 4 ? 1 : 2;  // sequences, of two

  __device__ __forceinline__ static int first(int i) { return (warp_id() * groups + i) * group_units; }
  __device__ __forceinline__ static int unit(int i) { return first(i) + lane_id() / 4 % group_units; }
  /// Which of the two sequences its j-th is.
  __device__ __forceinline__ static int which(int j) { return of_pair == 1 ? lane_id() / 16 : j; }
};

/// The j-th of a thread's two sequences of the tile's n-th 8.
__device__ __forceinline__ int sequence_of(int n, int j) { return 8 * n + lane_id() % 4 * 2 + j; }

/// Where two sequences of a thread, 2q and 2q+1 of the tile's n-th 8, stand in arrays of [D,T,B,H]. fastest() sees to
/// it that 32 bits suffice. Kept in shared memory, as registers are what these kernels are short of.
struct Pair {
  const int *length, *first;  // first: index of unit 0 at step 0, counted in the direction of reading

  __device__ __forceinline__ bool has(int j, int s) const { return s < length[j]; }
  /// `stride`: from step to step.
  __device__ __forceinline__ int at(int j, int s, int stride) const { return first[j] + s * stride; }
};
/// Those of a tile; by itself, of all its sequences.
struct Pairs : Pair {
  __device__ __forceinline__ Pair operator[](int n) const {
    return {length + sequence_of(n, 0), first + sequence_of(n, 0)};
  }
};
/// For all threads of a block.
template <int kSequences>
__device__ __forceinline__ Pairs find_pairs(const Recurrence& a, const Tile& tile, int d) {
  SHARED(int, first, [kSequences]);
  const int n = static_cast<int>(threadIdx.x);
  if (n < kSequences) first[n] = ((d ? a.T + tile.length[n] - 1 : 0) * a.B + tile.index[n]) * a.H;
  __syncthreads();
  return {{tile.length, first}};
}
__device__ __forceinline__ int stride_of(const Recurrence& a, int d) { return (d ? -a.B : a.B) * a.H; }

/// h, d_h are [T,B,D*H]: the index for what is at `at` in [D,T,B,H].
__device__ __forceinline__ int output_at(const Recurrence& a, int d, int at) {
  return (at - d * a.T * a.B * a.H) * a.D + d * a.H;
}

/// A ring buffer in shared memory that brings a block alone what its steps read. A warp fills it by cp.async kAhead
/// steps before, each lane with 4 of the warp's 16 units, T each, of one sequence from every one of kArrays. In a
/// cluster loads to registers arrive during the cluster's barrier; a block alone has none, and its products would wait
/// for such loads.
template <class T, int kArrays, int kAhead>
struct Supply {
  static constexpr int row = supply_row<T>, array = sequences * row, step = kArrays * array;

  T* mine;  // the warp's [kAhead][kArrays][8][row]

  __device__ __forceinline__ explicit Supply(void* memory)
      : mine(static_cast<T*>(memory) + warp_id() * kAhead * step) {}

  /// The lane's sequence, and the first of its units among the warp's.
  __device__ __forceinline__ static int sequence() { return lane_id() / 4; }
  __device__ __forceinline__ static int unit() { return lane_id() % 4 * 4; }

  /// Starts the copies for step s, over those of step s - kAhead or s + kAhead, which all lanes have read. from(i):
  /// where array i has this lane's units, of which `units` are there (the others become 0); null leaves the slot as it
  /// is. The caller ends the step's copies by copy_commit().
  template <class From>
  __device__ __forceinline__ void order(int s, int units, bool wide, From&& from) const {
    T* const to = mine + s % kAhead * step + sequence() * row + unit();
    const auto copy = [&]<int kBytes>(std::integral_constant<int, kBytes>) {
#pragma unroll
      for (int k = 0; k < 4; k += kBytes / static_cast<int>(sizeof(T)))
#pragma unroll
        for (int i = 0; i < kArrays; ++i)
          if (const T* p = from(i)) copy_async<kBytes>(to + i * array + k, p + (k < units ? k : 0), k < units);
    };
    if (wide) {
      copy(std::integral_constant<int, 16>());
    } else {
      copy(std::integral_constant<int, sizeof(T)>());
    }
  }

  /// What stands there for step s, once await_supply<kAhead>() has returned.
  __device__ __forceinline__ const T* receive(int s) const { return mine + s % kAhead * step; }
};

/// Waits until the copies for the next step have landed, for all lanes; those for the kAhead - 1 steps behind it may
/// still be under way.
template <int kAhead>
__device__ __forceinline__ void await_supply() {
  copy_wait<kAhead - 1>();
  __syncwarp();
}

/// The gates of all cells, fp16, as forward leaves them for backward where both are on tensor cores: those of a cell
/// side by side, [D,T,B,H,4], in the first half of the room for [D,T,B,4H] fp32. Half the bytes, which is what large
/// batches wait for, and one access in place of four.
struct KeptGates {
  uint2* all;
  __device__ __forceinline__ explicit KeptGates(const Recurrence& a) : all(reinterpret_cast<uint2*>(a.gates)) {}
  __device__ __forceinline__ void put(int cell, float in, float forget, float fresh, float open) const {
    all[cell] = make_uint2(pack<Format::fp16>(in, forget), pack<Format::fp16>(fresh, open));
  }
};

/// Supplies a block alone with what a step of backward reads: gates, d_h, and c of the step before.
struct BackwardSupply {
  static constexpr int ahead = backward_ahead;
  using Gates = Supply<uint2, 1, ahead>;
  using Floats = Supply<float, 2, ahead>;

  Gates gates;
  Floats floats;

  __device__ __forceinline__ explicit BackwardSupply(unsigned char* memory)
      : gates(memory), floats(memory + supply_bytes<uint2>(1, ahead)) {}

  /// Starts copies for step s of the warp's units, from `first` on. Steps past a sequence's end have zeros there.
  __device__ __forceinline__ void order(const Recurrence& a, const Place& place, const Pair& pair, int first,
                                        int s) const {
    const int n = Gates::sequence(), unit = first + Gates::unit(), stride = stride_of(a, place.d),
              at = pair.at(n, s, stride);
    const bool there = s >= 0 && pair.has(n, s), before = s > 0 && pair.has(n, s - 1);
    __syncwarp();
    gates.order(s, a.H - unit, a.wide, [&](int) { return there ? KeptGates(a).all + at + unit : nullptr; });
    floats.order(s, a.H - unit, a.wide, [&](int i) -> const float* {
      if (i == 1) return before ? a.c + at - stride + unit : nullptr;
      return there ? a.d_h + output_at(a, place.d, at) + unit : nullptr;
    });
    copy_commit();
  }
};

/// Recurrent dropout of a thread's cells, from the tile's `n`-th 8 sequences and the block's first unit on; 1 without.
template <class Mine, int kWide, int kGroups, int kOfPair>
__device__ __forceinline__ void find_mask(float (&mask)[kWide][kGroups][kOfPair], const Recurrence& a, const Tile& tile,
                                          const Place& place, int n) {
#pragma unroll
  for (int k = 0; k < kWide; ++k) {
#pragma unroll
    for (int i = 0; i < kGroups; ++i) {
#pragma unroll
      for (int j = 0; j < kOfPair; ++j) {
        const int b = tile.index[sequence_of(n + k, Mine::which(j))], unit = place.first + Mine::unit(i);
        const std::int64_t row = static_cast<std::int64_t>(place.d) * a.B + b;
        mask[k][i][j] = a.h_mask && b >= 0 && unit < a.H ? a.h_mask[row * a.H + unit] : 1.0f;
      }
    }
  }
}

/// Steps after the next one whose operands are asked for: by then they have come from memory to L2.
inline constexpr int steps_ahead = 3;

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
