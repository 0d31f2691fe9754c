// Dropout: one block of four random words per thread, the same words as on the CPU; the mask is never stored. Several
// ops are one launch.
#include <cmath>

#include "bib/ops/dropout.h"
#include "kernels/group.h"

namespace bib {
namespace device {
namespace {

struct Drop {
  RandomKey key;
  std::uint32_t threshold;
  float scale;
  const float* x;  // may be null: all 1
  float* y;
  std::int64_t row;                // elements that have a word of their own
  int repeats, slices, block_row;  // steps that share the words; blocks that share these out; blocks along a row
  bool wide;                       // four at a time
  unsigned blocks;
};

constexpr int threads = 256, per_block = 4 * threads;

/// Thread (x) of block (i, slice): words 4x..4x+3 of the row, applied to every slices-th step from `slice`.
__global__ void drop(Group<Drop> group) {
  after_previous();
  const auto [a, mine] = group.mine();
  const std::int64_t block = static_cast<std::int64_t>(mine % a.block_row) * threads + threadIdx.x, first = 4 * block;
  if (first >= a.row) return;
  const auto words = philox(a.key, static_cast<std::uint64_t>(block));
  const int n = static_cast<int>(min(static_cast<std::int64_t>(4), a.row - first));
  for (int t = mine / a.block_row; t < a.repeats; t += a.slices) {
    const std::int64_t at = t * a.row + first;
    const auto dropped = [&](float v, int i) {
      return words[static_cast<std::size_t>(i)] >= a.threshold ? v * a.scale : 0.0f;
    };
    if (a.wide) {
      const float4 v = a.x ? load4(a.x + at) : make_float4(1, 1, 1, 1);
      store4(a.y + at, make_float4(dropped(v.x, 0), dropped(v.y, 1), dropped(v.z, 2), dropped(v.w, 3)));
    } else {
      for (int i = 0; i < n; ++i) a.y[at + i] = dropped(a.x ? a.x[at + i] : 1.0f, i);
    }
  }
}

Drop work_of(const Dropout& op) {
  const std::int64_t row = op.variational ? std::int64_t{op.y.dim(1)} * op.y.dim(2) : op.y.size();
  const int repeats = op.variational ? op.y.dim(0) : 1, slices = std::min(repeats, 16);
  const auto along = static_cast<int>((row + per_block - 1) / per_block);
  // uniform >= rate, with uniform = (word >> 8) / 2^24, is word >= threshold: both sides are exact.
  return {.key = op.key,
          .threshold = static_cast<std::uint32_t>(std::ceil(std::ldexp(double{op.rate}, 24))) << 8,
          .scale = 1 / (1 - op.rate),
          .x = op.x.data,
          .y = op.y.data,
          .row = row,
          .repeats = repeats,
          .slices = slices,
          .block_row = along,
          .wide = row % 4 == 0 && aligned(op.x.data) && aligned(op.y.data),
          .blocks = static_cast<unsigned>(along * slices)};
}

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, std::span<const Dropout> ops) {
  device::launch_all(ctx, device::drop, ops, device::work_of);
}

}  // namespace bib
