// What stands before the tensor-core kernels of the LSTM: sequences by length, and weights in the order of registers.
#include <limits>

#include "kernels/elementwise.h"
#include "kernels/lstm_fast.h"

namespace bib::device::lstm {
namespace {

/// Weights as the warps keep them, [D,blocks,warps,tiles,steps,32] of four words each, rounded to bf16, zeros past the
/// edges. Word i holds row g + 8 (i % 2), columns k and k + 1 with k = 16 step + 2q + 8 (i / 2), of the warp's tile
/// (kernels/mma.h). Forward: tile 2j holds the gates i, f of the warp's group j, tile 2j+1 g, o; columns are units of
/// h. Backward: tile j holds units 16 (warp + 8j) to + 15 of h, columns are the block's gate rows, gate by gate of a
/// unit.
struct Fragments {
  const float* w_h;  // [D,4H,H]
  unsigned* to;
  int blocks, units, tiles, steps, H;
  bool backward;

#ifdef BIB_TENSOR_CORES
  __device__ float weight(const float* w, int block, int warp, int tile, int row, int k) const {
    int unit, gate, column;
    if (backward) {
      unit = k / 4, gate = k % 4;
      column = 16 * (warp + tile * warps) + row;
    } else {
      unit = (warp * (tiles / 2) + tile / 2) * group_units + row % 8, gate = tile % 2 * 2 + row / 8;
      column = k;
    }
    const int first = block * units;
    if (unit >= units || first + unit >= H || column >= H) return 0;
    return w[(static_cast<std::int64_t>(gate) * H + first + unit) * H + column];
  }
#endif

  __device__ void operator()([[maybe_unused]] std::int64_t i) const {
#ifdef BIB_TENSOR_CORES
    const int word = static_cast<int>(i % 4), lane = static_cast<int>(i / 4 % warp_lanes);
    std::int64_t at = i / 4 / warp_lanes;
    const auto next = [&](int n) {
      const int digit = static_cast<int>(at % n);
      at /= n;
      return digit;
    };
    const int step = next(steps), tile = next(tiles), warp = next(warps), block = next(blocks);
    const float* w = w_h + at * 4 * H * H;
    const int row = lane / 4 + word % 2 * 8, k = 16 * step + lane % 4 * 2 + word / 2 * 8;
    to[i] = pack_bf16(weight(w, block, warp, tile, row, k), weight(w, block, warp, tile, row, k + 1));
#endif
  }
};

}  // namespace

bool run_variant(Context& ctx, const char* name, const FastVariant& v, std::size_t more_shared, bool backward,
                 Recurrence a) {
  a.plan = {.blocks = v.blocks,
            .units = fast_units(a.H, v.blocks),
            .tiles = (a.B + sequences - 1) / sequences,
            .resident = true,
            .shared = v.fixed_shared + more_shared};
  const bool narrow = std::int64_t{4} * a.D * a.T * a.B * a.H <= std::numeric_limits<int>::max();  // see Pair
  if (!narrow || a.plan.shared > ctx.cuda().shared_memory) return false;
  const int per_warp = v.tiles * v.steps * warp_lanes * 4;
  const auto packed = ctx.arena().make<float, 4>({a.D, v.blocks, warps, per_warp});
  for_each(ctx, name, packed.size(),
           Fragments{a.w, reinterpret_cast<unsigned*>(packed.data), v.blocks, a.plan.units, v.tiles, v.steps, a.H,
                     backward});
  a.w = packed.data;
  launch_steps(ctx, name, v.kernel, a);
  return true;
}

}  // namespace bib::device::lstm
