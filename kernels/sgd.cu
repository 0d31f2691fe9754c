// SGD with momentum, one pass over memory.
#include "bib/ops/sgd.h"
#include "kernels/elementwise.h"
#include "kernels/row_gradient.h"

namespace bib {
namespace device {
namespace {

/// Weight decay passes over infinite values: a parameter at -inf with gradient 0 stays there, its velocity finite.
struct SgdUpdate {
  SgdHyper hyper;
  const float* scale;
  float *value, *velocity;
  __device__ void update(float grad, std::int64_t i) const {
    const float x = value[i], shrinking = isinf(x) ? 0.0f : x;
    const float v = hyper.momentum * velocity[i] + (scale[0] * grad + hyper.weight_decay * shrinking);
    velocity[i] = v;
    value[i] = x - hyper.lr * v;
  }
};

struct SgdAll {
  SgdUpdate all;
  const float* grad;
  __device__ void operator()(std::int64_t i) const { all.update(grad[i], i); }
};

struct SgdRowsUpdate {
  SgdUpdate all;
  RowGradient gradient;
  const int* rows;
  int E;
  using Row = std::int64_t;
  __device__ Row open(int u) const { return static_cast<std::int64_t>(rows[u]) * E; }
  __device__ void operator()(Row first, int u, int e) const { all.update(gradient.at(u, e), first + e); }
};

SgdRowsUpdate work_of(const SgdRows& op) {
  const SgdUpdate all{op.hyper, op.scale.data, op.value.data, op.velocity.data};
  return SgdRowsUpdate{all, row_gradient_of(op), op.rows.data, op.value.dim(1)};
}

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, const SgdStep& op) {
  device::for_each(ctx, op.name, op.grad.size(),
                   device::SgdAll{{op.hyper, op.scale.data, op.value.data, op.velocity.data}, op.grad.data});
}

void on_cuda(Context& ctx, std::span<const SgdRows> ops) { device::for_each_row(ctx, ops, device::work_of); }

}  // namespace bib
