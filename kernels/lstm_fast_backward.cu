// LSTM backward on tensor cores, persistent like forward (lstm_fast.cu): the same weights, a block's own gate rows,
// stay on chip, used transposed. Per step a block turns d_h of its units into gradients of its gates' sums, rounds them
// into shared memory, and multiplies: its share of d_h one step earlier, for all units. The shares go, in bf16, to the
// block that owns the unit, into a slot per sender, and are added there in the order of the ranks: a quarter of the
// traffic of giving every block all gates' gradients. One block barrier and one cluster barrier (or st.async) per step;
// slots are double-buffered. A tile may go in two parts as in forward. A block alone needs neither slots nor cluster:
// the thread that ends up with a unit's sum is the one that needs it.
#include "kernels/lstm_fast_shares.h"

namespace bib::device::lstm {
namespace {

/// kParts of a tile, kWide times 8 sequences each. kUnits: that a warp turns into gradients. kTiles: 16 units each, of
/// all, whose d_h a warp sums up. kSteps: 16 gate rows each, of the block's 4 rows per unit, unit by unit. kKept: steps
/// whose weights are in registers.
/// async: st.async brings the shares, and their arrival is waited for. Gates' gradients have two buffers then, as
/// nothing else keeps a warp from overwriting what others still multiply.
template <int kParts, int kWide, int kUnits, int kTiles, int kSteps, int kKept, int kBlocks, bool async>
struct Backward {
#ifdef BIB_TENSOR_CORES
  using Mine = Share<kUnits>;
  static constexpr bool clusters = kBlocks > 1;
  static constexpr int groups = Mine::groups, of_pair = Mine::of_pair;
  static_assert(!clusters || groups == 1);  // a second group may lie past the units: all of it is 0, as in forward
  static_assert(async ? clusters : kParts == 1);
  static constexpr int part_sequences = kWide * sequences, values = 16 * kSteps, buffer = part_sequences * values;
  static constexpr int buffers = clusters && !async ? 1 : 2;

  using Cells = float[kWide][groups][of_pair];
  struct Step {  // what a step reads, fetched while the one before it is computed
    uint2 gates[kWide][groups][of_pair];
    Cells d_h, before;
  };

  /// What a thread has of a part of the tile.
  struct Part {
    Pairs pair;
    Cells d_cell = {}, cell, mask;
    Step now;              // in a cluster
    std::uint16_t* dz;     // [buffers] states of `values`: gate by gate of a unit
    std::uint16_t* slots;  // [2][blocks][kWide][units][8]
    Arrivals* arrivals;    // async: [2], of even and of odd steps
  };

  const Recurrence& a;
  const Place place;
  const KeptGates kept;
  const BackwardSupply supply;  // of a block alone
  Weights<Format::bf16, kTiles, kSteps, kKept, kTiles == 1 ? 4 : kTiles == 2 ? 2 : 1> weights;
  Part parts[kParts];
  float sum[kWide][kTiles][4] = {};
  int home;               // of this thread's first gradients in a state
  bool busy, multiplies;  // this warp has units; has tiles
#ifdef BIB_CLUSTERS
  Shares<kTiles, kWide, kBlocks, async> shares;
#endif

  __device__ __forceinline__ int unit(int i) const { return place.first + Mine::unit(i); }
  __device__ __forceinline__ bool mine(int i) const { return Mine::first(i) < place.units && unit(i) < a.H; }
  __device__ __forceinline__ int tile_first(int t) const { return 16 * (warp_id() + t * warps); }
  __device__ __forceinline__ int slot_values() const { return part_sequences * a.plan.units; }

  __device__ __forceinline__ Backward(const Recurrence& a_, Place p, const Tile& tile, unsigned char* memory)
      : a(a_), place(p), kept(a_), supply(memory + buffers * buffer * sizeof(std::uint16_t)) {
    const Pairs pairs = find_pairs<kParts * part_sequences>(a, tile, place.d);
    busy = Mine::first(0) < place.units;
    home = state_at(sequence_of(0, Mine::which(0)), Mine::unit(0) * 4, values);
    multiplies = tile_first(0) < a.H && place.units > 0;
    // Blocks without units send nothing: their slots hold zeros.
    const int of_part = buffers * buffer + (clusters ? 2 * kBlocks * slot_values() : 0);
    auto* const states = reinterpret_cast<std::uint16_t*>(memory);
    clear(reinterpret_cast<std::uint32_t*>(states), kParts * of_part / 2 + (clusters ? 0 : backward_supply / 4));
    weights.load(reinterpret_cast<uint4*>(states + kParts * of_part), a.w, place.d * kBlocks + place.rank);
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      Part& mine = parts[part];
      mine.pair = {{pairs.length + part * part_sequences, pairs.first + part * part_sequences}};
      mine.dz = states + part * of_part;
      mine.slots = mine.dz + buffers * buffer;
      find_mask<Mine>(mine.mask, a, tile, place, part * kWide);
    }
#ifdef BIB_CLUSTERS
    if constexpr (clusters) shares.open(a, place, parts[0].slots);
    if constexpr (async) {
      SHARED(Arrivals, arrivals, [kParts][2]);
#pragma unroll
      for (int part = 0; part < kParts; ++part) parts[part].arrivals = arrivals[part];
      if (threadIdx.x == 0) init_arrivals(arrivals[0], kParts * 2);
    }
#endif
  }

  /// c of step s; 0 before the first and past the last.
  __device__ __forceinline__ void fetch_cells(const Part& part, Cells& to, int s) const {
    const int stride = stride_of(a, place.d);
#pragma unroll
    for (int n = 0; n < kWide; ++n)
#pragma unroll
      for (int j = 0; j < of_pair; ++j)
#pragma unroll
        for (int i = 0; i < groups; ++i)
          to[n][i][j] = s >= 0 && part.pair[n].has(Mine::which(j), s) && mine(i)
                            ? a.c[part.pair[n].at(Mine::which(j), s, stride) + unit(i)]
                            : 0.0f;
  }

  /// In a block alone: starts the copy of what step s reads, and takes what has come.
  __device__ __forceinline__ void order(const Part& part, int s) const {
    supply.order(a, place, part.pair, Mine::first(0), s);
  }
  __device__ __forceinline__ void receive(Step& now, int s) const {
    using Gates = BackwardSupply::Gates;
    using Floats = BackwardSupply::Floats;
    await_supply<BackwardSupply::ahead>();
    const uint2* const gates = supply.gates.receive(s) + sequence_of(0, 0) * Gates::row + lane_id() / 4;
    const float* const floats = supply.floats.receive(s) + sequence_of(0, 0) * Floats::row + lane_id() / 4;
#pragma unroll
    for (int i = 0; i < groups; ++i) {
#pragma unroll
      for (int j = 0; j < of_pair; ++j) {
        const float* const here = floats + i * group_units + j * Floats::row;
        now.gates[0][i][j] = gates[i * group_units + j * Gates::row];
        now.d_h[0][i][j] = here[0];
        now.before[0][i][j] = s > 0 ? here[Floats::array] : 0.0f;
      }
    }
  }

  /// In a cluster, whose warps have one group: what step s reads.
  __device__ __forceinline__ void fetch(Part& part, int s) const {
    Step& now = part.now;
    const int stride = stride_of(a, place.d);
#pragma unroll
    for (int n = 0; n < kWide; ++n) {
#pragma unroll
      for (int j = 0; j < of_pair; ++j) {
        const bool there = part.pair[n].has(Mine::which(j), s) && mine(0);
        const int at = part.pair[n].at(Mine::which(j), s, stride);
        now.gates[n][0][j] = there ? kept.all[at + unit(0)] : uint2{};
        now.d_h[n][0][j] = there ? a.d_h[output_at(a, place.d, at) + unit(0)] : 0.0f;
      }
    }
    fetch_cells(part, now.before, s - 1);
  }

  /// Has L2 get what fetch(s) will read, as in forward: of two sequences gates, four units each, d_h and c.
  __device__ __forceinline__ void look_ahead(const Part& part, int s) const {
    const int g = lane_id() / 4, j = g % 2, which = g / 2, stride = stride_of(a, place.d);
    if (s < 1) return;
#pragma unroll
    for (int n = 0; n < kWide; ++n) {
      if (!part.pair[n].has(j, s) || Mine::first(0) >= place.units) continue;
      const int at = part.pair[n].at(j, s, stride), first = place.first + Mine::first(0);
      if (which == 0) prefetch(a.d_h + output_at(a, place.d, at) + first);
      if (which == 1) prefetch(a.c + at - stride + first);
      if (which >= 2 && 4 * (which - 2) < Mine::group_units) prefetch(kept.all + at + first + 4 * (which - 2));
    }
  }

  /// d_h that comes from the step after s: the shares of all blocks, in their order.
  __device__ __forceinline__ void from_next(const Part& part, float (&d_h)[groups][of_pair], int n, int s) const {
    if constexpr (!clusters) {  // tile t of the only tile: rows 0..7 are group 0, 8..15 group 1
#pragma unroll
      for (int i = 0; i < groups; ++i)
#pragma unroll
        for (int j = 0; j < of_pair; ++j) d_h[i][j] = sum[n][0][2 * i + j];
    } else {
      [[maybe_unused]] constexpr int at_once = kWide * kTiles < 8 ? kBlocks : 2;  // there are no registers for more
      const std::uint16_t* from = part.slots + (~s & 1) * kBlocks * slot_values() +
                                  (n * a.plan.units + Mine::unit(0)) * sequences + sequence_of(0, Mine::which(0));
#pragma unroll
      for (int j = 0; j < of_pair; ++j) d_h[0][j] = 0;
#pragma unroll at_once
      for (int r = 0; r < kBlocks; ++r, from += slot_values()) {
        if constexpr (of_pair == 2) {
          const unsigned two = *reinterpret_cast<const unsigned*>(from);
          d_h[0][0] += __uint_as_float(two << 16), d_h[0][1] += __uint_as_float(two & 0xFFFF0000u);
        } else {
          d_h[0][0] += __uint_as_float(static_cast<unsigned>(*from) << 16);
        }
      }
    }
  }

  __device__ __forceinline__ std::uint16_t* dz_of(const Part& part, int s) const {
    return part.dz + (buffers == 2 ? (s & 1) * buffer : 0);
  }

  /// Gradients of the gates' sums at step s, rounded, to shared memory.
  __device__ __forceinline__ void differentiate(Part& part, const Step& now, int s, bool last) const {
    std::uint16_t* const to = dz_of(part, s) + home;
#pragma unroll
    for (int n = 0; n < kWide; ++n) {
      float next[groups][of_pair] = {};
      if (!last) from_next(part, next, n, s);
#pragma unroll
      for (int j = 0; j < of_pair; ++j) {
#pragma unroll
        for (int i = 0; i < groups; ++i) {
          const float2 first = unpack_fp16(now.gates[n][i][j].x), second = unpack_fp16(now.gates[n][i][j].y);
          const float in = first.x, forget = first.y, fresh = second.x, open = second.y;
          const float before = now.before[n][i][j], squashed = fast_tanh(part.cell[n][i][j]);
          const float d_h =
              now.d_h[n][i][j] + (part.pair[n].has(Mine::which(j), s + 1) ? part.mask[n][i][j] * next[i][j] : 0.0f);
          const float d_c = __fmaf_rn(__fmul_rn(d_h, open), __fmaf_rn(-squashed, squashed, 1.0f), part.d_cell[n][i][j]);
          part.d_cell[n][i][j] = d_c * forget;
          const float d[4] = {d_c * fresh * in * (1 - in), d_c * before * forget * (1 - forget),
                              d_c * in * (1 - fresh * fresh), d_h * squashed * open * (1 - open)};
          part.cell[n][i][j] = before;
          *reinterpret_cast<uint2*>(to + state_at(8 * n + j, 8 * i * 4, values)) =
              make_uint2(pack<Format::bf16>(d[0], d[1]), pack<Format::bf16>(d[2], d[3]));
        }
      }
    }
  }

  /// Copies what this thread left there to a.d_gates_bf16: behind the arrival, whose fence would wait for it.
  __device__ __forceinline__ void write(const Part& part, int s) const {
    const int stride = stride_of(a, place.d);
    const std::uint16_t* const from = dz_of(part, s) + home;
#pragma unroll
    for (int n = 0; n < kWide; ++n) {
#pragma unroll
      for (int j = 0; j < of_pair; ++j) {
        if (!part.pair[n].has(Mine::which(j), s)) continue;
        const int at = output_at(a, place.d, part.pair[n].at(Mine::which(j), s, stride));
#pragma unroll
        for (int i = 0; i < groups; ++i) {
          const uint2 four = *reinterpret_cast<const uint2*>(from + state_at(8 * n + j, 8 * i * 4, values));
          if (mine(i)) reinterpret_cast<uint2*>(a.d_gates_bf16)[at + unit(i)] = four;
        }
      }
    }
  }

  /// Gives every sum to the block that owns its units, for step s - 1.
  __device__ __forceinline__ void scatter(const Part& part, int s) const {
#ifdef BIB_CLUSTERS
    if constexpr (clusters) shares.send(a, sum, static_cast<int>(part.slots - parts[0].slots), s, part.arrivals);
#endif
  }

  /// Until the shares of step s have come from everybody.
  __device__ __forceinline__ void await(const Part& part, int s, int steps) const {
#ifdef BIB_CLUSTERS
    if constexpr (async) await_phase(part.arrivals + (s & 1), (steps - 1 - s) / 2 % 2);
#endif
  }

  __device__ __forceinline__ void step(Part& part, int s, int steps) {
    if (s + 1 < steps) await(part, s + 1, steps);
    if (busy) {
      Step alone;
      if constexpr (!clusters) receive(alone, s);
      differentiate(part, clusters ? part.now : alone, s, s + 1 == steps);
    }
    __syncthreads();
#ifdef BIB_CLUSTERS
    if constexpr (async)
      if (threadIdx.x == 0 && s > 0) expect_bytes(part.arrivals + (s & 1), bytes_to_come());
    if constexpr (async) __syncwarp();  // as in forward
#endif
    if (multiplies && s > 0) {
#pragma unroll
      for (int n = 0; n < kWide; ++n)
#pragma unroll
        for (int t = 0; t < kTiles; ++t)
#pragma unroll
          for (int i = 0; i < 4; ++i) sum[n][t][i] = 0;
      weights.multiply(sum, dz_of(part, s));
      scatter(part, s);
    }
    if constexpr (clusters && !async) step_done<clusters>();
    if (busy) {
      if constexpr (clusters) {
        if (s > 0) fetch(part, s - 1);  // as in forward, behind the products
        write(part, s);
        look_ahead(part, s - 1 - steps_ahead);
      } else {
        order(part, s - BackwardSupply::ahead);
        write(part, s);
      }
    }
    if constexpr (clusters && !async) await_step<clusters>();
  }

  __device__ __forceinline__ void begin(const Tile& tile) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const int steps = tile.length[part * part_sequences];
      if (!busy || steps == 0) continue;
      fetch_cells(parts[part], parts[part].cell, steps - 1);
      if constexpr (clusters) {
        fetch(parts[part], steps - 1);
      } else {
        for (int s = 1; s <= BackwardSupply::ahead; ++s) order(parts[part], steps - s);
      }
    }
  }

  /// All steps, of all parts in turns, each of which begins with its longest sequence.
  __device__ __forceinline__ void run(const Tile& tile) {
    int steps[kParts];
#pragma unroll
    for (int part = 0; part < kParts; ++part) steps[part] = part == 0 ? tile.steps : tile.length[part * part_sequences];
    for (int s = tile.steps - 1; s >= 0; --s) {
#pragma unroll
      for (int part = 0; part < kParts; ++part)
        if (part == 0 || s < steps[part]) step(parts[part], s, steps[part]);
    }
    if constexpr (!clusters) copy_wait<0>();
  }

  /// In a step, from every block that has units: for each group of this block's, 8 units, all sequences, in bf16.
  __device__ __forceinline__ int bytes_to_come() const {
    const int units = (place.units + group_units - 1) / group_units * group_units;
    return (owner_of(a.plan, a.H - 1) + 1) * units * part_sequences * static_cast<int>(sizeof(std::uint16_t));
  }
#endif
};

template <int kParts, int kWide, int kUnits, int kTiles, int kSteps, int kKept, int kBlocks, bool async>
__global__ void __launch_bounds__(threads, 1) run_fast_backward(Recurrence a) {
  after_previous(Next::later);
#ifdef BIB_TENSOR_CORES
  if constexpr (compiled<(kBlocks > 1)>) {
    DYN_SHARED(unsigned char, memory);
    using Run = Backward<kParts, kWide, kUnits, kTiles, kSteps, kKept, kBlocks, async>;
    constexpr int tile_sequences = kParts * kWide * sequences;
    const Place place = place_of<Run::clusters>(a);
    const Tile tile = open_tile<tile_sequences>(a, place.tile);
    Run run(a, place, tile, memory);
    meet<Run::clusters>();
    run.begin(tile);
    run.run(tile);
    if (async) meet<Run::clusters>();  // as in forward
    next_may_start();
    behind_the_ends<tile_sequences>(a, place_of<Run::clusters>(a), tile, [&](int t, int b, int unit) {
      const std::int64_t at = ((static_cast<std::int64_t>(t) * a.B + b) * a.D + place.d) * a.H + unit;
      reinterpret_cast<uint2*>(a.d_gates_bf16)[at] = make_uint2(0, 0);
    });
  }
#endif
}

template <int kParts, int kWide, int kUnits, int kTiles, int kSteps, int kKept, int kBlocks, bool async>
constexpr FastVariant variant(int most_units) {
  constexpr std::size_t buffer = kWide * sequences * 16 * kSteps * sizeof(std::uint16_t);
  return {.most_units = most_units,
          .blocks = kBlocks,
          .parts = kParts,
          .wide = kWide,
          .warp_units = kUnits,
          .tiles = kTiles,
          .steps = kSteps,
          .async = async,
          .state = kParts * (kBlocks > 1 && !async ? 1 : 2) * buffer + (kBlocks == 1 ? backward_supply : 0),
          .rest = std::size_t{warps} * kTiles * (kSteps - kKept) * warp_lanes * 16,
          .kernel = run_fast_backward<kParts, kWide, kUnits, kTiles, kSteps, kKept, kBlocks, async>};
}

}  // namespace

std::span<const FastVariant> backward_variants() {
  static constexpr bool meet = false, send = true;
  static const FastVariant variants[] = {
      variant<1, 1, 16, 1, 16, 16, 1, meet>(64), variant<1, 1, 16, 1, 32, 32, 1, meet>(128),
      variant<1, 1, 8, 2, 10, 10, 4, meet>(160), variant<1, 2, 8, 2, 10, 10, 4, meet>(160),
      variant<1, 4, 8, 2, 10, 4, 4, meet>(160),  variant<1, 1, 8, 2, 10, 10, 4, send>(160),
      variant<2, 1, 8, 2, 10, 10, 4, send>(160), variant<2, 2, 8, 2, 10, 10, 4, send>(160),
      variant<1, 1, 8, 2, 12, 12, 4, meet>(192), variant<1, 2, 8, 2, 12, 12, 4, meet>(192),
      variant<1, 4, 8, 2, 12, 4, 4, meet>(192),  variant<1, 1, 8, 2, 12, 12, 4, send>(192),
      variant<2, 1, 8, 2, 12, 12, 4, send>(192), variant<2, 2, 8, 2, 12, 12, 4, send>(192),
      variant<1, 1, 8, 2, 16, 16, 4, meet>(256), variant<1, 2, 8, 2, 16, 16, 4, meet>(256),
      variant<1, 4, 8, 2, 16, 4, 4, meet>(256),  variant<1, 1, 8, 2, 16, 16, 4, send>(256),
      variant<2, 1, 8, 2, 16, 16, 4, send>(256), variant<2, 2, 8, 2, 16, 10, 4, send>(256),
      variant<1, 1, 8, 3, 12, 12, 8, meet>(384), variant<1, 2, 8, 3, 12, 10, 8, meet>(384),
      variant<1, 4, 8, 3, 12, 4, 8, meet>(384),  variant<1, 1, 8, 3, 12, 12, 8, send>(384),
      variant<2, 1, 8, 3, 12, 10, 8, send>(384), variant<2, 2, 8, 3, 12, 8, 8, send>(384),
      variant<1, 1, 4, 4, 8, 8, 16, meet>(512),  variant<1, 1, 8, 4, 16, 8, 8, meet>(512),
      variant<1, 2, 8, 4, 16, 8, 8, meet>(512),  variant<1, 1, 4, 4, 8, 8, 16, send>(512),
      variant<1, 1, 8, 4, 16, 8, 8, send>(512),  variant<2, 1, 8, 4, 16, 8, 8, send>(512)};
  return variants;
}

bool fast_backward(Context& ctx, const LstmBackward& op, Recurrence a) {
  const auto variant = fastest(ctx, a, true);
  if (!variant) return false;
  a.wide = a.H % 4 == 0 && aligned(a.d_h) && aligned(a.c);
  const BackwardOperands operands = prepare(ctx, op, *variant, a);
  launch_steps(ctx, op.name.data(), variant->kernel, a);
  finish(ctx, op, operands, a);
  return true;
}

}  // namespace bib::device::lstm
