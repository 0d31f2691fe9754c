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
  template <int N>
  struct State {
    Floats<N> value, velocity;
    float clip;
  };
  template <int N>
  __device__ State<N> read(std::int64_t i) const {
    return {load<N>(value + i), load<N>(velocity + i), scale[0]};
  }
  template <int N>
  __device__ void update(State<N> x, const Floats<N>& grad, std::int64_t i) const {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float shrinking = isinf(x.value[j]) ? 0.0f : x.value[j];
      x.velocity[j] = hyper.momentum * x.velocity[j] + (x.clip * grad[j] + hyper.weight_decay * shrinking);
      x.value[j] -= hyper.lr * x.velocity[j];
    }
    store(velocity + i, x.velocity);
    store(value + i, x.value);
  }
  bool wide() const { return all_aligned(value, velocity); }
};

struct SgdAll {
  SgdUpdate all;
  const float* grad;
  __device__ void operator()(std::int64_t i) const { all.update(all.read<1>(i), load<1>(grad + i), i); }
};

struct SgdRowsUpdate {
  SgdUpdate all;
  RowGradient gradient;
  const int* rows;
  int E;
  struct Row {
    std::int64_t first;
    RowGradient::Range range;
  };
  __device__ Row open(int u) const { return {static_cast<std::int64_t>(rows[u]) * E, gradient.range(u)}; }
  template <int N>
  __device__ void take(const Row& row, int u, int e) const {
    const SgdUpdate::State<N> x = all.read<N>(row.first + e);  // under way while the gradient is looked for
    all.update(x, gradient.at<N>(u, row.range, e), row.first + e);
  }
  bool wide() const { return all.wide() && gradient.wide(); }
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
