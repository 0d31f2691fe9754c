// The gradient of the rows of a table that a batch used, for the norm and the optimisers: as EmbeddingBackward made it
// (d_rows), or as it would make it of d_y, so that it is never stored.
#pragma once
#include "bib/context.h"

namespace bib {

/// Throws std::invalid_argument unless the shapes agree: of an op with rows, d_rows, offsets, positions, d_y, column
/// and value.
template <class Op>
void check_row_gradient(const Op& op) {
  const int U = op.rows.dim(0), E = op.value.dim(1);
  expect(!op.d_y || !op.d_rows, std::string(Op::name) + ": d_rows and d_y cannot both be given");
  if (!op.d_y) return expect_shape(Op::name, "d_rows", op.d_rows, {U, E});
  expect_shape(Op::name, "offsets", op.offsets, {U + 1});
  expect(op.column >= 0 && op.column + E <= op.d_y.dim(2), std::string(Op::name) + ": column block exceeds d_y");
}

/// Throws std::invalid_argument unless offsets and positions stay within d_y; the integers are on the host.
template <class Op>
void check_lookups(const Op& op) {
  expect_values(Op::name, "offsets", op.offsets, 0, op.positions.dim(0));
  expect_values(Op::name, "positions", op.positions, 0, op.d_y.dim(0) * op.d_y.dim(1) - 1);
}

/// The same, and for the rows.
template <class Op>
void check_row_gradient_values(const Op& op) {
  expect_values(Op::name, "rows", op.rows, 0, op.value.dim(0) - 1);
  if (op.d_y) check_lookups(op);
}

}  // namespace bib
