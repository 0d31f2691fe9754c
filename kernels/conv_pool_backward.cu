// Gradients of the fused convolution, from the winning positions alone: of filters by a block per filter and tap, of
// the input by a block per sequence, 64 steps and 32 channels. Every sum is cut by the shape alone and added in a fixed
// order. No atomics.
#include "bib/ops/conv_pool.h"
#include "kernels/conv_pool.h"
#include "kernels/group.h"
#include "kernels/reduce.h"

namespace bib {
namespace device {
namespace {

struct Backward {
  Input x;
  const int *lengths, *where;
  const float *w, *d_y;
  float *d_x, *d_w, *d_b;
  float* turned;  // w with the channels of a filter side by side: [F,W,C]
  int T, B, C, W, F, Y, pad, column;
  bool add_d_x;
  RowThreads threads;  // along the channels
  unsigned blocks;     // one per filter and tap
};

/// What the sequences add to a filter's tap, whose winning rows are found for 256 sequences at a time; then the rows of
/// threads are slices of these, added in their order.
__global__ void __launch_bounds__(RowThreads::all, 4) filter_gradients(Group<Backward> group) {
  after_previous();
  SHARED(const float*, row, [RowThreads::all]);
  SHARED(float, factor, [RowThreads::all]);
  SHARED(float, sums, [RowThreads::all]);
  const auto [a, block] = group.mine();
  const int f = block % a.F, tap = block / a.F, thread = static_cast<int>(threadIdx.x);
  const int x = a.threads.along(), y = a.threads.row(), width = a.threads.width(), slices = a.threads.rows();
  float bias = 0;
  for (int first = 0; first < a.B; first += static_cast<int>(RowThreads::all)) {
    const int b = first + thread, count = min(static_cast<int>(RowThreads::all), a.B - first);
    if (b < a.B) {
      const int p = a.where[static_cast<std::int64_t>(b) * a.F + f], t = p + tap - a.pad;
      const float d = p < 0 ? 0.0f : a.d_y[static_cast<std::int64_t>(b) * a.Y + a.column + f];
      const float* from = p >= 0 && t >= 0 && t < a.lengths[b] ? a.x.row(t, b) : nullptr;
      row[thread] = from;
      factor[thread] = from ? d : 0.0f;
      bias += d;
    }
    __syncthreads();
    for (int begin = 0; begin < a.C; begin += width) {
      const int c = begin + x;
      float sum = 0;
      if (c < a.C) {
#pragma unroll 8
        for (int j = y; j < count; j += slices) sum += factor[j] * (row[j] ? row[j][c] : 0.0f);
      }
      sums[y * width + x] = sum;
      __syncthreads();
      if (y == 0 && c < a.C) {
        for (int i = 1; i < slices; ++i) sum += sums[i * width + x];
        a.d_w[(static_cast<std::int64_t>(tap) * a.C + c) * a.F + f] += sum;
      }
      __syncthreads();
    }
  }
  for (int c = thread; c < a.C; c += static_cast<int>(RowThreads::all))
    a.turned[(static_cast<std::int64_t>(f) * a.W + tap) * a.C + c] =
        a.w[(static_cast<std::int64_t>(tap) * a.C + c) * a.F + f];
  if (tap != 0) return;
  bias = block_sum(bias);
  if (thread == 0) a.d_b[f] += bias;
}

constexpr int filters_in_turn = 16;             // that a warp takes before the next one's
constexpr int most_steps = 64, most_warps = 8;  // of a block: 64 KiB of sums, what one of sm_75 may have

/// For ops that share d_x, a block per sequence, up to 64 steps and 32 channels, a lane for each. The warps take the
/// filters of all ops in turns and add what each gives to those steps where it won, every warp to a tile of its own,
/// which are added up in the end.
__global__ void input_gradients(Group<Backward> group) {
  after_previous();
  DYN_SHARED(float, sums);  // [warps][rows][32]
  const Backward& shared = group.of[0];
  const int tiles = cover(shared.C, warp_lanes), warps = static_cast<int>(blockDim.x) / warp_lanes;
  const int block = static_cast<int>(blockIdx.x), b = block / tiles, c = block % tiles * warp_lanes + lane_id();
  const int rows = min(most_steps, shared.T), begin = static_cast<int>(blockIdx.y) * most_steps,
            steps = min(rows, shared.T - begin);
  const bool mine = c < shared.C;
  float* const column = sums + warp_id() * rows * warp_lanes + lane_id();
  for (int t = 0; t < steps; ++t) column[t * warp_lanes] = 0;
  int turn = 0;
  for (int k = 0; k < group.count; ++k) {
    const Backward& a = group.of[k];
    const int end = min(a.lengths[b], begin + steps);
    for (int first = 0; first < a.F; first += filters_in_turn, ++turn) {
      if (turn % warps != warp_id()) continue;
      const int count = min(filters_in_turn, a.F - first), f = first + min(lane_id(), count - 1);
      const int position = a.where[static_cast<std::int64_t>(b) * a.F + f];
      const float factor = a.d_y[static_cast<std::int64_t>(b) * a.Y + a.column + f];
      for (int i = 0; i < count; ++i) {
        const int p = __shfl_sync(all_lanes, position, i), from = p - a.pad;
        const float d = __shfl_sync(all_lanes, factor, i);
        if (p < 0 || !mine) continue;
        const float* w = a.turned + static_cast<std::int64_t>(first + i) * a.W * a.C + c;
        for (int tap = max(0, begin - from); tap < min(a.W, end - from); ++tap)
          column[(from + tap - begin) * warp_lanes] += d * w[tap * a.C];
      }
    }
  }
  __syncthreads();
  if (!mine) return;
  for (int t = warp_id(); t < steps; t += warps) {
    float sum = 0;
    for (int w = 0; w < warps; ++w) sum += sums[(w * rows + t) * warp_lanes + lane_id()];
    float& to = shared.d_x[(static_cast<std::int64_t>(begin + t) * shared.B + b) * shared.C + c];
    to = (shared.add_d_x ? to : 0.0f) + sum;
  }
}

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, std::span<const ConvPoolBackward> ops) {
  ArenaScope scratch(ctx.arena());
  std::vector<device::Backward> jobs;
  for (const ConvPoolBackward& op : ops) {
    const int W = op.w.dim(0), C = op.w.dim(1), F = op.w.dim(2);
    jobs.push_back({.x = device::input_of(op),
                    .lengths = op.lengths.data,
                    .where = op.where.data,
                    .w = op.w.data,
                    .d_y = op.d_y.data,
                    .d_x = op.d_x.data,
                    .d_w = op.d_w.data,
                    .d_b = op.d_b.data,
                    .turned = ctx.arena().make<float, 3>({F, W, C}).data,
                    .T = op.steps(),
                    .B = op.batch(),
                    .C = C,
                    .W = W,
                    .F = F,
                    .Y = op.d_y.dim(1),
                    .pad = op.pad,
                    .column = op.column,
                    .add_d_x = op.add_d_x,
                    .threads = device::row_threads(C, 8),
                    .blocks = static_cast<unsigned>(F * W)});
  }
  constexpr std::string_view name = ConvPoolBackward::name;
  const std::span<const device::Backward> all(jobs);
  device::launch_all(ctx, name, device::filter_gradients, all);
  for (std::size_t begin = 0, end; begin < all.size(); begin = end) {
    const device::Backward& a = all[begin];
    for (end = begin + 1; end < all.size() && all[end].d_x == a.d_x && all[end].add_d_x; ++end) continue;
    if (!a.d_x) continue;
    const auto sharing = all.subspan(begin, end - begin);
    int turns = 0;
    for (const device::Backward& job : sharing) turns += device::cover(job.F, device::filters_in_turn);
    const int warps = std::clamp(turns, 1, device::most_warps), rows = std::min(a.T, device::most_steps);
    device::launch_through(ctx, name, device::input_gradients, sharing,
                           {.blocks = dim3(static_cast<unsigned>(a.B * device::cover(a.C, device::warp_lanes)),
                                           static_cast<unsigned>(device::cover(a.T, device::most_steps))),
                            .threads = static_cast<unsigned>(warps * device::warp_lanes),
                            .shared = sizeof(float) * static_cast<std::size_t>(warps * rows * device::warp_lanes)});
  }
}

}  // namespace bib
