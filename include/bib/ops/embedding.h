// Embedding lookup into a column block of y, so that several features of a token stand side by side without a copy.
//   y[t,b, column : column+E] = table[ids[t,b]]      id -1 (padding, or feature absent): zeros
// Backward produces the gradient by unique row, in the order of `positions`: no atomics, so bitwise repeatable, and no
// dense [V,E] gradient is ever written. The row index (rows, offsets, positions) is built where the batch is built.
#pragma once
#include <span>
#include <tuple>

#include "bib/context.h"
#include "bib/ops/row_gradient.h"

namespace bib {

struct EmbeddingForward {
  static constexpr std::string_view name = "embedding_forward";
  View<const int, 2> ids;     // [T,B]    -1..V-1
  View<const real, 2> table;  // [V,E]
  View<real, 3> y;            // [T,B,Y]  writes columns column..column+E-1 only
  int column = 0;
  static auto operands(auto& o) { return std::tie(o.ids, o.table, o.y); }
  void check() const {
    expect_shape(name, "y", y, {ids.dim(0), ids.dim(1), y.dim(2)});
    expect(column >= 0 && column + table.dim(1) <= y.dim(2), "embedding_forward: column block exceeds y");
  }
  void check_values() const { expect_values(name, "ids", ids, -1, table.dim(0) - 1); }
};

struct EmbeddingBackward {
  static constexpr std::string_view name = "embedding_backward";
  View<const int, 1> offsets;    // [U+1]  positions[offsets[u] : offsets[u+1]] looked up unique row u
  View<const int, 1> positions;  // [N]    flat t*B+b, ascending within a row
  View<const real, 3> d_y;       // [T,B,Y]  reads columns column..column+E-1
  View<real, 2> d_rows;          // [U,E]  =  gradient of each unique row
  int column = 0;
  static auto operands(auto& o) { return std::tie(o.offsets, o.positions, o.d_y, o.d_rows); }
  void check() const {
    expect_shape(name, "offsets", offsets, {d_rows.dim(0) + 1});
    expect(column >= 0 && column + d_rows.dim(1) <= d_y.dim(2), "embedding_backward: column block exceeds d_y");
  }
  void check_values() const { check_lookups(*this); }
};

void on_cpu(Context&, const EmbeddingForward&);
void on_cuda(Context&, std::span<const EmbeddingForward>);
void on_cpu(Context&, const EmbeddingBackward&);
void on_cuda(Context&, std::span<const EmbeddingBackward>);

}  // namespace bib
