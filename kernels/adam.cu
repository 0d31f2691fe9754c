// Adam, one pass over memory: gradient, both moments and value are read once and written once.
#include <cmath>

#include "bib/ops/adam.h"
#include "kernels/elementwise.h"
#include "kernels/row_gradient.h"

namespace bib {
namespace device {
namespace {

struct AdamUpdate {
  float keep_m, add_m, keep_v, add_v, keep_value, rate, root, epsilon;
  const float* scale;
  float *value, *m, *v;

  template <int N>
  struct State {
    Floats<N> value, m, v;
    float clip;
  };
  /// Elements i .. i + N - 1, read before any of them is written: the compiler takes no load over a store.
  template <int N>
  __device__ State<N> read(std::int64_t i) const {
    return {load<N>(value + i), load<N>(m + i), load<N>(v + i), scale[0]};
  }
  /// A parameter at -inf with gradient 0 stays there: it meets no 0 * value and no difference of values.
  template <int N>
  __device__ void update(State<N> x, const Floats<N>& grad, std::int64_t i, float decay_m, float decay_v) const {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float g = x.clip * grad[j];
      x.m[j] = decay_m * x.m[j] + add_m * g;
      x.v[j] = decay_v * x.v[j] + add_v * (g * g);
      x.value[j] = keep_value * x.value[j] - rate * x.m[j] / (root * sqrtf(x.v[j]) + epsilon);
    }
    store(m + i, x.m);
    store(v + i, x.v);
    store(value + i, x.value);
  }
  bool wide() const { return all_aligned(value, m, v); }
};

struct AdamAll {
  AdamUpdate all;
  const float* grad;
  __device__ void operator()(std::int64_t i) const {
    all.update(all.read<1>(i), load<1>(grad + i), i, all.keep_m, all.keep_v);
  }
};

/// Powers in double: beta2^step is within 1e-3 of 1 at first, where float would lose the correction's digits.
AdamUpdate adam_update(const AdamHyper& hyper, const float* scale, float* value, float* m, float* v) {
  const double beta1 = hyper.beta1, beta2 = hyper.beta2, lr = hyper.lr;
  return {.keep_m = static_cast<float>(beta1),
          .add_m = static_cast<float>(1 - beta1),
          .keep_v = static_cast<float>(beta2),
          .add_v = static_cast<float>(1 - beta2),
          .keep_value = static_cast<float>(1 - lr * hyper.weight_decay),
          .rate = static_cast<float>(lr / (1 - std::pow(beta1, hyper.step))),
          .root = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, hyper.step))),
          .epsilon = hyper.epsilon,
          .scale = scale,
          .value = value,
          .m = m,
          .v = v};
}

struct AdamRowsUpdate {
  AdamUpdate all;
  RowGradient gradient;
  const int* rows;
  int* last_step;
  double beta1, beta2;
  int step, E;

  struct Row {
    std::int64_t first;
    float decay_m, decay_v;  // of the steps that the row slept, and of this one
    RowGradient::Range range;
  };
  __device__ Row open(int u) const {
    const RowGradient::Range range = gradient.range(u);
    const int row = rows[u], slept = step - 1 - last_step[row];
    last_step[row] = step;
    const std::int64_t first = static_cast<std::int64_t>(row) * E;
    if (slept <= 0) return {first, all.keep_m, all.keep_v, range};
    return {first, static_cast<float>(power(beta1, slept + 1)), static_cast<float>(power(beta2, slept + 1)), range};
  }
  template <int N>
  __device__ void take(const Row& row, int u, int e) const {
    const AdamUpdate::State<N> x = all.read<N>(row.first + e);  // under way while the gradient is looked for
    all.update(x, gradient.at<N>(u, row.range, e), row.first + e, row.decay_m, row.decay_v);
  }
  bool wide() const { return all.wide() && gradient.wide(); }
};

AdamRowsUpdate work_of(const AdamRows& op) {
  return AdamRowsUpdate{adam_update(op.hyper, op.scale.data, op.value.data, op.m.data, op.v.data),
                        row_gradient_of(op),
                        op.rows.data,
                        op.last_step.data,
                        op.hyper.beta1,
                        op.hyper.beta2,
                        op.hyper.step,
                        op.value.dim(1)};
}

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, const AdamStep& op) {
  device::for_each(
      ctx, op.name, op.grad.size(),
      device::AdamAll{device::adam_update(op.hyper, op.scale.data, op.value.data, op.m.data, op.v.data), op.grad.data});
}

void on_cuda(Context& ctx, std::span<const AdamRows> ops) { device::for_each_row(ctx, ops, device::work_of); }

}  // namespace bib
