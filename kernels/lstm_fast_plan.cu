// Which of the LSTM's tensor-core kernels a batch takes.
#include <algorithm>
#include <cstdlib>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>

#include "kernels/asked.h"
#include "kernels/lstm_fast.h"

namespace bib::device::lstm {
namespace {

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

}  // namespace

std::optional<FastVariant> fastest(std::span<const FastVariant> variants, Context& ctx, Recurrence& a, bool backward) {
  const CudaState& state = ctx.cuda();
  if (state.math != Math::fast || state.compute_major < 8) return {};
  if (std::int64_t{4} * a.D * a.T * a.B * a.H > std::numeric_limits<int>::max()) return {};  // see Pair
  const int asked = asked_tile();
  const bool async = asked_for("BIB_LSTM_EXCHANGE", "barrier", "async");
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
    const int tiles = (a.B + tile - 1) / tile, rounds = (a.D * tiles + at_once - 1) / at_once;
    const double cycles = tile == asked ? 0 : rounds * step_cycles(v);
    if (best && cycles >= least) continue;
    best = v;
    least = cycles;
    const int units = fast_units(a.H, v.blocks);
    a.plan = {.blocks = v.blocks,
              .units = units,
              .tiles = tiles,
              .inverse = 65536u / static_cast<unsigned>(units / group_units) + 1,
              .resident = true,
              .shared = shared};
  }
  return best;
}

}  // namespace bib::device::lstm
