// SGD with momentum, one pass over memory.
#include "bib/ops/sgd.h"
#include "kernels/elementwise.h"

namespace bib {
namespace device {
namespace {

/// Weight decay passes over infinite values: a parameter at -inf with gradient 0 stays there, its velocity finite.
struct SgdUpdate {
  SgdHyper hyper;
  const float *grad, *scale;
  float *value, *velocity;
  __device__ void update(std::int64_t g, std::int64_t i) const {
    const float x = value[i], shrinking = isinf(x) ? 0.0f : x;
    const float v = hyper.momentum * velocity[i] + (scale[0] * grad[g] + hyper.weight_decay * shrinking);
    velocity[i] = v;
    value[i] = x - hyper.lr * v;
  }
  __device__ void operator()(std::int64_t i) const { update(i, i); }
};

struct SgdRowsUpdate {
  SgdUpdate all;
  const int* rows;
  int E;
  using Row = std::int64_t;
  __device__ Row open(int u) const { return static_cast<std::int64_t>(rows[u]) * E; }
  __device__ void operator()(Row first, int u, int e) const {
    all.update(static_cast<std::int64_t>(u) * E + e, first + e);
  }
};

SgdRowsUpdate work_of(const SgdRows& op) {
  const SgdUpdate all{op.hyper, op.d_rows.data, op.scale.data, op.value.data, op.velocity.data};
  return SgdRowsUpdate{all, op.rows.data, op.value.dim(1)};
}

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, const SgdStep& op) {
  device::for_each(ctx, op.name, op.grad.size(),
                   device::SgdUpdate{op.hyper, op.grad.data, op.scale.data, op.value.data, op.velocity.data});
}

void on_cuda(Context& ctx, std::span<const SgdRows> ops) { device::for_each_row(ctx, ops, device::work_of); }

}  // namespace bib
