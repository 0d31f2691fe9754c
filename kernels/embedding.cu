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
  std::int64_t lookups;
  int E, Y, column;
  bool wide;  // rows may be read and written four at a time
  RowThreads threads;
  unsigned blocks;
};

/// A row of threads per lookup, each for an element (or four) at a time.
__global__ void look_up(Group<Lookup> group) {
  after_previous();
  const auto [a, block] = group.mine();
  const std::int64_t i = static_cast<std::int64_t>(block) * a.threads.rows() + a.threads.row();
  if (i >= a.lookups) return;
  const int id = a.ids[i];
  const float* from = a.table + static_cast<std::int64_t>(id < 0 ? 0 : id) * a.E;
  float* to = a.y + i * a.Y + a.column;
  const int step = a.wide ? 4 : 1;
  for (int e = a.threads.along() * step; e < a.E; e += a.threads.width() * step) {
    if (a.wide) {
      store4(to + e, id < 0 ? make_float4(0, 0, 0, 0) : load4(from + e));
    } else {
      to[e] = id < 0 ? 0.0f : from[e];
    }
  }
}

struct RowSum {
  const int *offsets, *positions;
  const float* d_y;
  float* d_rows;
  int E, Y, column;
  RowThreads threads;
  unsigned blocks;
};

/// A block per unique row, its rows of threads are the slices.
__global__ void sum_rows(Group<RowSum> group) {
  after_previous();
  SHARED(float, sums, [RowThreads::all]);
  const auto [a, u] = group.mine();
  const int begin = a.offsets[u], end = a.offsets[u + 1];
  const int x = a.threads.along(), y = a.threads.row(), width = a.threads.width(), slices = a.threads.rows();
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

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, std::span<const EmbeddingForward> ops) {
  device::launch_all(ctx, device::look_up, ops, [](const EmbeddingForward& op) {
    const int E = op.table.dim(1), Y = op.y.dim(2);
    const bool wide =
        E % 4 == 0 && Y % 4 == 0 && op.column % 4 == 0 && device::aligned(op.table.data) && device::aligned(op.y.data);
    const std::int64_t lookups = op.ids.size();
    const device::RowThreads threads = device::row_threads(wide ? E / 4 : E);
    return device::Lookup{op.ids.data, op.table.data, op.y.data, lookups, E,
                          Y,           op.column,     wide,      threads, threads.blocks_for(lookups)};
  });
}

void on_cuda(Context& ctx, std::span<const EmbeddingBackward> ops) {
  device::launch_all(ctx, device::sum_rows, ops, [](const EmbeddingBackward& op) {
    const int U = op.d_rows.dim(0), E = op.d_rows.dim(1);
    return device::RowSum{
        op.offsets.data,           op.positions.data,       op.d_y.data, op.d_rows.data, E, op.d_y.dim(2), op.column,
        device::row_threads(E, 8), static_cast<unsigned>(U)};
  });
}

}  // namespace bib
