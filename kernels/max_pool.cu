// Max over time: one thread per (b, f), whose reads lie side by side along f.
#include "bib/ops/max_pool.h"
#include "kernels/elementwise.h"

namespace bib {
namespace device {
namespace {

struct MaxOverTime {
  const float* x;
  const int* lengths;
  float* y;
  int* where;
  int F;
  std::int64_t step;  // B * F
  __device__ void operator()(std::int64_t i) const {
    const int length = lengths[i / F];
    float best = length > 0 ? x[i] : 0.0f;  // the first step stands unconditionally, so that NaN is not lost
    int at = length > 0 ? 0 : -1;
    for (int t = 1; t < length; ++t) {
      const float v = x[t * step + i];
      if (v > best) best = v, at = t;
    }
    y[i] = best;
    where[i] = at;
  }
};

struct MaxGradient {
  const int* where;
  const float* d_y;
  float* d_x;
  std::int64_t step;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t t = i / step, bf = i % step;
    d_x[i] = where[bf] == t ? d_y[bf] : 0.0f;
  }
};

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, const MaxPoolForward& op) {
  const int F = op.x.dim(2);
  device::for_each(ctx, op.name, op.y.size(),
                   device::MaxOverTime{op.x.data, op.lengths.data, op.y.data, op.where.data, F, op.y.size()});
}

void on_cuda(Context& ctx, const MaxPoolBackward& op) {
  device::for_each(ctx, op.name, op.d_x.size(),
                   device::MaxGradient{op.where.data, op.d_y.data, op.d_x.data, op.where.size()});
}

}  // namespace bib
