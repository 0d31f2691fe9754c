// LSTM forward on tensor cores, persistent: one launch runs all steps of all sequences in both directions. A block's
// recurrent weights stay in registers as fp16 (of large blocks partly in shared memory); per step every warp
// multiplies them with the h of 8, 16 or 32 sequences, H fp16 each in shared memory. Rows of the products are permuted
// so that one thread ends up with all four gates of its units: the cell state never leaves its registers and is fp32,
// as are all sums. The new h goes, rounded, into the shared memory of every block of the cluster. One barrier per step,
// of the cluster or the block; double buffers make a second one unnecessary. Reading the products with x of the next
// step, and writing gates, c and h, nobody waits for. st.async may take the place of the cluster's barrier (`async`).
// A tile may then go in two parts, whose steps take turns: one multiplies while the other's h is on its way.
// Every sum has an order that depends on H alone.
#include "kernels/lstm_fast.h"

namespace bib::device::lstm {
namespace {

/// kParts of a tile, kWide times 8 sequences each. kUnits: per warp. kSteps: 16 units of h each. kKept: steps whose
/// weights are in registers. async: st.async brings h, and its arrival is waited for, of everything and from everybody;
/// which also says that nobody still reads the buffer that the next step goes to. No barrier within the loop.
template <int kParts, int kWide, int kUnits, int kSteps, int kKept, int kBlocks, bool async>
struct Forward {
#ifdef BIB_TENSOR_CORES
  using Mine = Share<kUnits>;
  static constexpr bool clusters = kBlocks > 1;
  // A second group may lie past the units: its h is 0, which harms no one alone.
  static_assert(!clusters || Mine::groups == 1);
  static_assert(async ? clusters : kParts == 1);
  static constexpr int part_sequences = kWide * sequences, values = 16 * kSteps, buffer = part_sequences * values;
  static constexpr int groups = Mine::groups, of_pair = Mine::of_pair, tiles = kUnits / 4;

  using Cells = float[kWide][groups][of_pair];
  // Sums as products leave them. Of 4 units a warp: i and f of 16 lanes, g and o of the others; else tile 2i: i and f,
  // 2i+1: g and o, of group i.
  using Sums = float[kWide][tiles][4];
  // The products with x of a cell: those of all gates, or of the two whose sums the lane has.
  using Products = std::conditional_t<kUnits == 4, unsigned, uint2>;

  /// What a thread has of a part of the tile.
  struct Part {
    Pairs pair;
    Cells cell = {}, mask;
    Products next[kWide][2];    // in a cluster
    std::uint16_t *h, *next_h;  // states of `values`: what a step reads, and what it writes
    Arrivals* arrivals;         // async: [2], of even and of odd steps
  };

  static constexpr int ahead = 4;
  using XProducts = Supply<uint2, 1, ahead>;  // of a block alone

  const Recurrence& a;
  const Place place;
  const XProducts supply;
  Weights<Format::fp16, tiles, kSteps, kKept, clusters ? 2 : 1> weights;
  Part parts[kParts];
  int home;                         // of this thread's first h in a state, or in `staged`
  bool busy;                        // this warp has units
  std::uint16_t* staged = nullptr;  // async: the warp's share of h, [8 kWide][units of a group]

  __device__ __forceinline__ int unit(int i) const { return place.first + Mine::unit(i); }
  __device__ __forceinline__ bool mine(int i) const { return Mine::first(i) < place.units && unit(i) < a.H; }
  /// In h and x_products, for what is at `at` in gates and c.
  __device__ __forceinline__ int cell_at(int at) const { return output_at(a, place.d, at); }
  template <class T>
  __device__ __forceinline__ const T* products_of(int cell) const {
    return reinterpret_cast<const T*>(a.x_products + std::int64_t{4} * cell);
  }
  /// One of the four gates of this thread's j-th cell of group i; sorted() has been called.
  __device__ __forceinline__ static float& gate_of(Sums& z, int n, int i, int gate, int j) {
    return kUnits == 4 ? z[n][0][gate] : z[n][2 * i + gate / 2][gate % 2 * 2 + j];
  }

  __device__ __forceinline__ Forward(const Recurrence& a_, Place p, const Tile& tile, unsigned char* memory)
      : a(a_), place(p), supply(memory + kParts * 2 * buffer * sizeof(std::uint16_t)) {
    const Pairs pairs = find_pairs<kParts * part_sequences>(a, tile, place.d);
    auto* const states = reinterpret_cast<std::uint16_t*>(memory);
    busy = Mine::first(0) < place.units;
    const int row = sequence_of(0, Mine::which(0));
    home = async ? row * Mine::group_units + lane_id() / 4 % Mine::group_units
                 : state_at(row, place.first + Mine::unit(0), values);
    weights.load(reinterpret_cast<uint4*>(states + kParts * 2 * buffer), a.w, place.d * kBlocks + place.rank);
    clear(reinterpret_cast<std::uint32_t*>(states),
          kParts * buffer + (clusters ? 0 : supply_bytes<uint2>(1, ahead) / 4));
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      Part& mine = parts[part];
      mine.pair = {{pairs.length + part * part_sequences, pairs.first + part * part_sequences}};
      mine.h = states + part * 2 * buffer;
      mine.next_h = mine.h + buffer;
      find_mask<Mine>(mine.mask, a, tile, place, part * kWide);
    }
#ifdef BIB_CLUSTERS
    if constexpr (async) {
      SHARED(std::uint16_t, staging, [warps][part_sequences * Mine::group_units]);
      SHARED(Arrivals, arrivals, [kParts][2]);
      staged = staging[warp_id()];
#pragma unroll
      for (int part = 0; part < kParts; ++part) parts[part].arrivals = arrivals[part];
      if (threadIdx.x == 0) init_arrivals(arrivals[0], kParts * 2);
    }
#endif
  }

  /// In a block alone: starts the copy of the products with x of step s.
  __device__ __forceinline__ void order(const Part& part, int s) const {
    const int n = supply.sequence(), first = Mine::first(0) + supply.unit();
    const bool there = part.pair.has(n, s);
    const int at = cell_at(part.pair.at(n, s, stride_of(a, place.d)));
    __syncwarp();
    supply.order(s, a.H - first, a.wide, [&](int) { return there ? products_of<uint2>(at + first) : nullptr; });
    copy_commit();
  }

  /// In a cluster, whose warps have one group: asks for the products with x of step s.
  __device__ __forceinline__ void fetch(Part& part, int s) {
    const int stride = stride_of(a, place.d);
#pragma unroll
    for (int n = 0; n < kWide; ++n) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const bool there = part.pair[n].has(j, s) && mine(0);
        const int at = cell_at(part.pair[n].at(j, s, stride)) + unit(0);
        part.next[n][j] = there ? products_of<Products>(at)[kUnits == 4 ? lane_id() / 16 : 0] : Products{};
      }
    }
  }

  /// Begins the sums of step s with the products with x.
  __device__ __forceinline__ void take(const Part& part, Sums& z, int s) const {
    const auto put = [](unsigned two, float(&of_tile)[4], int j) {
      const float2 v = unpack_fp16(two);
      of_tile[j] = v.x, of_tile[2 + j] = v.y;
    };
    [[maybe_unused]] const uint2* from = nullptr;
    if constexpr (!clusters) {
      await_supply<ahead>();
      from = supply.receive(s) + sequence_of(0, 0) * XProducts::row + lane_id() / 4;
    }
#pragma unroll
    for (int n = 0; n < kWide; ++n) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        if constexpr (kUnits == 4) {
          put(part.next[n][j], z[n][0], j);
        } else {
#pragma unroll
          for (int i = 0; i < groups; ++i) {
            const uint2 all = clusters ? part.next[n][j] : from[j * XProducts::row + i * group_units];
            put(all.x, z[n][2 * i], j);
            put(all.y, z[n][2 * i + 1], j);
          }
        }
      }
    }
  }

  /// Has L2 get what fetch(s) will read: a lane asks for 32 bytes of one sequence, four units.
  __device__ __forceinline__ void look_ahead(const Part& part, int s) const {
    const int g = lane_id() / 4, j = g % 2, four = g / 2 * 4;
#pragma unroll
    for (int n = 0; n < kWide; ++n)
      if (part.pair[n].has(j, s) && four < Mine::group_units && Mine::first(0) + four < place.units)
        prefetch(products_of<uint2>(cell_at(part.pair[n].at(j, s, stride_of(a, place.d))) + place.first +
                                    Mine::first(0) + four));
  }

  /// Of 4 units a warp: the lanes that have i and f of two sequences, and those with g and o, give each other half, and
  /// have all of one sequence.
  __device__ __forceinline__ static void sort([[maybe_unused]] Sums& z) {
    if constexpr (kUnits == 4) {
      const bool second = lane_id() / 16;
#pragma unroll
      for (int n = 0; n < kWide; ++n) {
        float(&v)[4] = z[n][0];
        const float first = __shfl_xor_sync(all_lanes, second ? v[0] : v[1], 16);
        const float other = __shfl_xor_sync(all_lanes, second ? v[2] : v[3], 16);
        const float in = second ? first : v[0], forget = second ? other : v[2];
        const float fresh = second ? v[1] : first, open = second ? v[3] : other;
        v[0] = in, v[1] = forget, v[2] = fresh, v[3] = open;
      }
    }
  }

  /// z: from the gates' sums to their values; leaves the new h, masked, in `to`.
  __device__ __forceinline__ void activate(Part& part, Sums& z, Cells& out, std::uint16_t* to) const {
    sort(z);
#pragma unroll
    for (int n = 0; n < kWide; ++n) {
#pragma unroll
      for (int i = 0; i < groups; ++i) {
#pragma unroll
        for (int j = 0; j < of_pair; ++j) {
          float &in = gate_of(z, n, i, 0, j), &forget = gate_of(z, n, i, 1, j), &fresh = gate_of(z, n, i, 2, j),
                &open = gate_of(z, n, i, 3, j), &cell = part.cell[n][i][j];
          in = fast_sigmoid(in), forget = fast_sigmoid(forget), fresh = fast_tanh(fresh), open = fast_sigmoid(open);
          cell = __fmaf_rn(forget, cell, __fmul_rn(in, fresh));  // alike in every kernel
          out[n][i][j] = open * fast_tanh(cell);
          const auto kept = static_cast<std::uint16_t>(pack<Format::fp16>(out[n][i][j] * part.mask[n][i][j], 0.0f));
          if constexpr (async) {
            staged[home + (8 * n + j) * Mine::group_units] = kept;
          } else {
            to[home + state_at(8 * n + j, 8 * i, values)] = kept;
          }
        }
      }
    }
  }

  /// Copies the warp's share of h, of each sequence a group's units, to the other blocks.
  __device__ __forceinline__ void share([[maybe_unused]] const Part& part, std::uint16_t* to,
                                        [[maybe_unused]] int s) const {
#ifdef BIB_CLUSTERS
    using Units = std::conditional_t<Mine::group_units == 8, float4, float2>;
    if constexpr (async) {
      __syncwarp();
#pragma unroll
      for (int n = 0; n < kWide; ++n) {
        const Units units = reinterpret_cast<const Units*>(staged)[8 * n + lane_id() % 8];
        std::uint16_t* const at = to + state_at(8 * n + lane_id() % 8, place.first + Mine::first(0), values);
#pragma unroll
        for (int r = lane_id() / 8; r < kBlocks; r += 4)
          if (r * a.plan.units < a.H)  // a block without units waits for nothing
            send(at, units, static_cast<unsigned>(r), part.arrivals + s % 2);
      }
      __syncwarp();
    } else if constexpr (clusters) {
      __syncwarp();
#pragma unroll
      for (int n = 0; n < kWide; ++n) {
        auto* const from =
            reinterpret_cast<Units*>(to + state_at(8 * n + lane_id() % 8, place.first + Mine::first(0), values));
        const Units units = *from;
#pragma unroll
        for (int r = lane_id() / 8; r < kBlocks; r += 4)
          if (r != place.rank) *in_block(from, static_cast<unsigned>(r)) = units;
      }
    }
#endif
  }

  __device__ __forceinline__ void write(const Part& part, Sums& z, const Cells& out, int s) const {
    const int stride = stride_of(a, place.d);
    const KeptGates gates(a);
#pragma unroll
    for (int n = 0; n < kWide; ++n) {
#pragma unroll
      for (int j = 0; j < of_pair; ++j) {
        if (!part.pair[n].has(Mine::which(j), s)) continue;
        const int at = part.pair[n].at(Mine::which(j), s, stride);
#pragma unroll
        for (int i = 0; i < groups; ++i) {
          if (!mine(i)) continue;
          a.h[cell_at(at) + unit(i)] = out[n][i][j];
          if (!a.c) continue;
          a.c[at + unit(i)] = part.cell[n][i][j];
          gates.put(at + unit(i), gate_of(z, n, i, 0, j), gate_of(z, n, i, 1, j), gate_of(z, n, i, 2, j),
                    gate_of(z, n, i, 3, j));
        }
      }
    }
  }

  /// Until h of all units has come, of step s.
  __device__ __forceinline__ void await([[maybe_unused]] const Part& part, [[maybe_unused]] int s) const {
#ifdef BIB_CLUSTERS
    if constexpr (async) return await_phase(part.arrivals + s % 2, s / 2 % 2);
#endif
    await_step<clusters>();
  }

  /// In a cluster that meets, the next step's products with x are asked for as soon as this one's have left their
  /// registers: they have a step, and not only its barrier, to come in. Where blocks send, the wait for what they send
  /// is one for all loads (__syncwarp), which therefore stand behind the products.
  __device__ __forceinline__ void step(Part& part, int s, [[maybe_unused]] int steps) {
    std::uint16_t* const to = part.next_h;
    Cells out = {};
    Sums z;
    if (busy) {
      take(part, z, s);
      if constexpr (clusters && !async) fetch(part, s + 1);
    }
    if (s > 0) await(part, s - 1);
#ifdef BIB_CLUSTERS
    if constexpr (async)
      if (threadIdx.x == 0) expect_bytes(part.arrivals + s % 2, bytes_to_come());
    if constexpr (async) __syncwarp();  // for what all lanes do together
#endif
    if (busy) {
      weights.multiply(z, part.h);
      activate(part, z, out, to);
      share(part, to, s);
    }
    if constexpr (!async) step_done<clusters>();
    if (busy) {
      if (async && s + 1 < steps) fetch(part, s + 1);
      if constexpr (!clusters) order(part, s + ahead);
      write(part, z, out, s);
      if constexpr (clusters) look_ahead(part, s + (async ? 1 : 2) + steps_ahead);
    }
    part.next_h = part.h;  // kept, not found by the step's parity: that took a step, after its barrier, 40 cycles
    part.h = to;
  }

  __device__ __forceinline__ void begin() {
    if constexpr (clusters) {
#pragma unroll
      for (int part = 0; part < kParts; ++part) fetch(parts[part], 0);
    } else {
      for (int s = 0; s < ahead; ++s) order(parts[0], s);
    }
  }

  /// All steps, of all parts in turns: each has its own, those of its longest sequence.
  __device__ __forceinline__ void run(const Tile& tile) {
    const auto steps_of = [&](int part) { return tile.length[part * part_sequences]; };
    for (int s = 0; s < tile.steps; ++s) {
#pragma unroll
      for (int part = 0; part < kParts; ++part)
        if (part == 0 || s < steps_of(part)) step(parts[part], s, steps_of(part));
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part)
      if (steps_of(part) > 0) await(parts[part], steps_of(part) - 1);
    if constexpr (!clusters) copy_wait<0>();
  }

  /// In a step: of every warp that has units, theirs, fp16 of all sequences.
  __device__ __forceinline__ int bytes_to_come() const {
    constexpr int of_warp = Mine::group_units;
    return (a.H + of_warp - 1) / of_warp * of_warp * kWide * sequences * static_cast<int>(sizeof(std::uint16_t));
  }
#endif
};

template <int kParts, int kWide, int kUnits, int kSteps, int kKept, int kBlocks, bool async>
__global__ void __launch_bounds__(threads, 1) run_fast_forward(Recurrence a) {
  after_previous(Next::later);
#ifdef BIB_TENSOR_CORES
  if constexpr (compiled<(kBlocks > 1)>) {
    DYN_SHARED(unsigned char, memory);
    using Run = Forward<kParts, kWide, kUnits, kSteps, kKept, kBlocks, async>;
    constexpr int tile_sequences = kParts * kWide * sequences;
    const Place place = place_of<Run::clusters>(a);
    const Tile tile = open_tile<tile_sequences>(a, place.tile);
    Run run(a, place, tile, memory);
    meet<Run::clusters>();
    run.weights.await();
    if (run.busy) run.begin();
    // A warp that sends nothing might miss a phase. Where a block has units, its first warp has some.
    if (!async || run.busy) run.run(tile);
    if (async) meet<Run::clusters>();  // no block ends while another may still send to it
    next_may_start();
    clear_outputs<tile_sequences>(a, place_of<Run::clusters>(a), tile);
  }
#endif
}

template <int kParts, int kWide, int kUnits, int kSteps, int kKept, int kBlocks, bool async>
constexpr FastVariant variant(int most_units) {
  return {.most_units = most_units,
          .blocks = kBlocks,
          .parts = kParts,
          .wide = kWide,
          .warp_units = kUnits,
          .tiles = kUnits / 4,
          .steps = kSteps,
          .async = async,
          .state = kParts * 2 * kWide * sequences * 16 * kSteps * sizeof(std::uint16_t) +
                   (kBlocks == 1 ? supply_bytes<uint2>(1, 4) : 0),
          .rest = std::size_t{warps} * (kUnits / 4) * (kSteps - kKept) * warp_lanes * 16,
          .kernel = run_fast_forward<kParts, kWide, kUnits, kSteps, kKept, kBlocks, async>};
}

}  // namespace

std::span<const FastVariant> forward_variants() {
  static constexpr bool meet = false, send = true;
  static const FastVariant variants[] = {
      variant<1, 1, 16, 4, 4, 1, meet>(64),    variant<1, 1, 16, 8, 8, 1, meet>(128),
      variant<1, 1, 4, 10, 10, 5, meet>(160),  variant<1, 1, 8, 10, 10, 4, meet>(160),
      variant<1, 2, 8, 10, 10, 4, meet>(160),  variant<1, 4, 8, 10, 6, 4, meet>(160),
      variant<1, 1, 4, 10, 10, 5, send>(160),  variant<1, 1, 8, 10, 10, 4, send>(160),
      variant<2, 1, 8, 10, 10, 4, send>(160),  variant<2, 2, 8, 10, 10, 4, send>(160),
      variant<1, 1, 8, 12, 12, 4, meet>(192),  variant<1, 2, 8, 12, 12, 4, meet>(192),
      variant<1, 4, 8, 12, 6, 4, meet>(192),   variant<1, 1, 8, 12, 12, 4, send>(192),
      variant<2, 1, 8, 12, 12, 4, send>(192),  variant<2, 2, 8, 12, 12, 4, send>(192),
      variant<1, 1, 8, 16, 16, 4, meet>(256),  variant<1, 2, 8, 16, 16, 4, meet>(256),
      variant<1, 4, 8, 16, 7, 4, meet>(256),   variant<1, 1, 8, 16, 16, 4, send>(256),
      variant<2, 1, 8, 16, 16, 4, send>(256),  variant<2, 2, 8, 16, 12, 4, send>(256),
      variant<1, 1, 4, 24, 24, 12, meet>(384), variant<1, 1, 8, 24, 20, 8, meet>(384),
      variant<1, 2, 8, 24, 16, 8, meet>(384),  variant<1, 4, 8, 24, 7, 8, meet>(384),
      variant<1, 1, 4, 24, 24, 12, send>(384), variant<1, 1, 8, 24, 20, 8, send>(384),
      variant<2, 1, 8, 24, 19, 8, send>(384),  variant<2, 2, 8, 24, 12, 8, send>(384),
      variant<1, 1, 4, 32, 32, 16, meet>(512), variant<1, 1, 8, 32, 17, 8, meet>(512),
      variant<1, 2, 8, 32, 17, 8, meet>(512),  variant<1, 1, 4, 32, 32, 16, send>(512),
      variant<1, 1, 8, 32, 17, 8, send>(512),  variant<2, 1, 8, 32, 16, 8, send>(512),
      variant<2, 2, 8, 32, 13, 8, send>(512)};
  return variants;
}

bool fast_forward(Context& ctx, const LstmForward& op, Recurrence a) {
  const auto variant = fastest(ctx, a, false);
  if (!variant) return false;
  prepare(ctx, op, *variant, a);
  a.wide = a.H % 2 == 0;
  launch_steps(ctx, op.name.data(), variant->kernel, a);
  return true;
}

}  // namespace bib::device::lstm
