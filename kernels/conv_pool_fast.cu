// The forward pass of conv_pool.cu on tensor cores: products of fp16, summed in fp32. A first launch rounds the input,
// looked up, and the filters once for all blocks, in 16 bytes of eight channels, so that the second one brings them to
// shared memory by cp.async: 32 channels and up to five taps at a time, the next ones while these are multiplied. Order
// of every sum: 32 channels after 32, taps within, as they lie in w.
#include "bib/ops/conv_pool.h"
#include "kernels/conv_pool_forward.h"
#include "kernels/elementwise.h"
#include "kernels/mma.h"

namespace bib::device {
namespace {

constexpr int tile = conv_tile, threads = conv_threads;
constexpr int depth = 32;                         // channels at a time
constexpr int chunk = 8, chunks = depth / chunk;  // channels of 16 bytes
constexpr int row_words = depth / 2 + 4;          // of pairs in shared memory: eight rows meet no bank twice
constexpr int most_taps = 5;                      // at a time
constexpr int most_sequences = 2;                 // of a block
constexpr std::size_t most_shared = 92 * 1024;    // what a block of any GPU with such tensor cores may have

/// Taps at a time: as many each time, of the fewest times.
__host__ __device__ constexpr int taps_of(int W) { return cover(W, cover(W, most_taps)); }

constexpr std::size_t shared_bytes(int W, int sequences) {
  return 2 * sizeof(unsigned) * row_words * static_cast<std::size_t>(sequences * (tile + W - 1) + taps_of(W) * tile);
}

/// What the first launch rounds: rows of x to [T,B,slices,chunks] or, where w is given, filters to
/// [tiles,slices,W,chunks,tile], each of eight channels; zeros behind the last channel and filter.
struct Rounding {
  Input x;
  const int* lengths;
  const float* w;
  uint4* to;
  int slices, W, F;
  bool wide;  // rows of x may be read four channels at a time
  std::int64_t size;
  unsigned blocks;
};

struct Fast {
  ConvForward op;
  const uint4 *rows, *filters;
  int slices;
  unsigned blocks;  // one per `Sequences` sequences and `tile` filters
};

#ifdef BIB_TENSOR_CORES
/// `at(j)` for j = 0..7.
template <class F>
__device__ __forceinline__ uint4 rounded(F&& at) {
  return make_uint4(pack<Format::fp16>(at(0), at(1)), pack<Format::fp16>(at(2), at(3)),
                    pack<Format::fp16>(at(4), at(5)), pack<Format::fp16>(at(6), at(7)));
}

__device__ void round_filter(const Rounding& a, std::int64_t i) {
  const int of_slice = a.W * chunks * tile, slice = static_cast<int>(i / of_slice),
            rest = static_cast<int>(i % of_slice);
  const int f = slice / a.slices * tile + rest % tile, tap = rest / (chunks * tile);
  const int c = slice % a.slices * depth + rest / tile % chunks * chunk;
  const float* const w = a.w + (static_cast<std::int64_t>(tap) * a.x.C + c) * a.F + f;
  a.to[i] = rounded([&](int j) { return f < a.F && c + j < a.x.C ? w[static_cast<std::int64_t>(j) * a.F] : 0.0f; });
}

__device__ void round_row(const Rounding& a, std::int64_t i) {
  const int of_row = a.slices * chunks, c = static_cast<int>(i % of_row) * chunk;
  const std::int64_t row = i / of_row;
  const int t = static_cast<int>(row / a.x.B), b = static_cast<int>(row % a.x.B);
  if (t >= a.lengths[b]) return;
  const int index = a.x.index(t, b);
  const float* const x = index < 0 ? nullptr : a.x.at(index) + c;
  if (a.wide && x && c + chunk <= a.x.C) {
    const Floats<4> low = load<4>(x), high = load<4>(x + 4);
    a.to[i] = rounded([&](int j) { return j < 4 ? low[j % 4] : high[j % 4]; });
  } else {
    a.to[i] = rounded([&](int j) { return x && c + j < a.x.C ? x[j] : 0.0f; });
  }
}
#endif

__global__ void round_all(Group<Rounding> group) {
  after_previous();
#ifdef BIB_TENSOR_CORES
  const auto [a, block] = group.mine();
  const std::int64_t i = static_cast<std::int64_t>(block) * threads + threadIdx.x;
  if (i >= a.size) return;
  if (a.w) {
    round_filter(a, i);
  } else {
    round_row(a, i);
  }
#endif
}

#ifdef BIB_TENSOR_CORES
constexpr int row_warps = 4, filter_warps = 2;  // of a block: 16 positions and 32 filters each
constexpr int filter_tiles = tile / filter_warps / 8;
#endif

/// A block takes `Sequences` of them, so that these share the filters it reads. Warp w takes positions 16 (w % 4) ..
/// and filters 32 (w / 4) .. of every tile; lanes as in mma.h.
template <int Sequences>
__global__ void __launch_bounds__(threads, 2) best_positions_fast(Group<Fast> group) {
  after_previous(Next::later);
#ifdef BIB_TENSOR_CORES
  DYN_SHARED(unsigned, words);  // two of each in turns: the rows of a tile of each sequence; filters of some taps
  SHARED(float, best_value, [Sequences][row_warps][tile]);
  SHARED(int, best_at, [Sequences][row_warps][tile]);
  const auto [fast, block] = group.mine();
  const ConvForward& a = fast.op;
  const int rows = tile + a.W - 1, taps = taps_of(a.W), tiles = cover(a.F, tile);
  const int rows_side = Sequences * rows * row_words, filters_side = taps * tile * row_words;
  unsigned* const filters = words + 2 * rows_side;
  const int f = block % tiles * tile, b = block / tiles * Sequences, thread = static_cast<int>(threadIdx.x);
  const int row = 16 * (warp_id() % row_warps), column = tile / filter_warps * (warp_id() / row_warps);
  const int lane = lane_id(), g = lane / 4, q = lane % 4;
  int length[Sequences], positions[Sequences], most = 0;
#pragma unroll
  for (int s = 0; s < Sequences; ++s) {
    length[s] = b + s < a.B ? a.lengths[b + s] : 0;
    positions[s] = b + s < a.B ? max(1, length[s] + 2 * a.pad - a.W + 1) : 0;
    most = max(most, positions[s]);
  }
  const auto bring_stage = [&](const ConvStage& stage, unsigned* rows_to, unsigned* filters_to) {
#pragma unroll
    for (int s = 0; s < Sequences; ++s)
      for (int i = thread; stage.tap == 0 && i < rows * chunks; i += threads) {
        const int t = stage.p - a.pad + i / chunks;
        const bool there = t >= 0 && t < length[s];
        const std::int64_t from = there ? (static_cast<std::int64_t>(t) * a.B + b + s) * fast.slices + stage.slice : 0;
        copy_async<16>(rows_to + (s * rows + i / chunks) * row_words + 4 * (i % chunks),
                       fast.rows + from * chunks + i % chunks, there);
      }
    // A thread brings the same place of every tap.
    const int count = min(taps, a.W - stage.tap);
    const uint4* from =
        fast.filters + (static_cast<std::int64_t>(f / tile * fast.slices + stage.slice) * a.W + stage.tap) * threads;
    unsigned* const to = filters_to + thread % tile * row_words + 4 * (thread / tile);
    for (int tap = 0; tap < count; ++tap)
      copy_async<16>(to + tap * tile * row_words, from + tap * threads + thread, true);
    copy_commit();
  };
  static_assert(threads == chunks * tile);
  Best best[Sequences][filter_tiles][2];
  for (auto& of_sequence : best)
    for (auto& pair : of_sequence)
      for (auto& it : pair) it = {-INFINITY, row + g};  // the lane's first, should all be as low
  float sum[Sequences][filter_tiles][4] = {};
  unsigned *rows_now = words, *rows_next = words + rows_side, *filters_now = filters,
           *filters_next = filters + filters_side;
  ConvStage stage;
  bring_stage(stage, rows_now, filters_now);
  while (stage.p < most) {
    const ConvStage next = stage.next(taps, a.W, fast.slices);
    unsigned* const rows_to = next.tap == 0 ? rows_next : rows_now;
    copy_wait<0>();
    __syncthreads();  // all have come, and nobody reads what the next ones go to
    if (next.p < most) bring_stage(next, rows_to, filters_next);
    // A warp past the last position has nothing that could win.
    const int count = stage.p + row < most ? min(taps, a.W - stage.tap) : 0;
#pragma unroll 1
    for (int tap = 0; tap < count; ++tap) {
      const unsigned* const x = rows_now + (row + lane % 16 + stage.tap + tap) * row_words + 4 * (lane / 16);
      const unsigned* const w =
          filters_now + (tap * tile + column + lane / 16 * 8 + lane % 8) * row_words + 4 * (lane / 8 % 2);
#pragma unroll
      for (int k = 0; k < depth / 2; k += 8) {
        unsigned left[Sequences][4], right[filter_tiles / 2][4];
#pragma unroll
        for (int s = 0; s < Sequences; ++s) load_matrices(left[s], x + s * rows * row_words + k);
#pragma unroll
        for (int n = 0; n < filter_tiles / 2; ++n) load_matrices(right[n], w + 16 * n * row_words + k);
#pragma unroll
        for (int n = 0; n < filter_tiles; ++n)
#pragma unroll
          for (int s = 0; s < Sequences; ++s)
            mma<Format::fp16>(sum[s][n], make_uint4(left[s][0], left[s][1], left[s][2], left[s][3]),
                              right[n / 2][n % 2 * 2], right[n / 2][n % 2 * 2 + 1]);
      }
    }
    if (next.first_of_tile()) {
#pragma unroll
      for (int s = 0; s < Sequences; ++s)
        for (int half = 0; half < 2; ++half) {
          const int at = stage.p + row + g + 8 * half;
          for (int n = 0; n < filter_tiles; ++n)
            for (int j = 0; j < 2; ++j) {
              best[s][n][j].take_later(sum[s][n][2 * half + j], at, at < positions[s]);
              sum[s][n][2 * half + j] = 0;
            }
        }
    }
    if (next.tap == 0) rows_next = rows_now, rows_now = rows_to;
    std::swap(filters_now, filters_next);
    stage = next;
  }
#pragma unroll
  for (int s = 0; s < Sequences; ++s)
    for (int n = 0; n < filter_tiles; ++n)
      for (int j = 0; j < 2; ++j) {
        Best& mine = best[s][n][j];
        for (int bits = 4; bits < warp_lanes; bits *= 2) {  // the lanes with the same q hold other positions
          const float value = __shfl_xor_sync(all_lanes, mine.value, bits);
          const int at = __shfl_xor_sync(all_lanes, mine.at, bits);
          mine.take(value, at);
        }
        if (g == 0) {
          best_value[s][warp_id() % row_warps][column + 8 * n + 2 * q + j] = mine.value;
          best_at[s][warp_id() % row_warps][column + 8 * n + 2 * q + j] = mine.at;
        }
      }
  __syncthreads();
  const int filter = static_cast<int>(threadIdx.x) % tile, s = static_cast<int>(threadIdx.x) / tile;
  if (s >= Sequences || b + s >= a.B || f + filter >= a.F) return;
  Best winner{best_value[s][0][filter], best_at[s][0][filter]};
  for (int i = 1; i < row_warps; ++i) winner.take(best_value[s][i][filter], best_at[s][i][filter]);
  a.write(b + s, f + filter, winner);
#endif
}

}  // namespace

bool conv_pool_fits_fast(int W) { return shared_bytes(W, most_sequences) <= most_shared; }

void conv_pool_fast(Context& ctx, const std::vector<ConvForward>& ops) {
  ArenaScope scratch(ctx.arena());
  std::vector<Rounding> roundings;
  std::vector<Fast> jobs;
  const auto round = [&](Rounding a) {
    a.to = reinterpret_cast<uint4*>(ctx.arena().make<unsigned, 2>({static_cast<int>(a.size), 4}).data);
    a.blocks = static_cast<unsigned>((a.size + threads - 1) / threads);
    roundings.push_back(a);
    return a.to;
  };
  int blocks = 0;
  std::size_t shared[most_sequences + 1] = {};
  for (const ConvForward& op : ops) {
    const int slices = cover(op.C, depth);
    // Windows read one input: it is rounded once.
    const auto same = std::find_if(jobs.begin(), jobs.end(), [&](const Fast& other) {
      const ConvForward& o = other.op;
      return o.x.rows == op.x.rows && o.x.ids == op.x.ids && o.lengths == op.lengths && o.T == op.T && o.B == op.B &&
             o.C == op.C;
    });
    Fast job{.op = op, .slices = slices};
    job.rows = same != jobs.end() ? same->rows
                                  : round({.x = op.x,
                                           .lengths = op.lengths,
                                           .slices = slices,
                                           .wide = op.C % 4 == 0 && aligned(op.x.rows),
                                           .size = static_cast<std::int64_t>(op.T) * op.B * slices * chunks});
    job.filters = round({.x = op.x,
                         .w = op.w,
                         .slices = slices,
                         .W = op.W,
                         .F = op.F,
                         .size = static_cast<std::int64_t>(cover(op.F, tile)) * slices * op.W * chunks * tile});
    jobs.push_back(job);
    blocks += static_cast<int>(op.blocks);
    for (int s = 1; s <= most_sequences; ++s) shared[s] = std::max(shared[s], shared_bytes(op.W, s));
  }
  // Two sequences to a block where there are more of them than run at once.
  const int sequences = blocks > 2 * ctx.cuda().multiprocessors ? most_sequences : 1;
  for (Fast& job : jobs) job.blocks = static_cast<unsigned>(cover(job.op.B, sequences) * cover(job.op.F, tile));
  constexpr std::string_view name = ConvPoolForward::name;
  launch_all(ctx, name, round_all, std::span<const Rounding>(roundings));
  launch_all(ctx, name, sequences == 1 ? best_positions_fast<1> : best_positions_fast<most_sequences>,
             std::span<const Fast>(jobs), {.threads = threads, .shared = shared[sequences]});
}

}  // namespace bib::device
