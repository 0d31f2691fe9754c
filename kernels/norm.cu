// Gradient norm: sums of fixed chunks, added up in double in their order.
#include "bib/ops/norm.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"

namespace bib {
namespace device {
namespace {

constexpr int chunk = 16384, threads = 256;

struct Squares {
  const float* x;
  std::int64_t n;
  float* partial;  // one per chunk
  unsigned blocks;
};

__global__ void squares_of_chunks(Group<Squares> group) {
  const auto [a, block] = group.mine();
  const std::int64_t begin = static_cast<std::int64_t>(block) * chunk, end = min(a.n, begin + chunk);
  float sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += threads) sum += a.x[i] * a.x[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) a.partial[block] = sum;
}

struct Addition {
  const float* partial;
  int count;
  float* to;
  unsigned blocks;
};

__global__ void add_chunks(Group<Addition> group) {
  for (int k = 0; k < group.count; ++k) {
    const Addition& a = group.of[k];
    double sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < a.count; i += threads) sum += a.partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) a.to[0] = static_cast<float>(a.to[0] + sum);
  }
}

struct ClipOf {
  const float* sum;
  float* scale;
  float limit;
  __device__ void operator()(std::int64_t) const {
    const float norm = sqrtf(sum[0]);
    scale[0] = limit > 0 && norm > limit ? limit / norm : 1.0f;
  }
};

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, std::span<const NormSquared> ops) {
  ArenaScope scratch(ctx.arena());
  std::vector<device::Squares> squares;
  std::vector<device::Addition> additions;
  for (const NormSquared& op : ops) {
    const std::int64_t n = op.x.size();
    const int chunks = static_cast<int>((n + device::chunk - 1) / device::chunk);
    if (chunks == 0) continue;
    float* partial = ctx.arena().make<float, 1>({chunks}).data;
    squares.push_back({op.x.data, n, partial, static_cast<unsigned>(chunks)});
    additions.push_back({partial, chunks, op.sum.data, 1});
  }
  device::launch_all(ctx, NormSquared::name, device::squares_of_chunks, std::span<const device::Squares>(squares));
  device::launch_through(ctx, NormSquared::name, device::add_chunks, std::span<const device::Addition>(additions));
}

void on_cuda(Context& ctx, const ClipScale& op) {
  device::launch(ctx, op.name, device::for_each_kernel<device::ClipOf>, {.threads = 1},
                 device::ClipOf{op.sum.data, op.scale.data, op.max_norm}, 1);
}

}  // namespace bib
