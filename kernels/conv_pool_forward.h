// What both ways of the fused convolution's forward pass have in common.
#pragma once
#include <vector>

#include "kernels/conv_pool.h"
#include "kernels/group.h"

namespace bib::device {

constexpr int conv_tile = 64;  // positions, and filters, of a block at a time
constexpr int conv_threads = 256;

/// Best of the positions seen so far; ties go to the earlier one.
struct Best {
  float value;
  int at;
  __device__ void take(float v, int p) {
    if (v > value || (v == value && p < at) || (v != v && value == value)) value = v, at = p;
  }
  /// The same of a position behind all before, in two comparisons: a thread does so for all that it computed.
  __device__ void take_later(float v, int p, bool there) {
    const bool better = there & (value == value) & !(v <= value);
    value = better ? v : value;
    at = better ? p : at;
  }
};

struct ConvForward {
  Input x;
  const int* lengths;
  const float *w, *b;
  float* y;
  int* where;
  int T, B, C, W, F, Y, pad, column;
  bool wide;        // filters may be read four at a time
  unsigned blocks;  // one per sequence and `conv_tile` filters
  __device__ void write(int sequence, int filter, const Best& winner) const {
    const float v = winner.value + b[filter];
    const bool cut = v <= 0;
    y[static_cast<std::int64_t>(sequence) * Y + column + filter] = cut ? 0.0f : v;
    if (where) where[static_cast<std::int64_t>(sequence) * F + filter] = cut ? -1 : winner.at;
  }
};

/// What is multiplied between two barriers: some taps from `tap` on, a slice of the channels, a tile of positions from
/// p on. The stages of a block: taps, then slices, then tiles.
struct ConvStage {
  int p = 0, slice = 0, tap = 0;
  __device__ ConvStage next(int taps, int W, int slices) const {
    if (tap + taps < W) return {p, slice, tap + taps};
    if (slice + 1 < slices) return {p, slice + 1, 0};
    return {p + conv_tile, 0, 0};
  }
  __device__ bool first_of_tile() const { return slice == 0 && tap == 0; }
};

/// On tensor cores (conv_pool_fast.cu): whether windows of so many steps fit, and the launches.
bool conv_pool_fits_fast(int W);
void conv_pool_fast(Context& ctx, const std::vector<ConvForward>& ops);

}  // namespace bib::device
