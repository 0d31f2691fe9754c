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
  /// Which row; -1, the id of none, for zeros.
  __device__ int index(int t, int b) const {
    const int row = t * B + b;
    return ids ? ids[row] : row;
  }
  __device__ const float* at(int index) const { return rows + static_cast<std::int64_t>(index) * C; }
  /// Null for zeros.
  __device__ const float* row(int t, int b) const {
    const int i = index(t, b);
    return i < 0 ? nullptr : at(i);
  }
};

template <class Op>
Input input_of(const Op& op) {
  return {op.table ? op.table.data : op.x.data, op.table ? op.ids.data : nullptr, op.batch(), op.channels()};
}

/// put(i, get(i)) for i below n, by all threads of a block. `ahead` loads are on their way before the first store,
/// which the compiler would not move them over.
template <int ahead, class Get, class Put>
__device__ __forceinline__ void bring(int n, Get&& get, Put&& put) {
  const int threads = static_cast<int>(blockDim.x);
  for (int begin = static_cast<int>(threadIdx.x); begin < n; begin += ahead * threads) {
    decltype(get(0)) v[ahead];
#pragma unroll
    for (int u = 0; u < ahead; ++u)
      if (begin + u * threads < n) v[u] = get(begin + u * threads);
#pragma unroll
    for (int u = 0; u < ahead; ++u)
      if (begin + u * threads < n) put(begin + u * threads, v[u]);
  }
}

}  // namespace bib::device
