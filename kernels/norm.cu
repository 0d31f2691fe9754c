// Gradient norm: sums of fixed chunks, added up in double in their order.
#include "bib/ops/norm.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"

namespace bib {
namespace device {
namespace {

constexpr int chunk = 16384, threads = 256;

__global__ void squares_of_chunks(const float* x, std::int64_t n, float* partial) {
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * chunk, end = min(n, begin + chunk);
  float sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += threads) sum += x[i] * x[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void add_chunks(const float* partial, int count, float* to) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) sum += partial[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) to[0] = static_cast<float>(to[0] + sum);
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

void on_cuda(Context& ctx, const NormSquared& op) {
  const std::int64_t n = op.x.size();
  const int chunks = static_cast<int>((n + device::chunk - 1) / device::chunk);
  if (chunks == 0) return;
  ArenaScope scratch(ctx.arena());
  float* partial = ctx.arena().make<float, 1>({chunks}).data;
  device::launch(ctx, op.name, device::squares_of_chunks,
                 {.blocks = dim3(static_cast<unsigned>(chunks)), .threads = device::threads}, op.x.data, n, partial);
  device::launch(ctx, op.name, device::add_chunks, {.threads = device::threads}, partial, chunks, op.sum.data);
}

void on_cuda(Context& ctx, const ClipScale& op) {
  device::launch(ctx, op.name, device::for_each_kernel<device::ClipOf>, {.threads = 1},
                 device::ClipOf{op.sum.data, op.scale.data, op.max_norm}, 1);
}

}  // namespace bib
