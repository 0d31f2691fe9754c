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
constexpr int at_once = 4;  // steps

/// Thread (x) of block (i, slice): words 4x..4x+3 of the row, applied to every slices-th step from `slice`.
__global__ void drop(Group<Drop> group) {
  after_previous();
  const auto [a, mine] = group.mine();
  // By blockDim.x, as with the constant in its place nvcc makes four stores of a store4.
  const std::int64_t block = static_cast<std::int64_t>(mine % a.block_row) * blockDim.x + threadIdx.x,
                     first = 4 * block;
  if (first >= a.row) return;
  const auto words = philox(a.key, static_cast<std::uint64_t>(block));
  const float scale = a.scale;
  const std::uint32_t threshold = a.threshold;
  const auto dropped = [&](float v, int i) {
    v *= scale;
    return words[static_cast<std::size_t>(i)] >= threshold ? v : 0.0f;
  };
  const int slice = mine / a.block_row;
  if (a.wide) {
    // Several steps are asked for before the first is written: y may be x.
    for (int t = slice; t < a.repeats; t += at_once * a.slices) {
      float4 v[at_once];
#pragma unroll
      for (int j = 0; j < at_once; ++j) {
        const int step = t + j * a.slices;
        v[j] = a.x && step < a.repeats ? load4(a.x + step * a.row + first) : make_float4(1, 1, 1, 1);
      }
#pragma unroll
      for (int j = 0; j < at_once; ++j) {
        const int step = t + j * a.slices;
        if (step < a.repeats)
          store4(a.y + step * a.row + first,
                 make_float4(dropped(v[j].x, 0), dropped(v[j].y, 1), dropped(v[j].z, 2), dropped(v[j].w, 3)));
      }
    }
    return;
  }
  const int n = static_cast<int>(min(static_cast<std::int64_t>(4), a.row - first));
  for (int t = slice; t < a.repeats; t += a.slices) {
    const std::int64_t at = t * a.row + first;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (i < n) a.y[at + i] = dropped(a.x ? a.x[at + i] : 1.0f, i);
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
