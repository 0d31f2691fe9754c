// Gradients of the fused convolution, from the winning positions alone: of filters by a block per filter and tap, of
// the input by a block per one or two sequences, 64 steps and 32 channels. Every sum is cut by the shape alone and
// added in a fixed order. No atomics.
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
constexpr int most_steps = 64, most_tiles = 8;  // of a block: 64 KiB of sums, what one of sm_75 may have
constexpr int ahead = 4, taps_ahead = 5;        // filters and taps that a lane loads before it adds the first
constexpr int most_sequences = 2;               // of a block
constexpr int enough_blocks = 256;              // from here on a block takes as many

/// 16 filters of one of the ops, a lane for each, and where they won in each of a block's sequences.
template <int Sequences>
struct Turn {
  int op, first;
  int reach[Sequences];  // steps of the block that the sequence has
  int from[Sequences];   // step of the block that the first tap meets
  float d[Sequences];

  /// The turn that begins `first` filters behind the beginning of an op.
  __device__ Turn(const Group<Backward>& group, int op_, int first_, int b, int begin, int steps)
      : op(op_), first(first_) {
    for (; op < group.count && first >= group.of[op].F; ++op)
      first -= cover(group.of[op].F, filters_in_turn) * filters_in_turn;
    if (op == group.count) return;
    const Backward& a = group.of[op];
    const int f = first + lane_id();
    const bool mine = lane_id() < filters_in_turn && f < a.F;
#pragma unroll
    for (int s = 0; s < Sequences; ++s) {
      const bool there = b + s < a.B;
      const int p = there && mine ? a.where[static_cast<std::int64_t>(b + s) * a.F + f] : -1;
      d[s] = p < 0 ? 0.0f : a.d_y[static_cast<std::int64_t>(b + s) * a.Y + a.column + f];
      reach[s] = there ? min(a.lengths[b + s] - begin, steps) : 0;
      from[s] = p < 0 ? most_steps : p - a.pad - begin;
    }
  }
};

/// Adds d w for so many taps of several filters, from `tap` on, to the rows of `column` that they meet: a row of w,
/// which is that of filter 0 here, is for all sequences.
template <int Taps, int Sequences>
__device__ __forceinline__ void add_taps(const Turn<Sequences>& turn, const int (&filter)[ahead], int tap,
                                         const float* w, int C, int of_filter, float* column, int tile) {
  float v[ahead][Taps];
#pragma unroll
  for (int u = 0; u < ahead; ++u) {
    const float* const from = w + max(filter[u], 0) * of_filter;
#pragma unroll
    for (int j = 0; j < Taps; ++j) v[u][j] = from[j * C];
  }
#pragma unroll
  for (int u = 0; u < ahead; ++u) {
    if (filter[u] < 0) break;
    int t[Sequences];
    float d[Sequences];
    float* to[Sequences];
    bool within = true;
#pragma unroll
    for (int s = 0; s < Sequences; ++s) {
      t[s] = __shfl_sync(all_lanes, turn.from[s], filter[u]) + tap;
      d[s] = __shfl_sync(all_lanes, turn.d[s], filter[u]);
      to[s] = column + s * tile + t[s] * warp_lanes;
      within = within && t[s] >= 0 && t[s] + Taps <= turn.reach[s];
    }
    if (within) {
      float sum[Sequences][Taps];  // all are read before one is written: they are different ones
#pragma unroll
      for (int s = 0; s < Sequences; ++s)
#pragma unroll
        for (int j = 0; j < Taps; ++j) sum[s][j] = to[s][j * warp_lanes] + d[s] * v[u][j];
#pragma unroll
      for (int s = 0; s < Sequences; ++s)
#pragma unroll
        for (int j = 0; j < Taps; ++j) to[s][j * warp_lanes] = sum[s][j];
    } else {
#pragma unroll
      for (int s = 0; s < Sequences; ++s)
#pragma unroll
        for (int j = 0; j < Taps; ++j)
          if (t[s] + j >= 0 && t[s] + j < turn.reach[s]) to[s][j * warp_lanes] += d[s] * v[u][j];
    }
  }
}

/// For ops that share d_x, a block per `Sequences` of them, up to 64 steps and 32 channels, a lane for each. The warps
/// take the filters of all ops in turns and add what each gives to those steps where it won, every warp to a tile of
/// its own for each sequence, which are added up in the end. Weights do not depend on where a filter won: they are read
/// once for all sequences, those of several filters at a time.
template <int Sequences>
__global__ void input_gradients(Group<Backward> group) {
  after_previous();
  DYN_SHARED(float, sums);  // [warps][Sequences][rows][32]
  const Backward& shared = group.of[0];
  const int tiles = cover(shared.C, warp_lanes), warps = static_cast<int>(blockDim.x) / warp_lanes;
  const int block = static_cast<int>(blockIdx.x), b = block / tiles * Sequences,
            c = block % tiles * warp_lanes + lane_id();
  const int rows = min(most_steps, shared.T), begin = static_cast<int>(blockIdx.y) * most_steps,
            steps = min(rows, shared.T - begin), tile = rows * warp_lanes;
  float* const column = sums + warp_id() * Sequences * tile + lane_id();
  for (int i = 0; i < Sequences * tile; i += warp_lanes) column[i] = 0;
  using Filters = Turn<Sequences>;
  const auto turn = [&](int op, int first) { return Filters(group, op, first, b, begin, steps); };
  for (Filters now = turn(0, warp_id() * filters_in_turn); now.op < group.count;) {
    const Filters next = turn(now.op, now.first + warps * filters_in_turn);  // is under way during this one
    const Backward& a = group.of[now.op];
    const float* w = a.turned + static_cast<std::int64_t>(now.first) * a.W * a.C + min(c, a.C - 1);
    bool meets = false;
    for (int s = 0; s < Sequences; ++s) meets = meets || (now.from[s] < now.reach[s] && now.from[s] + a.W > 0);
    for (unsigned left = __ballot_sync(all_lanes, meets); left;) {
      int filter[ahead];
#pragma unroll
      for (int u = 0; u < ahead; ++u, left &= left - 1) filter[u] = __ffs(static_cast<int>(left)) - 1;
      for (int tap = 0; tap < a.W; tap += taps_ahead) {
        const auto add = [&](auto taps) {
          add_taps<decltype(taps)::value>(now, filter, tap, w + tap * a.C, a.C, a.W * a.C, column, tile);
        };
        switch (a.W - tap) {
          case 1: add(std::integral_constant<int, 1>()); break;
          case 2: add(std::integral_constant<int, 2>()); break;
          case 3: add(std::integral_constant<int, 3>()); break;
          case 4: add(std::integral_constant<int, 4>()); break;
          default: add(std::integral_constant<int, taps_ahead>());
        }
      }
    }
    now = next;
  }
  __syncthreads();
  if (c >= shared.C) return;
  for (int i = warp_id(); i < Sequences * steps; i += warps) {
    const int s = i / steps, t = i % steps;
    if (b + s >= shared.B) break;
    float sum = 0;
    for (int w = 0; w < warps; ++w) sum += sums[((w * Sequences + s) * rows + t) * warp_lanes + lane_id()];
    float& to = shared.d_x[(static_cast<std::int64_t>(begin + t) * shared.B + b + s) * shared.C + c];
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
    const int columns = device::cover(a.C, device::warp_lanes), rows = std::min(a.T, device::most_steps);
    const int sequences = a.B * columns >= device::enough_blocks ? device::most_sequences : 1;
    const int warps = std::clamp(turns, 1, device::most_tiles / sequences);
    device::launch_through(
        ctx, name, sequences == 1 ? device::input_gradients<1> : device::input_gradients<device::most_sequences>,
        sharing,
        {.blocks = dim3(static_cast<unsigned>(device::cover(a.B, sequences) * columns),
                        static_cast<unsigned>(device::cover(a.T, device::most_steps))),
         .threads = static_cast<unsigned>(warps * device::warp_lanes),
         .shared = sizeof(float) * static_cast<std::size_t>(warps * sequences * rows * device::warp_lanes)});
  }
}

}  // namespace bib
