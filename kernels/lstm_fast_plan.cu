// What stands before the tensor-core kernels of the LSTM: sequences by length, and weights in the order of registers.
#include <algorithm>
#include <cstdlib>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

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

/// Slots of backward, where several blocks share the sums of a step.
std::size_t slot_bytes(const FastVariant& v, int H) {
  return v.blocks > 1 ? std::size_t{2} * v.blocks * fast_units(H, v.blocks) * v.wide * sequences * sizeof(float) : 0;
}

/// Cycles of a step, a model to choose a width by (docs/kernels.md): what waits for something whatever the width, and
/// the products at two thirds of a multiprocessor's rate or, if that takes longer, the weights that are read.
double step_cycles(const FastVariant& v) {
  const double products = 1.5 * warps * v.tiles * v.steps * v.wide, weights = static_cast<double>(v.rest) / 128;
  return 400 + std::max(products, weights);
}

/// Sequences of a tile that BIB_LSTM_TILE asks for; 0 without.
int asked_tile() {
  const char* const setting = std::getenv("BIB_LSTM_TILE");
  if (!setting) return 0;
  for (const int tile : {8, 16, 32})
    if (setting == std::to_string(tile)) return tile;
  throw std::invalid_argument("BIB_LSTM_TILE is '" + std::string(setting) + "'; it may be 8, 16 or 32, or not be set");
}

/// What BIB_LSTM_EXCHANGE asks for.
bool async_asked() {
  const char* const setting = std::getenv("BIB_LSTM_EXCHANGE");
  const std::string_view asked = setting ? setting : "barrier";
  if (asked != "barrier" && asked != "async")
    throw std::invalid_argument("BIB_LSTM_EXCHANGE is '" + std::string(asked) + "'; it may be barrier or async");
  return asked == "async";
}

std::optional<FastVariant> fastest(std::span<const FastVariant> variants, const CudaState& state, const Recurrence& a,
                                   bool backward) {
  if (state.math != Math::fast || state.compute_major < 8) return {};
  const int asked = asked_tile();
  const bool async = async_asked();
  std::optional<FastVariant> best;
  double least = 0;
  for (FastVariant v : variants) {
    if (async && v.async_kernel) v.kernel = v.async_kernel, v.state = v.async_state;
    if (a.H > v.most_units || (best && v.most_units > best->most_units)) continue;
    const std::size_t shared = v.state + v.rest + (backward ? slot_bytes(v, a.H) : 0);
    if ((v.blocks > 1 && state.compute_major < 9) || shared > state.shared_memory) continue;
    const Grid grid{.threads = threads, .shared = shared, .cluster = static_cast<unsigned>(v.blocks)};
    const int at_once = clusters_at_once(state, reinterpret_cast<const void*>(v.kernel), grid),
              tile = v.wide * sequences;
    if (at_once == 0) continue;
    const int clusters = a.D * ((a.B + tile - 1) / tile), rounds = (clusters + at_once - 1) / at_once;
    const double cycles = tile == asked ? 0 : rounds * step_cycles(v);
    if (best && cycles >= least) continue;
    best = v;
    least = cycles;
  }
  return best;
}

}  // namespace

bool run_fastest(Context& ctx, const char* name, std::span<const FastVariant> variants, bool backward, Recurrence a) {
  const std::optional<FastVariant> v = fastest(variants, ctx.cuda(), a, backward);
  const bool narrow = std::int64_t{4} * a.D * a.T * a.B * a.H <= std::numeric_limits<int>::max();  // see Pair
  if (!v || !narrow) return false;
  const int tile = v->wide * sequences, per_warp = v->tiles * v->steps * warp_lanes * 4;
  a.plan = {.blocks = v->blocks,
            .units = fast_units(a.H, v->blocks),
            .tiles = (a.B + tile - 1) / tile,
            .inverse = 65536u / static_cast<unsigned>(fast_units(a.H, v->blocks) / group_units) + 1,
            .resident = true,
            .shared = v->state + v->rest + (backward ? slot_bytes(*v, a.H) : 0)};
  const auto packed = ctx.arena().make<float, 4>({a.D, v->blocks, warps, per_warp});
  for_each(ctx, name, packed.size(),
           Fragments{a.w, reinterpret_cast<unsigned*>(packed.data), v->blocks, a.plan.units, v->tiles, v->steps, a.H,
                     backward});
  a.w = packed.data;
  launch_steps(ctx, name, v->kernel, a);
  return true;
}

}  // namespace bib::device::lstm
