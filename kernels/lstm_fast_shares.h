// Backward of the LSTM on tensor cores, in clusters: where a block's shares of d_h go.
#pragma once
#include "kernels/lstm_fast.h"

namespace bib::device::lstm {

/// The block that has a unit. No division: this is for a step's slowest warp.
__device__ __forceinline__ int owner_of(const Plan& plan, int unit) {
  return static_cast<int>(static_cast<unsigned>(unit) / group_units * plan.inverse >> 16);
}

#ifdef BIB_CLUSTERS
/// Sends the sums of a warp's kTiles tiles, 16 units each, to the blocks that own these units: into slots of
/// [2][blocks][kWide][units][8] bf16, of even and odd steps, a slot per sender.
/// A place in another block takes some ten instructions to find: that is done before the steps.
template <int kTiles, int kWide, int kBlocks, bool async>
struct Shares {
  Cluster cluster;
  Peer<unsigned> homes[kTiles][2];  // of this thread's sums of each tile's halves, in even steps

  /// slots: of even steps.
  __device__ __forceinline__ void open(const Recurrence& a, const Place& place, std::uint16_t* slots) {
    cluster.open(slots);
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int first = first_of(t, half), owner = owner_of(a.plan, first),
                  row = (place.rank * kWide - owner) * a.plan.units + first;
        auto* const mine = reinterpret_cast<unsigned*>(slots + row * sequences + lane_id() * 2);
        homes[t][half] = first < a.H ? Peer<unsigned>(mine, static_cast<unsigned>(owner)) : Peer<unsigned>();
      }
    }
  }

  /// The first unit of a tile's half.
  __device__ __forceinline__ static int first_of(int t, int half) {
    return 16 * (warp_id() + t * warps) + half * group_units;
  }

  /// `part`: how far the slots of the part are from those of the first. Little stands in the branches, lest they become
  /// jumps: the sums of one half would wait until those of the other are sent.
  __device__ __forceinline__ void send(const Recurrence& a, const float (&sum)[kWide][kTiles][4], int part, int s,
                                       [[maybe_unused]] Arrivals* arrivals) const {
    const int to = (part + (s & 1) * kBlocks * kWide * a.plan.units * sequences) / 2;
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int n = 0; n < kWide; ++n) {
          const unsigned share = pack<Format::bf16>(sum[n][t][2 * half], sum[n][t][2 * half + 1]);
          const int at = to + n * a.plan.units * sequences / 2;
          if constexpr (async) {
            const auto owner = static_cast<unsigned>(owner_of(a.plan, first_of(t, half)));
            device::send(homes[t][half], at, share, {arrivals + (s & 1), owner});
          } else {
            cluster.store(homes[t][half], at, share);
          }
        }
      }
    }
  }
};
#endif

}  // namespace bib::device::lstm
