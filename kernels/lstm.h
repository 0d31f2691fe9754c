// What both directions of the LSTM share: how a batch is cut into clusters, and what a block keeps on chip.
#pragma once
#include "kernels/device.h"
#include "kernels/launch.h"
#include "kernels/reduce.h"

namespace bib::device::lstm {

inline constexpr int sequences = 8, threads = 256;  // of a block

/// A tile of sequences (8; on tensor cores up to 32) per cluster of `blocks` blocks, each owner of `units` hidden
/// units.
struct Plan {
  int blocks = 1, units = 0, tiles = 0;
  unsigned inverse = 0;       // of units / 8, times 2^16, rounded up: (g inverse) >> 16 is g / (units / 8) for g < 64
  bool resident = false;      // the block's recurrent weights stay in shared memory
  bool state_on_chip = true;  // and so does what passes from step to step; else it is in Recurrence::scratch
  std::size_t shared = 0;
};

struct Recurrence {
  Plan plan;
  const int *lengths, *order;       // order: sequences by falling length
  const float* w;                   // recurrent weights, as the kernel reads them
  const float* h_mask;              // may be null
  float *h, *gates, *c;             // c null: nobody needs gates and cells afterwards; gates: fast, see KeptGates
  const std::uint16_t* x_products;  // [T,B,D,H,4] fp16, forward, fast; strict: in gates
  const float* d_h;
  float* d_gates;               // [D,T,B,4H], strict
  std::uint16_t* d_gates_bf16;  // [T,B,D,H,4], fast
  float* scratch;
  int T, B, H, D;
  bool wide;  // fast, a block alone: 16 bytes of what it reads may be copied at once
};

/// Sums of one row are cut into this many parts, so that all threads have work.
__host__ __device__ inline int parts_of(int rows) {
  const int parts = threads / (rows > 0 ? rows : 1);
  return parts < 1 ? 1 : parts > 8 ? 8 : parts;
}

/// order: sequences by falling length, equal ones by index. A warp for a sequence, whose lanes look at the others.
struct Rank {
  const int* lengths;
  int* order;
  int B;
  std::int64_t threads() const { return std::int64_t{B} * warp_lanes; }
  __device__ void operator()(std::int64_t thread) const {
    const int b = static_cast<int>(thread / warp_lanes), mine = lengths[b];
    int rank = 0;
    for (int i = lane_id(); i < B; i += warp_lanes) rank += lengths[i] > mine - (i < b);
    rank = warp_sum(rank);
    if (lane_id() == 0) order[rank] = b;
  }
};

/// All steps with fp32 on ordinary cores, for any H and any GPU; a.w is [D,4H,H].
void forward_steps(Context& ctx, Recurrence a);
void backward_steps(Context& ctx, Recurrence a);

/// The kernel, one cluster per tile and direction, as the plan says.
void launch_steps(Context& ctx, const char* name, void (*kernel)(Recurrence), const Recurrence& a);

/// Place of a block: its cluster's tile and direction, its rank and units.
struct Place {
  int tile, d, rank, first, units;
};

template <bool clusters>
__device__ __forceinline__ Place place_of(const Recurrence& a) {
  Place p;
  p.tile = static_cast<int>(blockIdx.x) / a.plan.blocks;
  p.d = static_cast<int>(blockIdx.y);
  p.rank = 0;
#ifdef BIB_CLUSTERS
  if constexpr (clusters) p.rank = static_cast<int>(cluster_rank());
#endif
  p.first = p.rank * a.plan.units;
  p.units = max(0, min(a.plan.units, a.H - p.first));
  return p;
}

/// All threads of the cluster meet, and see what each wrote before.
template <bool clusters>
__device__ __forceinline__ void meet() {
#ifdef BIB_CLUSTERS
  if constexpr (clusters) {
    cluster_arrive();
    cluster_wait();
    return;
  }
#endif
  __syncthreads();
}

/// Writes v to the same place in the shared memory of every block of the cluster, or to the state that they share.
template <bool clusters>
__device__ __forceinline__ void tell(float* mine, float v, const Plan& plan) {
#ifdef BIB_CLUSTERS
  if (clusters && plan.state_on_chip) {
    for (int r = 0; r < plan.blocks; ++r) *in_block(mine, static_cast<unsigned>(r)) = v;
    return;
  }
#endif
  *mine = v;
}

/// Where a block keeps what it works with.
struct Buffers {
  float* state;    // [2][in][sequences]: of the cluster
  float* sums;     // [parts][rows][sequences]
  float* carried;  // [units][sequences]
  float* weights;  // [in][rows], where they are resident
};

__host__ __device__ inline std::int64_t state_floats(int in) { return std::int64_t{2} * in * sequences; }
__host__ __device__ inline std::int64_t own_floats(int units, int rows) {
  return (std::int64_t{parts_of(rows)} * rows + units) * sequences;
}

__device__ __forceinline__ Buffers buffers_of(const Recurrence& a, const Place& p, float* shared, int in, int rows) {
  Buffers b{.state = shared, .sums = shared + state_floats(in)};
  if (!a.plan.state_on_chip) {
    const std::int64_t cluster = p.d * a.plan.tiles + p.tile, clusters = a.D * a.plan.tiles;
    b.state = a.scratch + cluster * state_floats(in);
    b.sums =
        a.scratch + clusters * state_floats(in) + (cluster * a.plan.blocks + p.rank) * own_floats(a.plan.units, rows);
  }
  b.carried = b.sums + std::int64_t{parts_of(rows)} * rows * sequences;
  b.weights = a.plan.state_on_chip ? b.carried + a.plan.units * sequences : nullptr;
  return b;
}

/// z[part][row][sequence] = the part's share of  sum over i of w[i,row] x[i,sequence]
__device__ __forceinline__ void multiply(const float* w, const float* x, float* z, int in, int rows) {
  const int parts = parts_of(rows), share = (in + parts - 1) / parts;
  for (int item = static_cast<int>(threadIdx.x); item < rows * parts; item += threads) {
    const int row = item % rows, part = item / rows;
    float sum[sequences] = {};
    for (int i = part * share; i < min(in, (part + 1) * share); ++i) {
      const float v = w[static_cast<std::int64_t>(i) * rows + row];
      const float4 a = load4(x + i * sequences), b = load4(x + i * sequences + 4);
      sum[0] += v * a.x, sum[1] += v * a.y, sum[2] += v * a.z, sum[3] += v * a.w;
      sum[4] += v * b.x, sum[5] += v * b.y, sum[6] += v * b.z, sum[7] += v * b.w;
    }
    float* to = z + (static_cast<std::int64_t>(part) * rows + row) * sequences;
    store4(to, make_float4(sum[0], sum[1], sum[2], sum[3]));
    store4(to + 4, make_float4(sum[4], sum[5], sum[6], sum[7]));
  }
}

__device__ __forceinline__ float sum_of_parts(const float* z, int rows, int row, int sequence) {
  float sum = 0;
  for (int part = 0; part < parts_of(rows); ++part) sum += z[(part * rows + row) * sequences + sequence];
  return sum;
}

/// The tile's sequences: index (-1 past the last) and length, for all threads.
struct Tile {
  int *index, *length;
  int steps;
};
template <int kSequences = sequences>
__device__ __forceinline__ Tile open_tile(const Recurrence& a, int tile) {
  SHARED(int, index, [kSequences]);
  SHARED(int, length, [kSequences]);
  const int n = static_cast<int>(threadIdx.x), at = tile * kSequences + n;
  if (n < kSequences) {
    index[n] = at < a.B ? a.order[at] : -1;
    length[n] = at < a.B ? a.lengths[a.order[at]] : 0;
  }
  __syncthreads();
  return {index, length, length[0]};  // sorted: the first is the longest
}

/// f(t, b, unit) for the block's units at the steps behind the end of its tile's sequences, which no step writes.
template <int kSequences = sequences, class F>
__device__ __forceinline__ void behind_the_ends(const Recurrence& a, const Place& p, const Tile& tile, F&& f) {
  const int thread = thread_read_again(), warp = thread / warp_lanes, lane = thread % warp_lanes;
  for (int n = 0; n < kSequences; ++n) {
    const int b = tile.index[n], length = tile.length[n];
    if (b < 0) break;
    for (int t = length + warp; t < a.T; t += threads / warp_lanes)  // a warp for a step: found without divisions
      for (int i = lane; i < p.units; i += warp_lanes) f(t, b, p.first + i);
  }
}

/// h behind the ends.
template <int kSequences = sequences>
__device__ __forceinline__ void clear_outputs(const Recurrence& a, const Place& p, const Tile& tile) {
  behind_the_ends<kSequences>(a, p, tile, [&](int t, int b, int unit) {
    a.h[(static_cast<std::int64_t>(t) * a.B + b) * a.D * a.H + p.d * a.H + unit] = 0;
  });
}

}  // namespace bib::device::lstm
