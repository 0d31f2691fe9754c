// Which of the LSTM's tensor-core kernels a batch takes.
#include <algorithm>
#include <cstdlib>
#include <initializer_list>
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
  const std::size_t units = static_cast<std::size_t>(fast_units(H, v.blocks));
  return v.blocks > 1 ? std::size_t{2} * v.blocks * units * tile_of(v) * sizeof(std::uint16_t) : 0;
}

std::size_t shared_bytes(const FastVariant& v, int H, bool backward) {
  return v.state + v.rest + (backward ? slot_bytes(v, H) : 0);
}

std::span<const FastVariant> variants_of(bool backward) { return backward ? backward_variants() : forward_variants(); }

/// How many clusters (or blocks, where one is alone) run at once; 0: the variant is not for this H or this GPU.
int clusters_of(const CudaState& state, const FastVariant& v, int H, bool backward) {
  const std::size_t shared = shared_bytes(v, H, backward);
  if (H > v.most_units || (v.blocks > 1 && state.compute_major < 9) || shared > state.shared_memory) return 0;
  const Grid grid{.threads = threads, .shared = shared, .cluster = static_cast<unsigned>(v.blocks)};
  return clusters_at_once(state, reinterpret_cast<const void*>(v.kernel), grid);
}

bool any_fits(const CudaState& state, int H, bool backward) {
  return std::ranges::any_of(variants_of(backward),
                             [&](const FastVariant& v) { return !v.async && clusters_of(state, v, H, backward) > 0; });
}

/// Cycles of a step, a model to choose a kernel by (docs/kernels.md): what waits for something whatever the width; the
/// products at 0.62 of a multiprocessor's rate or, if that takes longer, what they read from shared memory (weights,
/// and the state once for every warp); the block's cells, forward five tanh each, of which a multiprocessor begins 16 a
/// cycle, backward some 40 instructions of 128; and what a block sends, 12 bytes a cycle: forward, h of its units to
/// all others; backward, to all others, its share of their units' d_h. Of two parts one sends and waits while the other
/// works.
double step_cycles(const FastVariant& v, int H, bool backward) {
  const double products = 1.6 * warps * v.tiles * v.steps * v.wide, tile = v.wide * sequences,
               units = fast_units(H, v.blocks), cells = tile * units * (backward ? 40.0 / 128 : 5.0 / 16),
               read = static_cast<double>(v.rest) + 2.0 * warps * tile * 16 * v.steps,
               work = std::max(products, read / 128),
               sent = 2 * tile * (v.blocks - 1) * (backward ? 1.0 * H / v.blocks : units) / 12,
               one = (v.async ? 300 : 340) + 15 * v.blocks + work + cells + sent;
  return v.parts == 1 ? one : std::max(one, v.parts * std::max(work + cells, sent));
}

/// One of `choices` that the environment asks for; 0 without.
int asked_number(const char* variable, std::initializer_list<int> choices) {
  const char* const setting = std::getenv(variable);
  if (!setting) return 0;
  std::string all;
  for (const int n : choices) {
    if (setting == std::to_string(n)) return n;
    all += std::to_string(n) + ", ";
  }
  throw std::invalid_argument(std::string(variable) + " is '" + setting + "'; it may be " + all + "or not be set");
}

}  // namespace

std::optional<FastVariant> fastest(Context& ctx, Recurrence& a, bool backward) {
  const CudaState& state = ctx.cuda();
  if (state.math != Math::fast || state.compute_major < 8) return {};
  if (std::int64_t{4} * a.D * a.T * a.B * a.H > std::numeric_limits<int>::max()) return {};  // see Pair
  if (a.gates && !(aligned(a.gates) && any_fits(state, a.H, !backward))) return {};
  const int asked_tile = asked_number("BIB_LSTM_TILE", {8, 16, 32}), asked_warp = asked_number("BIB_LSTM_WARP", {4, 8});
  const bool async = asked_for("BIB_LSTM_EXCHANGE", "barrier", "async");
  std::optional<FastVariant> best;
  double least = 0;
  for (const FastVariant& v : variants_of(backward)) {
    if ((best && v.most_units > best->most_units) || (v.async && !async)) continue;
    const int at_once = clusters_of(state, v, a.H, backward), tile = tile_of(v);
    if (at_once == 0) continue;
    const int tiles = (a.B + tile - 1) / tile, rounds = (a.D * tiles + at_once - 1) / at_once;
    double cycles = rounds * step_cycles(v, a.H, backward);
    if (asked_tile && tile != asked_tile) cycles += 1e12;
    if (asked_warp && v.warp_units != asked_warp) cycles += 1e9;
    if (best && cycles >= least) continue;
    best = v;
    least = cycles;
    const int units = fast_units(a.H, v.blocks);
    a.plan = {.blocks = v.blocks,
              .units = units,
              .tiles = tiles,
              .inverse = 65536u / static_cast<unsigned>(units / group_units) + 1,
              .resident = true,
              .shared = shared_bytes(v, a.H, backward)};
  }
  return best;
}

}  // namespace bib::device::lstm
