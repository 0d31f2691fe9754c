// Embedding: rows copied as wide as their alignment allows. The gradient of a unique row is summed by one block, as a
// small table's rows occur hundreds of times in a batch: slice y of the block takes positions y, y + slices, ..., and
// the slices are added in their order. How many there are depends on the width of a row alone.
#include "bib/ops/embedding.h"
#include "kernels/elementwise.h"

namespace bib {
namespace device {
namespace {

struct Lookup {
  const int* ids;
  const float* table;
  float* y;
  int E, Y, column;
};

/// Thread (x, y): element x (or elements 4x..4x+3) of lookup y.
template <bool wide>
__global__ void look_up(Lookup a, std::int64_t lookups) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (i >= lookups) return;
  const int id = a.ids[i];
  const float* from = a.table + static_cast<std::int64_t>(id < 0 ? 0 : id) * a.E;
  float* to = a.y + i * a.Y + a.column;
  constexpr int step = wide ? 4 : 1;
  for (int e = static_cast<int>(threadIdx.x) * step; e < a.E; e += static_cast<int>(blockDim.x) * step) {
    if constexpr (wide) {
      store4(to + e, id < 0 ? make_float4(0, 0, 0, 0) : load4(from + e));
    } else {
      to[e] = id < 0 ? 0.0f : from[e];
    }
  }
}

constexpr unsigned summing_threads = 256;

struct RowSum {
  const int *offsets, *positions;
  const float* d_y;
  float* d_rows;
  int E, Y, column;
};

/// Thread (x, y): element x of slice y of unique row blockIdx.x.
__global__ void __launch_bounds__(summing_threads) sum_rows(RowSum a) {
  SHARED(float, sums, [summing_threads]);
  const int u = static_cast<int>(blockIdx.x), begin = a.offsets[u], end = a.offsets[u + 1];
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y), width = static_cast<int>(blockDim.x),
            slices = static_cast<int>(blockDim.y);
  for (int first = 0; first < a.E; first += width) {  // a row of more than one round is one slice: `sums` is free again
    const int e = first + x;
    float sum = 0;
    if (e < a.E) {
#pragma unroll 4
      for (int i = begin + y; i < end; i += slices)
        sum += a.d_y[static_cast<std::int64_t>(a.positions[i]) * a.Y + a.column + e];
    }
    sums[y * width + x] = sum;
    __syncthreads();
    if (y == 0 && e < a.E) {
      for (int i = 1; i < min(slices, end - begin); ++i) sum += sums[i * width + x];
      a.d_rows[static_cast<std::int64_t>(u) * a.E + e] = sum;
    }
  }
}

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, const EmbeddingForward& op) {
  const int E = op.table.dim(1), Y = op.y.dim(2);
  const device::Lookup a{op.ids.data, op.table.data, op.y.data, E, Y, op.column};
  const bool wide =
      E % 4 == 0 && Y % 4 == 0 && op.column % 4 == 0 && device::aligned(op.table.data) && device::aligned(op.y.data);
  const std::int64_t lookups = op.ids.size();
  if (wide) {
    device::launch(ctx, op.name, device::look_up<true>, device::rows_of(E / 4, lookups), a, lookups);
  } else {
    device::launch(ctx, op.name, device::look_up<false>, device::rows_of(E, lookups), a, lookups);
  }
}

void on_cuda(Context& ctx, const EmbeddingBackward& op) {
  const int E = op.d_rows.dim(1), U = op.d_rows.dim(0);
  const device::RowSum a{op.offsets.data, op.positions.data, op.d_y.data, op.d_rows.data, E, op.d_y.dim(2), op.column};
  unsigned width = 8;
  while (width < device::summing_threads && static_cast<int>(width) < E) width *= 2;
  device::launch(ctx, op.name, device::sum_rows,
                 {.blocks = dim3(static_cast<unsigned>(U)), .threads = dim3(width, device::summing_threads / width)},
                 a);
}

}  // namespace bib
