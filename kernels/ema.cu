// Moving average of the weights, one pass over memory; rows that rested are caught up in closed form.
#include "bib/ops/ema.h"
#include "kernels/elementwise.h"

namespace bib {
namespace device {
namespace {

/// Where value and average agree nothing may change: a constant keeps its bits, and -inf stays -inf.
__device__ float averaged(float keep, float add, float value, float average) {
  return value == average ? value : keep * average + add * value;
}

struct EmaUpdate {
  float keep, add;
  const float* value;
  float* average;
  __device__ void operator()(std::int64_t i) const { average[i] = averaged(keep, add, value[i], average[i]); }
};

struct EmaRowsUpdate {
  const int* rows;
  const float* value;
  float* average;
  int* averaged_step;
  double decay;
  int step, E;

  struct Row {
    std::int64_t first;
    float keep, add;  // keep 1 and add 0: complete already
  };
  __device__ Row open(int u) const {
    const int row = rows[u], steps = step - averaged_step[row];
    if (steps <= 0) return {.first = -1, .keep = 1, .add = 0};
    const double keep = power(decay, steps);
    averaged_step[row] = step;
    return {static_cast<std::int64_t>(row) * E, static_cast<float>(keep), static_cast<float>(1 - keep)};
  }
  template <int N>
  __device__ void take(const Row& row, int, int e) const {
    if (row.first < 0) return;
    const Floats<N> x = load<N>(value + row.first + e);
    Floats<N> mean = load<N>(average + row.first + e);
#pragma unroll
    for (int j = 0; j < N; ++j) mean[j] = averaged(row.keep, row.add, x[j], mean[j]);
    store(average + row.first + e, mean);
  }
  bool wide() const { return all_aligned(value, average); }
};

EmaRowsUpdate work_of(const EmaRows& op) {
  return EmaRowsUpdate{op.rows.data, op.value.data, op.average.data, op.averaged_step.data,
                       op.decay,     op.step,       op.value.dim(1)};
}

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, const EmaStep& op) {
  const double decay = op.decay;
  device::for_each(
      ctx, op.name, op.value.size(),
      device::EmaUpdate{static_cast<float>(decay), static_cast<float>(1 - decay), op.value.data, op.average.data});
}

void on_cuda(Context& ctx, std::span<const EmaRows> ops) { device::for_each_row(ctx, ops, device::work_of); }

}  // namespace bib
