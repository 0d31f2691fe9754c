// Gradients of the fused convolution, from the winning positions alone: of filters by a block per tap of one or four
// filters, of the input by a block per one or two sequences, 64 steps and 32 channels. Every sum is cut by the shape
// alone and added in a fixed order. No atomics.
#include "bib/ops/conv_pool.h"
#include "kernels/conv_pool.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"

namespace bib {
namespace device {
namespace {

/// 2^bits filters next to each other, which threads take in turns.
struct Filters {
  int bits;
  __host__ __device__ constexpr int count() const { return 1 << bits; }
  __device__ int of(int i) const { return i & ((1 << bits) - 1); }
  __device__ int rest(int i) const { return i >> bits; }
};

struct Backward {
  Input x;
  const int *lengths, *where;
  const float *w, *d_y;
  float *d_x, *d_w, *d_b;
  float* turned;  // w with the channels of a filter side by side: [F,W,C]
  int T, B, C, W, F, Y, pad, column;
  bool add_d_x;
  Filters filters;     // of a block of filter_gradients
  bool wide;           // rows are read four channels at a time
  RowThreads threads;  // along the channels
  unsigned blocks;     // one per so many filters and tap
};

constexpr int threads = static_cast<int>(RowThreads::all);
constexpr Filters one_filter{0}, four_filters{2};  // of a block: it reads and writes what lies side by side in w
constexpr int enough_taps = 256;                   // of all filters, from which on a block takes four
constexpr int sums_of_filter = threads * 4 + 8;    // four filters' sums meet no bank twice

/// What a sequence adds to a filter: `factor` of this row of x; -1: nothing.
struct alignas(8) Winner {
  int row;
  float factor;
};
struct Found {
  Winner winner;
  float d;
};
__device__ Found find(const Backward& a, int b, int f, int tap) {
  if (f >= a.F) return {{-1, 0}, 0};
  const int p = a.where[static_cast<std::int64_t>(b) * a.F + f], t = p + tap - a.pad, length = a.lengths[b];
  const float d_y = a.d_y[static_cast<std::int64_t>(b) * a.Y + a.column + f], d = p < 0 ? 0.0f : d_y;
  const int row = p >= 0 && t >= 0 && t < length ? a.x.index(t, b) : -1;
  return {{row, row < 0 ? 0.0f : d}, d};
}

/// Sums of N channels, of a filter, by the threads of a row for a slice of the sequences.
template <int N>
__device__ __forceinline__ void add_winners(const Backward& a, const Winner* winners, int count, int c, float* to) {
  Floats<N> sum{};
#pragma unroll 8
  for (int j = a.threads.row(); j < count; j += a.threads.rows()) {
    const Winner winner = winners[j];
    const Floats<N> x = winner.row < 0 ? Floats<N>{} : load<N>(a.x.at(winner.row) + c);
    for (int n = 0; n < N; ++n) sum[n] += winner.factor * x[n];
  }
  store(to, sum);
}

/// What the sequences add to a tap of one or four filters, whose winning rows are found for 256 sequences at a time;
/// then the rows of threads are slices of these, added in their order.
__global__ void __launch_bounds__(threads, 3) filter_gradients(Group<Backward> group) {
  after_previous();
  SHARED(Winner, winners, [four_filters.count()][threads]);
  SHARED(float, sums, [four_filters.count() * sums_of_filter]);
  const auto [a, block] = group.mine();
  const Filters filters = a.filters;
  const int groups = cover(a.F, filters.count()), f = block % groups * filters.count(), tap = block / groups;
  const int thread = static_cast<int>(threadIdx.x), slices = a.threads.rows();
  const int each = a.wide ? 4 : 1, width = a.threads.width() * each;
  const auto there = [&](int i) { return f + filters.of(i) < a.F; };
  const auto in_w = [&](int i, int begin) {
    return (static_cast<std::int64_t>(tap) * a.C + begin + filters.rest(i)) * a.F + f + filters.of(i);
  };
  float bias = 0;  // of filter filters.of(thread)
  for (int first = 0; first < a.B; first += threads) {
    const int count = min(threads, a.B - first);
    bring<2>(
        count * filters.count(), [&](int i) { return find(a, first + filters.rest(i), f + filters.of(i), tap); },
        [&](int i, const Found& found) {
          winners[filters.of(i)][filters.rest(i)] = found.winner;
          bias += found.d;
        });
    __syncthreads();
    for (int begin = 0; begin < a.C; begin += width) {
      const int column = a.threads.along() * each, c = begin + column;
      for (int g = 0; c < a.C && g < filters.count(); ++g) {
        float* const to = sums + g * sums_of_filter + a.threads.row() * width + column;
        if (a.wide) {
          add_winners<4>(a, winners[g], count, c, to);
        } else {
          add_winners<1>(a, winners[g], count, c, to);
        }
      }
      __syncthreads();
      const auto sum_of = [&](int i) {
        if (!there(i)) return make_float2(0, 0);
        const float before = a.d_w[in_w(i, begin)];
        const float* const slice = sums + filters.of(i) * sums_of_filter + filters.rest(i);
        float sum = slice[0];
#pragma unroll 2
        for (int s = 1; s < slices; ++s) sum += slice[s * width];
        return make_float2(before, sum);
      };
      bring<4>(min(width, a.C - begin) * filters.count(), sum_of, [&](int i, float2 sum) {
        if (there(i)) a.d_w[in_w(i, begin)] = sum.x + sum.y;
      });
      __syncthreads();
    }
  }
  bring<5>(
      a.C * filters.count(), [&](int i) { return there(i) ? a.w[in_w(i, 0)] : 0.0f; },
      [&](int i, float w) {
        const std::int64_t to = static_cast<std::int64_t>(f + filters.of(i)) * a.W + tap;
        if (there(i)) a.turned[to * a.C + filters.rest(i)] = w;
      });
  if (tap != 0) return;
  for (int g = 0; g < filters.count(); ++g) {
    const float sum = block_sum(filters.of(thread) == g ? bias : 0.0f);
    if (thread == 0 && there(g)) a.d_b[f + g] += sum;
  }
}

constexpr int filters_in_turn = 16;             // that a warp takes before the next one's
constexpr int most_steps = 64, most_tiles = 8;  // of a block: 64 KiB of sums, what one of sm_75 may have
constexpr int ahead = 4, taps_ahead = 5;        // filters and taps that a lane loads before it adds the first
constexpr int most_sequences = 2;               // of a block
constexpr int enough_blocks = 256;              // of one sequence, from which on a block takes two

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
  const auto turn = [&](int op, int first) { return Turn<Sequences>(group, op, first, b, begin, steps); };
  for (Turn<Sequences> now = turn(0, warp_id() * filters_in_turn); now.op < group.count;) {
    const Turn<Sequences> next = turn(now.op, now.first + warps * filters_in_turn);  // is under way during this one
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
    const device::Input x = device::input_of(op);
    const bool wide = C % 4 == 0 && device::aligned(x.rows);
    const device::Filters filters = F * W >= device::enough_taps ? device::four_filters : device::one_filter;
    jobs.push_back({.x = x,
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
                    .filters = filters,
                    .wide = wide,
                    .threads = device::row_threads(wide ? C / 4 : C, 8),
                    .blocks = static_cast<unsigned>(device::cover(F, filters.count()) * W)});
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
