// Kernels that do the same to every element of some arrays.
#pragma once
#include "kernels/device.h"
#include "kernels/launch.h"

namespace bib::device {

/// f(i) for i in 0..n-1; consecutive threads take consecutive i.
template <class F>
__global__ void for_each_kernel(F f, std::int64_t n) {
  for (std::int64_t i = global_thread(); i < n; i += grid_threads()) f(i);
}

/// `f` is a plain struct with a __device__ operator()(std::int64_t) const.
template <class F>
void for_each(Context& ctx, std::string_view name, std::int64_t n, const F& f) {
  launch(ctx, name, for_each_kernel<F>, grid_for(ctx.cuda(), n), f, n);
}

/// Rows of a table, one per y index of the block: f(u, e) for elements e of row u, after f.open(u) by one thread of the
/// row, whose result every thread of the row is given.
template <class F>
__global__ void for_each_row_kernel(F f, int rows, int columns) {
  SHARED(typename F::Row, row, [32]);
  const int u = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
  if (u < rows && threadIdx.x == 0) row[threadIdx.y] = f.open(u);
  __syncthreads();
  if (u >= rows) return;
  for (int e = static_cast<int>(threadIdx.x); e < columns; e += static_cast<int>(blockDim.x)) f(row[threadIdx.y], u, e);
}

/// Blocks of 256 threads: x covers a row of `width` items as far as it goes, y further rows.
inline Grid rows_of(int width, std::int64_t rows) {
  unsigned x = 8;
  while (x < 128 && static_cast<int>(x) < width) x *= 2;
  const unsigned y = 256 / x;
  return {.blocks = dim3(static_cast<unsigned>((rows + y - 1) / y)), .threads = dim3(x, y)};
}

template <class F>
void for_each_row(Context& ctx, std::string_view name, int rows, int columns, const F& f) {
  launch(ctx, name, for_each_row_kernel<F>, rows_of(columns, rows), f, rows, columns);
}

}  // namespace bib::device
