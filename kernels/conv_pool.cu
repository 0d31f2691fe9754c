// Fused convolution, ReLU and max over time: one block per sequence and 64 filters walks over tiles of 64 positions;
// the input rows of a tile are read once from global memory for all taps, the [P,B,F] activations exist in registers
// only. The rows of 16 channels and the filters of a tap are copied while those before them are multiplied. Order of
// every sum: taps and channels as they lie in w. In fast math: conv_pool_fast.cu. Backward:
// conv_pool_backward.cu.
#include "bib/ops/conv_pool.h"
#include "kernels/conv_pool_forward.h"

namespace bib {
namespace device {
namespace {

constexpr int tile = conv_tile, channels = 16, threads = conv_threads, side = 16;

/// Starts to copy rows from step `first` of sequence b, channels from c, transposed; zeros outside of the sequence.
__device__ void copy_rows(const ConvForward& a, int b, int length, int first, int c, int rows, float* to, int stride) {
  const auto row_of = [&](int i) {
    const int t = first + i / channels;
    return t >= 0 && t < length && c + i % channels < a.C ? a.x.index(t, b) : -1;
  };
  bring<5>(rows * channels, row_of, [&](int i, int row) {
    copy_async<4>(to + i % channels * stride + i / channels, a.x.at(max(row, 0)) + c + i % channels, row >= 0);
  });
}

/// The same for 16 channels of a tap's filters, four at a time where they are aligned.
__device__ void copy_filters(const ConvForward& a, int tap, int c, int f, float (*to)[tile]) {
  const auto copy = [&]<int N>(std::integral_constant<int, N>, int i) {
    const int k = i * N / tile, g = i * N % tile;
    const bool there = c + k < a.C && f + g < a.F;
    const float* const from = a.w + (static_cast<std::int64_t>(tap) * a.C + c + k) * a.F + f + g;
    copy_async<4 * N>(&to[k][g], there ? from : a.w, there);
  };
  const int i = static_cast<int>(threadIdx.x);
  if (a.wide) return copy(std::integral_constant<int, 4>(), i);
#pragma unroll
  for (int n = 0; n < 4; ++n) copy(std::integral_constant<int, 1>(), i + n * threads);
}
static_assert(channels * tile == 4 * threads);

/// Thread (x, y) of 16 x 16 owns filters 4x..4x+3 and positions y, y+16, y+32, y+48 of every tile.
__global__ void __launch_bounds__(threads, 2) best_positions(Group<ConvForward> group) {
  after_previous(Next::later);
  DYN_SHARED(float, rows);  // two in turns: [channels][stride], tile + W - 1 rows of the input
  SHARED(float, filters, [2][channels][tile]);
  SHARED(float, best_value, [side][tile]);
  SHARED(int, best_at, [side][tile]);
  const auto [a, block] = group.mine();
  const int stride = tile + a.W, tiles = cover(a.F, tile), slices = cover(a.C, channels);
  const int f = block % tiles * tile, b = block / tiles;
  const int x = static_cast<int>(threadIdx.x) % side, y = static_cast<int>(threadIdx.x) / side;
  const int length = a.lengths[b], positions = max(1, length + 2 * a.pad - a.W + 1);
  float *rows_now = rows, *rows_next = rows + channels * stride;
  float(*filters_now)[tile] = filters[0], (*filters_next)[tile] = filters[1];
  const auto bring_stage = [&](const ConvStage& stage, float* rows_to, float(*filters_to)[tile]) {
    const int c = stage.slice * channels;
    if (stage.tap == 0) copy_rows(a, b, length, stage.p - a.pad, c, tile + a.W - 1, rows_to, stride);
    copy_filters(a, stage.tap, c, f, filters_to);
    copy_commit();
  };
  Best best[4];
  for (auto& it : best) it = {-INFINITY, y};  // the thread's first, should all be as low
  float sum[4][4] = {};
  ConvStage stage;
  bring_stage(stage, rows_now, filters_now);
  while (stage.p < positions) {
    const ConvStage next = stage.next(1, a.W, slices);
    float* const rows_to = next.tap == 0 ? rows_next : rows_now;
    copy_wait<0>();
    __syncthreads();  // all have come, and nobody reads what the next ones go to
    if (next.p < positions) bring_stage(next, rows_to, filters_next);
    // Of the thread's four positions only as many as the block's sequence still has: others could not win.
    const auto multiply = [&]<int N>(std::integral_constant<int, N>) {
      for (int k = 0; k < channels; ++k) {
        const float4 v = load4(&filters_now[k][4 * x]);
        const float vs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < N; ++i) {
          const float u = rows_now[k * stride + y + side * i + stage.tap];
#pragma unroll
          for (int j = 0; j < 4; ++j) sum[i][j] += u * vs[j];
        }
      }
    };
    switch (min(4, cover(positions - stage.p, side))) {
      case 1: multiply(std::integral_constant<int, 1>()); break;
      case 2: multiply(std::integral_constant<int, 2>()); break;
      case 3: multiply(std::integral_constant<int, 3>()); break;
      default: multiply(std::integral_constant<int, 4>());
    }
    if (next.first_of_tile()) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int at = stage.p + y + side * i;
          best[j].take_later(sum[i][j], at, at < positions);
          sum[i][j] = 0;
        }
    }
    if (next.tap == 0) rows_next = rows_now, rows_now = rows_to;
    std::swap(filters_now, filters_next);
    stage = next;
  }
  for (int j = 0; j < 4; ++j) {
    best_value[y][4 * x + j] = best[j].value;
    best_at[y][4 * x + j] = best[j].at;
  }
  __syncthreads();
  const int g = static_cast<int>(threadIdx.x);
  if (g >= tile || f + g >= a.F) return;
  Best winner{best_value[0][g], best_at[0][g]};
  for (int i = 1; i < side; ++i) winner.take(best_value[i][g], best_at[i][g]);
  a.write(b, f + g, winner);
}

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, std::span<const ConvPoolForward> ops) {
  const bool tensor_cores = ctx.cuda().math == Math::fast && ctx.cuda().compute_major >= 8;
  std::vector<device::ConvForward> fast, strict;
  device::Grid grid{.threads = device::threads};
  for (const ConvPoolForward& op : ops) {
    const int B = op.batch(), W = op.w.dim(0), C = op.w.dim(1), F = op.w.dim(2);
    const bool is_fast = tensor_cores && device::conv_pool_fits_fast(W);
    (is_fast ? fast : strict)
        .push_back({.x = device::input_of(op),
                    .lengths = op.lengths.data,
                    .w = op.w.data,
                    .b = op.b.data,
                    .y = op.y.data,
                    .where = op.where.data,
                    .T = op.steps(),
                    .B = B,
                    .C = C,
                    .W = W,
                    .F = F,
                    .Y = op.y.dim(1),
                    .pad = op.pad,
                    .column = op.column,
                    .wide = F % 4 == 0 && device::aligned(op.w.data),
                    .blocks = static_cast<unsigned>(B * device::cover(F, device::tile))});
    if (!is_fast)
      grid.shared =
          std::max(grid.shared, 2 * sizeof(float) * device::channels * static_cast<std::size_t>(device::tile + W));
  }
  device::launch_all(ctx, ConvPoolForward::name, device::best_positions, std::span<const device::ConvForward>(strict),
                     grid);
  device::conv_pool_fast(ctx, fast);
}

}  // namespace bib
