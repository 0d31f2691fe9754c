// The gradient of a table's rows as optimisers read it (bib/ops/row_gradient.h).
#pragma once
#include "kernels/elementwise.h"

namespace bib::device {

struct RowGradient {
  const float* d_rows;  // null: what stands below
  const int *offsets, *positions;
  const float* d_y;
  int E, Y, column;

  /// Where a row's positions are: to be asked for early.
  struct Range {
    int begin, end;
  };
  __device__ Range range(int u) const { return d_rows ? Range{0, 0} : Range{offsets[u], offsets[u + 1]}; }

  /// Of elements e .. e + N - 1 of unique row u.
  template <int N>
  __device__ Floats<N> at(int u, Range row, int e) const {
    if (d_rows) return load<N>(d_rows + static_cast<std::int64_t>(u) * E + e);
    // Four positions at once and the gradients there, of the last ones too: most rows have no more.
    Floats<N> sum{};
    for (int i = row.begin; i < row.end; i += 4) {
      int position[4];
      Floats<N> x[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) position[k] = i + k < row.end ? positions[i + k] : 0;
#pragma unroll
      for (int k = 0; k < 4; ++k)
        x[k] = i + k < row.end ? load<N>(d_y + static_cast<std::int64_t>(position[k]) * Y + column + e) : Floats<N>{};
#pragma unroll
      for (int k = 0; k < 4; ++k)
        for (int j = 0; j < N; ++j) sum[j] += x[k][j];
    }
    return sum;
  }

  /// Whether four elements may be read at once.
  bool wide() const { return E % 4 == 0 && (d_rows ? aligned(d_rows) : Y % 4 == 0 && column % 4 == 0 && aligned(d_y)); }
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
