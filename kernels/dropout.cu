// Dropout: one block of four random words per thread, the same words as on the CPU; the mask is never stored.
#include <cmath>

#include "bib/ops/dropout.h"
#include "kernels/device.h"
#include "kernels/launch.h"

namespace bib {
namespace device {
namespace {

struct Drop {
  RandomKey key;
  std::uint32_t threshold;
  float scale;
  const float* x;
  float* y;
  std::int64_t row;  // elements that have a word of their own
  int repeats;       // steps that share the words
  bool wide;         // four at a time
};

/// Thread (x): words 4x..4x+3 of the row, applied to every gridDim.y-th step from blockIdx.y.
__global__ void drop(Drop a) {
  after_previous();
  const std::int64_t block = global_thread(), first = 4 * block;
  if (first >= a.row) return;
  const auto words = philox(a.key, static_cast<std::uint64_t>(block));
  const int n = static_cast<int>(min(static_cast<std::int64_t>(4), a.row - first));
  for (int t = static_cast<int>(blockIdx.y); t < a.repeats; t += static_cast<int>(gridDim.y)) {
    const float* x = a.x + t * a.row + first;
    float* y = a.y + t * a.row + first;
    const auto dropped = [&](float v, int i) {
      return words[static_cast<std::size_t>(i)] >= a.threshold ? v * a.scale : 0.0f;
    };
    if (a.wide) {
      const float4 v = load4(x);
      store4(y, make_float4(dropped(v.x, 0), dropped(v.y, 1), dropped(v.z, 2), dropped(v.w, 3)));
    } else {
      for (int i = 0; i < n; ++i) y[i] = dropped(x[i], i);
    }
  }
}

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, const Dropout& op) {
  const std::int64_t row = op.variational ? std::int64_t{op.x.dim(1)} * op.x.dim(2) : op.x.size();
  const int repeats = op.variational ? op.x.dim(0) : 1;
  // uniform >= rate, with uniform = (word >> 8) / 2^24, is word >= threshold: both sides are exact.
  const device::Drop a{.key = op.key,
                       .threshold = static_cast<std::uint32_t>(std::ceil(std::ldexp(double{op.rate}, 24))) << 8,
                       .scale = 1 / (1 - op.rate),
                       .x = op.x.data,
                       .y = op.y.data,
                       .row = row,
                       .repeats = repeats,
                       .wide = row % 4 == 0 && device::aligned(op.x.data) && device::aligned(op.y.data)};
  const auto blocks = static_cast<unsigned>((row + 1023) / 1024);
  device::launch(ctx, op.name, device::drop,
                 {.blocks = dim3(blocks, static_cast<unsigned>(std::min(repeats, 16))), .threads = 256}, a);
}

}  // namespace bib
