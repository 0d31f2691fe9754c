// The gradient of a table's rows as optimisers read it (bib/ops/row_gradient.h).
#pragma once
#include "kernels/device.h"

namespace bib::device {

struct RowGradient {
  const float* d_rows;  // null: what stands below
  const int *offsets, *positions;
  const float* d_y;
  int E, Y, column;

  /// Of element e of unique row u.
  __device__ float at(int u, int e) const {
    if (d_rows) return d_rows[static_cast<std::int64_t>(u) * E + e];
    float sum = 0;
#pragma unroll 4
    for (int i = offsets[u]; i < offsets[u + 1]; ++i)
      sum += d_y[static_cast<std::int64_t>(positions[i]) * Y + column + e];
    return sum;
  }
};

/// The sums of d_y at the positions of each row.
template <class Op>
RowGradient row_gradient_of(const Op& op, int E) {
  return {nullptr, op.offsets.data, op.positions.data, op.d_y.data, E, op.d_y.dim(2), op.column};
}

/// Of a row optimiser.
template <class Op>
RowGradient row_gradient_of(const Op& op) {
  RowGradient gradient = row_gradient_of(op, op.value.dim(1));
  if (!op.d_y) gradient.d_rows = op.d_rows.data;
  return gradient;
}

}  // namespace bib::device
