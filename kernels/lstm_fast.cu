// LSTM forward on tensor cores, persistent: one launch runs all steps of all sequences in both directions. A block's
// recurrent weights stay in registers as bf16 (above 256 units, partly in shared memory); per step every warp
// multiplies them with the h of 8, 16 or 32 sequences, H bf16 each in shared memory. Rows of the products are permuted
// so that one thread ends up with all four gates of its units: the cell state never leaves its registers and is fp32,
// as are all sums. The new h goes, rounded, into the shared memory of every block of the cluster. One barrier per step,
// of the cluster or the block; double buffers make a second one unnecessary. Reading the products with x of the next
// step, and writing gates, c and h, nobody waits for. st.async may take the place of the cluster's barrier (`async`).
// Every sum has an order that depends on H alone.
#include "kernels/lstm_fast.h"

namespace bib::device::lstm {
namespace {

/// kWide: 8 sequences each. kGroups: per warp. kSteps: 16 units of h each. kKept: steps whose weights are in registers.
/// async: st.async brings h, and its arrival is waited for, of everything and from everybody; which also says that
/// nobody still reads the buffer that the next step goes to. No barrier within the loop.
template <int kWide, int kGroups, int kSteps, int kKept, bool clusters, bool async>
struct Forward {
#ifdef BIB_TENSOR_CORES
  static_assert(!clusters ||
                kGroups == 1);  // a second group may lie past the units: its h is 0, which harms no one alone
  static_assert(!async || (clusters && kWide == 1));
  static constexpr int row = padded_row(16 * kSteps), buffer = kWide * sequences * row;

  const Recurrence& a;
  const Place place;
  std::uint16_t* const h;  // [2][8 kWide][row]
  Pair pair[kWide];
  Weights<2 * kGroups, kSteps, kKept> weights;
  float cell[kWide][kGroups][2] = {}, mask[kWide][kGroups][2];
  // Tile 2i: i and f, 2i+1: g and o, of group i.
  float z[kWide][2 * kGroups][4], next[kWide][2 * kGroups][4];
  bool busy;                        // this warp has units
  std::uint16_t* staged = nullptr;  // async: the warp's part of h, [8][8]
  Arrivals* arrivals = nullptr;     // async: [2], of even and of odd steps

  __device__ __forceinline__ int group_first(int i) const {  // within the block
    return (warp_id() * kGroups + i) * group_units;
  }
  __device__ __forceinline__ int unit(int i) const { return place.first + group_first(i) + lane_id() / 4; }
  __device__ __forceinline__ bool mine(int i) const { return group_first(i) < place.units && unit(i) < a.H; }

  __device__ __forceinline__ Forward(const Recurrence& a_, Place p, const Tile& tile, unsigned char* memory)
      : a(a_), place(p), h(reinterpret_cast<std::uint16_t*>(memory)) {
    busy = group_first(0) < place.units;
    weights.load(reinterpret_cast<uint4*>(memory + 2 * buffer * sizeof(std::uint16_t)), a.w,
                 place.d * a.plan.blocks + place.rank);
#pragma unroll
    for (int n = 0; n < kWide; ++n) {
      pair[n].find(a, tile, place.d, n);
      for (int i = 0; i < kGroups; ++i)
        for (int j = 0; j < 2; ++j) mask[n][i][j] = mask_of(a, tile, place.d, sequence_of(n, j), unit(i));
    }
  }

  /// The products with x of step s.
  __device__ __forceinline__ void fetch(int s) {
    const int stride = stride_of(a, place.d);
#pragma unroll
    for (int n = 0; n < kWide; ++n) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
#pragma unroll
        for (int i = 0; i < kGroups; ++i) {
          const bool there = pair[n].has(j, s) && mine(i);
          const int at = pair[n].at(j, s, stride);
#pragma unroll
          for (int gate = 0; gate < 4; ++gate)
            next[n][2 * i + gate / 2][gate % 2 * 2 + j] = there ? a.gates[4 * at + gate * a.H + unit(i)] : 0.0f;
        }
      }
    }
  }

  /// z: from the gates' sums to their values; leaves the new h, masked, in `to`.
  __device__ __forceinline__ void activate(float (&out)[kWide][kGroups][2], std::uint16_t* to) {
    const int g = lane_id() / 4;
    const bool odd = g % 2;
#pragma unroll
    for (int n = 0; n < kWide; ++n) {
#pragma unroll
      for (int i = 0; i < kGroups; ++i) {
        float(&first)[4] = z[n][2 * i], (&second)[4] = z[n][2 * i + 1];
        float kept[2];
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const float in = fast_sigmoid(first[j]), forget = fast_sigmoid(first[2 + j]);
          const float fresh = fast_tanh(second[j]), open = fast_sigmoid(second[2 + j]);
          cell[n][i][j] = forget * cell[n][i][j] + in * fresh;
          out[n][i][j] = open * fast_tanh(cell[n][i][j]);
          first[j] = in, first[2 + j] = forget, second[j] = fresh, second[2 + j] = open;
          kept[j] = out[n][i][j] * mask[n][i][j];
        }
        // Lanes of units u and u + 1 (u even) share the work: one writes sequence 2q, the other 2q+1, both units each.
        const float theirs = __shfl_xor_sync(all_lanes, odd ? kept[0] : kept[1], 4);
        const unsigned both = odd ? pack_bf16(theirs, kept[1]) : pack_bf16(kept[0], theirs);
        std::uint16_t* const at = async ? staged + sequence_of(n, odd) * group_units
                                        : to + sequence_of(n, odd) * row + place.first + group_first(i);
        *reinterpret_cast<unsigned*>(at + g / 2 * 2) = both;
      }
    }
  }

  /// Copies the warp's part of h, 8 rows of 16 bytes per group and 8 sequences, to the other blocks.
  __device__ __forceinline__ void share(std::uint16_t* to, int s) {
#ifdef BIB_CLUSTERS
    if constexpr (async) {
      __syncwarp();
      const float4 units = load4(reinterpret_cast<float*>(staged + lane_id() % 8 * group_units));
      std::uint16_t* const at = to + lane_id() % 8 * row + place.first + group_first(0);
      const int with_units =
          (a.H + a.plan.units - 1) / a.plan.units;  // others send nothing: nobody would wait for them
      for (int r = lane_id() / 8; r < with_units; r += 4) send(at, units, static_cast<unsigned>(r), arrivals + s % 2);
      __syncwarp();
    } else if constexpr (clusters) {
      __syncwarp();
      for (int i = 0; i < kGroups; ++i) {
#pragma unroll
        for (int n = 0; n < kWide; ++n) {
          std::uint16_t* const from = to + (8 * n + lane_id() % 8) * row + place.first + group_first(i);
          const float4 units = load4(reinterpret_cast<float*>(from));
          for (int r = lane_id() / 8; r < a.plan.blocks; r += 4)
            if (r != place.rank) store4(in_block(reinterpret_cast<float*>(from), static_cast<unsigned>(r)), units);
        }
      }
    }
#endif
  }

  __device__ __forceinline__ void write(const float (&out)[kWide][kGroups][2], int s) {
    const int stride = stride_of(a, place.d);
#pragma unroll
    for (int n = 0; n < kWide; ++n) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        if (!pair[n].has(j, s)) continue;
        const int at = pair[n].at(j, s, stride);
#pragma unroll
        for (int i = 0; i < kGroups; ++i) {
          if (!mine(i)) continue;
          a.h[output_at(a, place.d, at) + unit(i)] = out[n][i][j];
          if (!a.c) continue;
          a.c[at + unit(i)] = cell[n][i][j];
#pragma unroll
          for (int gate = 0; gate < 4; ++gate)
            a.gates[4 * at + gate * a.H + unit(i)] = z[n][2 * i + gate / 2][gate % 2 * 2 + j];
        }
      }
    }
  }

  __device__ __forceinline__ void step(int s, int steps) {
    constexpr bool early = kWide == 1;  // wide tiles have no registers for it during the products, and longer steps
    std::uint16_t* const to = h + (s + 1) % 2 * buffer;
    float out[kWide][kGroups][2];
#ifdef BIB_CLUSTERS
    if constexpr (async)
      if (threadIdx.x == 0) expect_bytes(arrivals + s % 2, (a.H + group_units - 1) / group_units * 8 * 16);
#endif
    if (busy) {
#pragma unroll
      for (int n = 0; n < kWide; ++n)
#pragma unroll
        for (int t = 0; t < 2 * kGroups; ++t)
#pragma unroll
          for (int i = 0; i < 4; ++i) z[n][t][i] = next[n][t][i];
      if (early && s + 1 < steps) fetch(s + 1);
      weights.multiply(z, h + s % 2 * buffer);
      if (!early && s + 1 < steps) fetch(s + 1);
      activate(out, to);
      share(to, s);
    }
    if constexpr (!async) step_done<clusters>();
    if (busy) write(out, s);
#ifdef BIB_CLUSTERS
    if constexpr (async) return await_phase(arrivals + s % 2, s / 2 % 2);
#endif
    await_step<clusters>();
  }
#endif
};

template <int kWide, int kGroups, int kSteps, int kKept, bool clusters, bool async>
__global__ void __launch_bounds__(threads, 1) run_fast_forward(Recurrence a) {
  after_previous(Next::later);
#ifdef BIB_TENSOR_CORES
  if constexpr (compiled<clusters>) {
    DYN_SHARED(unsigned char, memory);
    using Run = Forward<kWide, kGroups, kSteps, kKept, clusters, async>;
    const Place place = place_of<clusters>(a);
    const Tile tile = open_tile<kWide * sequences>(a, place.tile);
    Run run(a, place, tile, memory);
    clear(reinterpret_cast<std::uint32_t*>(run.h), 2 * Run::buffer / 2);
#ifdef BIB_CLUSTERS
    if constexpr (async) {
      SHARED(std::uint16_t, staging, [warps][sequences * group_units]);
      SHARED(Arrivals, arrivals, [2]);
      run.staged = staging[warp_id()], run.arrivals = arrivals;
      if (threadIdx.x == 0) init_arrivals(arrivals, 2);
    }
#endif
    meet<clusters>();
    if (run.busy) run.fetch(0);
    // A warp that sends nothing might miss a phase. Where a block has units, its first warp has some.
    if (!async || run.busy)
      for (int s = 0; s < tile.steps; ++s) run.step(s, tile.steps);
    if (async) __syncthreads();
    next_may_start();
    clear_outputs<kWide * sequences>(a, place_of<clusters>(a), tile);
  }
#endif
}

template <int kWide, int kGroups, int kSteps, int kKept, bool clusters>
constexpr FastVariant variant(int most_units, int blocks) {
  FastVariant v{.most_units = most_units,
                .blocks = blocks,
                .wide = kWide,
                .tiles = 2 * kGroups,
                .steps = kSteps,
                .state = 2 * kWide * sequences * padded_row(16 * kSteps) * sizeof(std::uint16_t),
                .rest = std::size_t{warps} * 2 * kGroups * (kSteps - kKept) * warp_lanes * 16,
                .kernel = run_fast_forward<kWide, kGroups, kSteps, kKept, clusters, false>};
  if constexpr (clusters && kWide == 1)
    v.async_state = v.state, v.async_kernel = run_fast_forward<kWide, kGroups, kSteps, kKept, clusters, true>;
  return v;
}

}  // namespace

bool fast_forward(Context& ctx, const LstmForward& op, Recurrence a) {
  static const FastVariant variants[] = {
      variant<1, 2, 4, 4, false>(64, 1),   variant<1, 2, 8, 8, false>(128, 1), variant<1, 1, 10, 10, true>(160, 4),
      variant<2, 1, 10, 10, true>(160, 4), variant<4, 1, 10, 8, true>(160, 4), variant<1, 1, 12, 12, true>(192, 4),
      variant<2, 1, 12, 12, true>(192, 4), variant<4, 1, 12, 6, true>(192, 4), variant<1, 1, 16, 16, true>(256, 4),
      variant<2, 1, 16, 16, true>(256, 4), variant<4, 1, 16, 7, true>(256, 4), variant<1, 1, 24, 18, true>(384, 8),
      variant<2, 1, 24, 16, true>(384, 8), variant<4, 1, 24, 6, true>(384, 8), variant<1, 1, 32, 16, true>(512, 8),
      variant<2, 1, 32, 16, true>(512, 8)};
  const auto variant = fastest(variants, ctx, a, false);
  if (!variant) return false;
  prepare(ctx, op, *variant, a);
  launch_steps(ctx, op.name.data(), variant->kernel, a);
  return true;
}

}  // namespace bib::device::lstm
