// What both passes of the fused convolution read.
#pragma once
#include "kernels/device.h"

namespace bib::device {

__host__ __device__ constexpr int cover(int n, int size) { return (n + size - 1) / size; }

/// Rows of channels: an array [T,B,C], or those of a table that ids [T,B] name.
struct Input {
  const float* rows;
  const int* ids;  // null: no table
  int B, C;
  /// Null for an id of -1: zeros.
  __device__ const float* row(int t, int b) const {
    std::int64_t row = static_cast<std::int64_t>(t) * B + b;
    if (ids) row = ids[row];
    return row < 0 ? nullptr : rows + row * C;
  }
};

template <class Op>
Input input_of(const Op& op) {
  return {op.table ? op.table.data : op.x.data, op.table ? op.ids.data : nullptr, op.batch(), op.channels()};
}

}  // namespace bib::device
