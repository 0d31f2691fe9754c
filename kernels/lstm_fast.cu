// LSTM forward on tensor cores, persistent: one launch runs all steps of all sequences in both directions. A block's
// recurrent weights stay in registers as bf16 (above 256 units, partly in shared memory); per step every warp
// multiplies them with the h of 8 sequences, 8 x H bf16 in shared memory. Rows of the products are permuted so that one
// thread ends up with all four gates of its units: the cell state never leaves its registers and is fp32, as are all
// sums. The new h goes, rounded, into the shared memory of every block of the cluster. One barrier per step, of the
// cluster or the block; double buffers make a second one unnecessary. Reading the products with x of the next step, and
// writing gates, c and h, nobody waits for. Every sum has an order that depends on H alone.
#include "kernels/lstm_fast.h"

namespace bib::device::lstm {
namespace {

/// kGroups: per warp. kSteps: 16 units of h each. kKept: steps whose weights are in registers.
template <int kGroups, int kSteps, int kKept, bool clusters>
struct Forward {
#ifdef BIB_TENSOR_CORES
  static constexpr int row = padded_row(16 * kSteps), buffer = sequences * row;

  const Recurrence& a;
  const Place place;
  const Pair pair;
  std::uint16_t* const h;  // [2][8][row]
  Weights<2 * kGroups, kSteps, kKept> weights;
  float cell[kGroups][2] = {}, mask[kGroups][2];
  float z[2 * kGroups][4], next[2 * kGroups][4];  // tile 2i: i and f, 2i+1: g and o, of group i
  bool busy;                                      // this warp has units

  __device__ __forceinline__ int group_first(int i) const {  // within the block
    return (warp_id() * kGroups + i) * group_units;
  }
  __device__ __forceinline__ int unit(int i) const { return place.first + group_first(i) + lane_id() / 4; }
  __device__ __forceinline__ bool mine(int i) const { return group_first(i) < place.units && unit(i) < a.H; }

  __device__ __forceinline__ Forward(const Recurrence& a_, Place p, const Tile& tile, unsigned char* memory)
      : a(a_), place(p), pair(pair_of(a_, tile, p.d)), h(reinterpret_cast<std::uint16_t*>(memory)) {
    busy = group_first(0) < place.units;
    weights.load(reinterpret_cast<uint4*>(memory + 2 * buffer * sizeof(std::uint16_t)), a.w,
                 place.d * a.plan.blocks + place.rank);
    for (int i = 0; i < kGroups; ++i)
      for (int j = 0; j < 2; ++j) mask[i][j] = mask_of(a, tile, place.d, lane_id() % 4 * 2 + j, unit(i));
  }

  /// The products with x of step s.
  __device__ __forceinline__ void fetch(int s) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int i = 0; i < kGroups; ++i) {
        const bool there = pair.has(j, s) && mine(i);
#pragma unroll
        for (int gate = 0; gate < 4; ++gate)
          next[2 * i + gate / 2][gate % 2 * 2 + j] = there ? a.gates[4 * pair.at(j, s) + gate * a.H + unit(i)] : 0.0f;
      }
    }
  }

  /// z: from the gates' sums to their values; leaves the new h, masked, in `to`.
  __device__ __forceinline__ void activate(float (&out)[kGroups][2], std::uint16_t* to) {
    const int g = lane_id() / 4, q = lane_id() % 4;
#pragma unroll
    for (int i = 0; i < kGroups; ++i) {
      float(&first)[4] = z[2 * i], (&second)[4] = z[2 * i + 1];
      float kept[2];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float in = fast_sigmoid(first[j]), forget = fast_sigmoid(first[2 + j]);
        const float fresh = fast_tanh(second[j]), open = fast_sigmoid(second[2 + j]);
        cell[i][j] = forget * cell[i][j] + in * fresh;
        out[i][j] = open * fast_tanh(cell[i][j]);
        first[j] = in, first[2 + j] = forget, second[j] = fresh, second[2 + j] = open;
        kept[j] = out[i][j] * mask[i][j];
      }
      // Lanes of units u and u + 1 (u even) share the work: one writes sequence 2q, the other 2q+1, both units each.
      const bool odd = g % 2;
      const float theirs = __shfl_xor_sync(all_lanes, odd ? kept[0] : kept[1], 4);
      const unsigned both = odd ? pack_bf16(theirs, kept[1]) : pack_bf16(kept[0], theirs);
      if (group_first(i) >= place.units) continue;
      *reinterpret_cast<unsigned*>(to + (2 * q + odd) * row + place.first + group_first(i) + g / 2 * 2) = both;
    }
  }

  /// Copies the warp's part of h, 8 rows of 16 bytes per group, to the other blocks.
  __device__ __forceinline__ void share(std::uint16_t* to) {
#ifdef BIB_CLUSTERS
    if constexpr (clusters) {
      __syncwarp();
      for (int i = 0; i < kGroups; ++i) {
        if (group_first(i) >= place.units) continue;
        std::uint16_t* const from = to + lane_id() % 8 * row + place.first + group_first(i);
        const float4 units = load4(reinterpret_cast<float*>(from));
        for (int r = lane_id() / 8; r < a.plan.blocks; r += 4)
          if (r != place.rank) store4(in_block(reinterpret_cast<float*>(from), static_cast<unsigned>(r)), units);
      }
    }
#endif
  }

  __device__ __forceinline__ void write(const float (&out)[kGroups][2], int s) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if (!pair.has(j, s)) continue;
      const int at = pair.at(j, s);
#pragma unroll
      for (int i = 0; i < kGroups; ++i) {
        if (!mine(i)) continue;
        a.h[output_at(a, place.d, at) + unit(i)] = out[i][j];
        if (!a.c) continue;
        a.c[at + unit(i)] = cell[i][j];
#pragma unroll
        for (int gate = 0; gate < 4; ++gate)
          a.gates[4 * at + gate * a.H + unit(i)] = z[2 * i + gate / 2][gate % 2 * 2 + j];
      }
    }
  }

  __device__ __forceinline__ void step(int s, int steps) {
    std::uint16_t* const to = h + (s + 1) % 2 * buffer;
    float out[kGroups][2];
    if (busy) {
#pragma unroll
      for (int t = 0; t < 2 * kGroups; ++t)
#pragma unroll
        for (int i = 0; i < 4; ++i) z[t][i] = next[t][i];
      if (s + 1 < steps) fetch(s + 1);
      weights.multiply(z, h + s % 2 * buffer);
      activate(out, to);
      share(to);
    }
    step_done<clusters>();
    if (busy) write(out, s);
    await_step<clusters>();
  }
#endif
};

template <int kGroups, int kSteps, int kKept, bool clusters>
__global__ void __launch_bounds__(threads, 1) run_fast_forward(Recurrence a) {
#ifdef BIB_TENSOR_CORES
  DYN_SHARED(unsigned char, memory);
  using Run = Forward<kGroups, kSteps, kKept, clusters>;
  const Place place = place_of<clusters>(a);
  const Tile tile = open_tile(a, place.tile);
  Run run(a, place, tile, memory);
  clear(reinterpret_cast<std::uint32_t*>(run.h), 2 * Run::buffer / 2);
  meet<clusters>();
  if (run.busy) run.fetch(0);
  for (int s = 0; s < tile.steps; ++s) run.step(s, tile.steps);
#endif
}

template <int kGroups, int kSteps, int kKept, bool clusters>
constexpr FastVariant variant(int most_units, int blocks) {
  constexpr std::size_t state = 2 * sequences * padded_row(16 * kSteps) * sizeof(std::uint16_t);
  constexpr std::size_t rest = std::size_t{warps} * 2 * kGroups * (kSteps - kKept) * warp_lanes * 16;
  return {most_units, blocks, 2 * kGroups, kSteps, state + rest, run_fast_forward<kGroups, kSteps, kKept, clusters>};
}

}  // namespace

bool fast_forward_steps(Context& ctx, Recurrence a) {
  static const FastVariant variants[] = {variant<2, 4, 4, false>(64, 1),   variant<2, 8, 8, false>(128, 1),
                                         variant<1, 10, 10, true>(160, 4), variant<1, 12, 12, true>(192, 4),
                                         variant<1, 16, 16, true>(256, 4), variant<1, 24, 18, true>(384, 8),
                                         variant<1, 32, 16, true>(512, 8)};
  const FastVariant* const v = variant_for(variants, ctx.cuda(), a.H);
  return v && run_variant(ctx, "lstm_forward", *v, 0, false, a);
}

}  // namespace bib::device::lstm
