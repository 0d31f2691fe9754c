// Embedding: rows copied as wide as their alignment allows. The gradient of a unique row is summed by warps that take
// 32 columns each, or four times as many, in the order of its positions; where these are many, by all warps of the
// block: warp w takes positions w, w + 8, ..., and what they have is added in their order. Which it is depends on the
// number of positions alone.
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
#pragma unroll 1  // mostly once
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
  int U, E, Y, column;
  bool wide;  // a lane takes four columns
  unsigned row_blocks,
      blocks;  // row_blocks for a warp's columns, so that those of a frequent row are in different ones
};

constexpr int warps = static_cast<int>(RowThreads::all) / warp_lanes, frequent = 32;

/// Of columns e.. at positions `from`, from + step, ... before `to`. By whole warps: a lane asks for a position each,
/// so that no gradient waits for another's.
template <int N>
__device__ __forceinline__ Floats<N> sum_of(const RowSum& a, int e, int from, int to, int step) {
  Floats<N> sum{};
  for (int begin = from; begin < to; begin += warp_lanes * step) {
    const int own = begin + lane_id() * step, count = min(warp_lanes, (to - begin + step - 1) / step);
    const int position = own < to ? a.positions[own] : 0;
    for (int i = 0; i < count; i += 8) {
      const auto at = [&](int j) {
        const std::int64_t row = __shfl_sync(all_lanes, position, i + j);
        return i + j < count && e < a.E ? load<N>(a.d_y + row * a.Y + a.column + e) : Floats<N>{};
      };
      const bool more = count - i > 4;
      Floats<N> x[8];
#pragma unroll
      for (int j = 0; j < 4; ++j) x[j] = at(j);
      if (more) {
#pragma unroll
        for (int j = 4; j < 8; ++j) x[j] = at(j);
      }
#pragma unroll
      for (int j = 0; j < 4; ++j)
        for (int k = 0; k < N; ++k) sum[k] += x[j][k];
      if (more) {
#pragma unroll
        for (int j = 4; j < 8; ++j)
          for (int k = 0; k < N; ++k) sum[k] += x[j][k];
      }
    }
  }
  return sum;
}

template <int N>
__device__ __forceinline__ void sum_rows_of(const RowSum& a, int block) {
  SHARED(Floats<N>, sums, [warps][warp_lanes]);
  SHARED(int, begins, [warps]);
  SHARED(int, ends, [warps]);
  const int rows = static_cast<int>(a.row_blocks), u = block % rows * warps + warp_id(),
            e = (block / rows * warp_lanes + lane_id()) * N;
  const int begin = u < a.U ? a.offsets[u] : 0, end = u < a.U ? a.offsets[u + 1] : 0;
  float* const to = a.d_rows + static_cast<std::int64_t>(u) * a.E + e;
  if (lane_id() == 0) begins[warp_id()] = begin, ends[warp_id()] = end;
  if (u < a.U && end - begin <= frequent) {
    const Floats<N> sum = sum_of<N>(a, e, begin, end, 1);
    if (e < a.E) store(to, sum);
  }
  if (!__syncthreads_or(end - begin > frequent)) return;
  for (int row = 0; row < warps; ++row) {
    if (ends[row] - begins[row] <= frequent) continue;
    sums[warp_id()][lane_id()] = sum_of<N>(a, e, begins[row] + warp_id(), ends[row], warps);
    __syncthreads();
    if (warp_id() == row && e < a.E) {
      Floats<N> sum = sums[0][lane_id()];
      for (int w = 1; w < warps; ++w)
        for (int k = 0; k < N; ++k) sum[k] += sums[w][lane_id()][k];
      store(to, sum);
    }
    __syncthreads();
  }
}

__global__ void sum_rows(Group<RowSum> group) {
  after_previous();
  const auto [a, block] = group.mine();
  if (a.wide) {
    sum_rows_of<4>(a, block);
  } else {
    sum_rows_of<1>(a, block);
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
    const int U = op.d_rows.dim(0), E = op.d_rows.dim(1), Y = op.d_y.dim(2);
    const bool wide = E % 4 == 0 && Y % 4 == 0 && op.column % 4 == 0 && device::aligned(op.d_y.data) &&
                      device::aligned(op.d_rows.data);
    const int of_warp = device::warp_lanes * (wide ? 4 : 1);
    const auto row_blocks = static_cast<unsigned>((U + device::warps - 1) / device::warps),
               columns = static_cast<unsigned>((E + of_warp - 1) / of_warp);
    return device::RowSum{.offsets = op.offsets.data,
                          .positions = op.positions.data,
                          .d_y = op.d_y.data,
                          .d_rows = op.d_rows.data,
                          .U = U,
                          .E = E,
                          .Y = Y,
                          .column = op.column,
                          .wide = wide,
                          .row_blocks = row_blocks,
                          .blocks = row_blocks * columns};
  });
}

}  // namespace bib
