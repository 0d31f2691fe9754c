// A row repeated down a matrix, and the sum of a matrix's rows: a bias and its gradient; the gradient of a table's row.
#pragma once
#include <algorithm>
#include <vector>

#include "bib/context.h"

namespace bib {

/// y[n] = row for every n.
void repeat_row(Context& ctx, View<const real, 1> row, View<real, 2> y);
/// sum += sum_n x[n], in an order that depends on the shape alone.
void add_rows(Context& ctx, View<const real, 2> x, View<real, 1> sum);

/// sum = the rows of d_y, from `column` on, at the positions of unique row u, added in their order.
inline void sum_lookups(View<const int, 1> offsets, View<const int, 1> positions, View<const real, 3> d_y, int column,
                        int u, View<real, 1> sum) {
  std::fill_n(sum.data, sum.dim(0), real(0));
  for (int i = offsets[u]; i < offsets[u + 1]; ++i) {
    const real* from = d_y.data + std::int64_t{positions[i]} * d_y.dim(2) + column;
    for (int e = 0; e < sum.dim(0); ++e) sum[e] += from[e];
  }
}

/// The gradient of unique row u (bib/ops/row_gradient.h), in the op's or in the room given.
template <class Op>
const real* row_gradient(const Op& op, int u, std::vector<real>& room) {
  if (!op.d_y) return op.d_rows[u].data;
  const int E = op.value.dim(1);
  room.resize(static_cast<std::size_t>(E));
  sum_lookups(op.offsets, op.positions, op.d_y, op.column, u, {.data = room.data(), .shape = {E}});
  return room.data();
}

}  // namespace bib
