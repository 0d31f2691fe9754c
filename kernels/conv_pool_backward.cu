// Gradients of the fused convolution, from the winning positions alone: of filters by a block per filter and tap, of
// the input by a block per sequence and 32 channels. Every sum is cut by the shape alone and added in a fixed order. No
// atomics.
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

constexpr int filters_in_turn = 16;  // that a warp takes before the next one's

/// For ops that share d_x, a block per sequence and 32 channels, a lane for each. The warps take the filters of all ops
/// in turns and add what each gives to the steps where it won: every warp to a tile of all steps in shared memory,
/// added up in the end; or one warp to d_x itself.
template <bool in_shared>
__global__ void input_gradients(Group<Backward> group) {
  DYN_SHARED(float, sums);  // [warps][T][32]
  const Backward& shared = group.of[0];
  const int tiles = cover(shared.C, warp_lanes), warps = static_cast<int>(blockDim.x) / warp_lanes;
  const int block = static_cast<int>(blockIdx.x), b = block / tiles, c = block % tiles * warp_lanes + lane_id();
  const bool mine = c < shared.C, keep = !in_shared && shared.add_d_x;
  const std::int64_t step = static_cast<std::int64_t>(shared.B) * shared.C;
  float* d_x = shared.d_x + static_cast<std::int64_t>(b) * shared.C + c;
  float* const column = sums + warp_id() * shared.T * warp_lanes + lane_id();
  const auto at = [&](int t) { return in_shared ? column + t * warp_lanes : d_x + t * step; };
  for (int t = 0; t < shared.T; ++t)
    if (mine && !keep) *at(t) = 0;
  int turn = 0;
  for (int k = 0; k < group.count; ++k) {
    const Backward& a = group.of[k];
    const int length = a.lengths[b];
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
        for (int tap = max(0, -from); tap < min(a.W, length - from); ++tap) *at(from + tap) += d * w[tap * a.C];
      }
    }
  }
  if constexpr (in_shared) {
    __syncthreads();
    if (!mine) return;
    for (int t = warp_id(); t < shared.T; t += warps) {
      float sum = 0;
      for (int w = 0; w < warps; ++w) sum += sums[(w * shared.T + t) * warp_lanes + lane_id()];
      d_x[t * step] = (shared.add_d_x ? d_x[t * step] : 0.0f) + sum;
    }
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
    constexpr int most_shared = 64 * 1024;  // what a block of sm_75 may have, so that sums are cut alike everywhere
    const int bytes = static_cast<int>(sizeof(float)) * device::warp_lanes * a.T;
    const bool in_shared = bytes <= most_shared;
    const int warps = in_shared ? std::clamp(most_shared / std::max(1, bytes), 1, std::clamp(turns, 1, 8)) : 1;
    device::launch_through(ctx, name, in_shared ? device::input_gradients<true> : device::input_gradients<false>,
                           sharing,
                           {.blocks = static_cast<unsigned>(a.B * device::cover(a.C, device::warp_lanes)),
                            .threads = static_cast<unsigned>(warps * device::warp_lanes),
                            .shared = in_shared ? static_cast<std::size_t>(warps * bytes) : 0});
  }
}

}  // namespace bib
