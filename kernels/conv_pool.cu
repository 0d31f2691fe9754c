// Fused convolution, ReLU and max over time: one block per sequence and 64 filters walks over tiles of 64 positions;
// the input rows of a tile are read once from global memory for all taps, the [P,B,F] activations exist in registers
// only. In fast math the products are bf16 on tensor cores, summed in fp32. Order of every sum: taps and channels as
// they lie in w. Backward: conv_pool_backward.cu.
#include "bib/ops/conv_pool.h"
#include "kernels/conv_pool.h"
#include "kernels/group.h"
#include "kernels/mma.h"

namespace bib {
namespace device {
namespace {

constexpr int tile = 64, channels = 16, threads = 256, side = 16;

/// Best of the positions seen so far; ties go to the earlier one.
struct Best {
  float value;
  int at;
  __device__ void take(float v, int p) {
    if (v > value || (v == value && p < at) || (v != v && value == value)) value = v, at = p;
  }
};

struct Forward {
  Input x;
  const int* lengths;
  const float *w, *b;
  float* y;
  int* where;
  int B, C, W, F, Y, pad, column;
  unsigned blocks;  // one per sequence and `tile` filters
  __device__ void write(int sequence, int filter, const Best& winner) const {
    const float v = winner.value + b[filter];
    const bool cut = v <= 0;
    y[static_cast<std::int64_t>(sequence) * Y + column + filter] = cut ? 0.0f : v;
    if (where) where[static_cast<std::int64_t>(sequence) * F + filter] = cut ? -1 : winner.at;
  }
};

/// Loads rows from step `first` of sequence b, channels from c, transposed; zeros outside of the sequence.
__device__ void load_rows(const Forward& a, int b, int length, int first, int c, int rows, float* to, int stride) {
  const auto get = [&](int i) {
    const int t = first + i / channels, k = c + i % channels;
    const float* row = t >= 0 && t < length ? a.x.row(t, b) : nullptr;
    return row && k < a.C ? row[k] : 0.0f;
  };
  bring<5>(rows * channels, get, [&](int i, float v) { to[i % channels * stride + i / channels] = v; });
}

__device__ void load_filters(const Forward& a, int tap, int c, int f, float (*to)[tile]) {
  const auto get = [&](int i) {
    const int k = c + i / tile, g = f + i % tile;
    return k < a.C && g < a.F ? a.w[(static_cast<std::int64_t>(tap) * a.C + k) * a.F + g] : 0.0f;
  };
  bring<4>(tile * channels, get, [&](int i, float v) { to[i / tile][i % tile] = v; });
}

/// Thread (x, y) of 16 x 16 owns filters 4x..4x+3 and positions y, y+16, y+32, y+48 of every tile.
__global__ void __launch_bounds__(threads, 2) best_positions(Group<Forward> group) {
  after_previous(Next::later);
  DYN_SHARED(float, rows);  // [channels][stride]: tile + W - 1 rows of the input
  SHARED(float, filters, [channels][tile]);
  SHARED(float, best_value, [side][tile]);
  SHARED(int, best_at, [side][tile]);
  const auto [a, block] = group.mine();
  const int stride = tile + a.W, tiles = cover(a.F, tile);
  const int f = block % tiles * tile, b = block / tiles;
  const int x = static_cast<int>(threadIdx.x) % side, y = static_cast<int>(threadIdx.x) / side;
  const int length = a.lengths[b], positions = max(1, length + 2 * a.pad - a.W + 1);
  Best best[4];
  for (auto& it : best) it = {-INFINITY, 0x7FFFFFFF};
  for (int p = 0; p < positions; p += tile) {
    float sum[4][4] = {};
    for (int c = 0; c < a.C; c += channels) {
      __syncthreads();
      load_rows(a, b, length, p - a.pad, c, tile + a.W - 1, rows, stride);
      for (int tap = 0; tap < a.W; ++tap) {
        if (tap > 0) __syncthreads();
        load_filters(a, tap, c, f, filters);
        __syncthreads();
        for (int k = 0; k < channels; ++k) {
          const float4 v = load4(&filters[k][4 * x]);
          const float vs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const float u = rows[k * stride + y + side * i + tap];
#pragma unroll
            for (int j = 0; j < 4; ++j) sum[i][j] += u * vs[j];
          }
        }
      }
    }
    for (int i = 0; i < 4; ++i) {
      const int at = p + y + side * i;
      if (at >= positions) break;
      for (int j = 0; j < 4; ++j) best[j].take(sum[i][j], at);
    }
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

// ---- forward on tensor cores ----

constexpr int depth = 32;                      // channels at a time
constexpr int row_words = depth / 2 + 4;       // of pairs: eight rows meet no bank twice
constexpr std::size_t most_pairs = 92 * 1024;  // two blocks per multiprocessor; wider windows take the other way
constexpr int most_sequences = 2;              // of a block

constexpr std::size_t pair_bytes(int W, int sequences) {
  return sizeof(unsigned) * row_words * static_cast<std::size_t>(sequences * (tile + W - 1) + tile * W);
}

#ifdef BIB_TENSOR_CORES
constexpr int row_warps = 4, filter_warps = 2;  // of a block: 16 positions and 32 filters each
constexpr int filter_tiles = tile / filter_warps / 8;

/// rows[r][word]: channels c.. of step first + r of sequence b as pairs of bf16.
__device__ void load_pairs(const Forward& a, int b, int length, int first, int c, int rows, unsigned* to) {
  const auto get = [&](int i) {
    const int t = first + i / (depth / 2), k = c + 2 * (i % (depth / 2));
    const float* x = t >= 0 && t < length ? a.x.row(t, b) : nullptr;
    return make_float2(x && k < a.C ? x[k] : 0.0f, x && k + 1 < a.C ? x[k + 1] : 0.0f);
  };
  bring<5>(rows * (depth / 2), get,
           [&](int i, float2 v) { to[i / (depth / 2) * row_words + i % (depth / 2)] = pack_bf16(v.x, v.y); });
}

/// filters[tap][g][word]: channels c.. of filter f + g as pairs of bf16.
__device__ void load_filter_pairs(const Forward& a, int c, int f, unsigned* to) {
  const auto get = [&](int i) {
    const int g = f + i % tile, k = c + 2 * (i / tile % (depth / 2)), tap = i / tile / (depth / 2);
    const float* w = a.w + (static_cast<std::int64_t>(tap) * a.C + k) * a.F + g;
    return make_float2(g < a.F && k < a.C ? w[0] : 0.0f, g < a.F && k + 1 < a.C ? w[a.F] : 0.0f);
  };
  bring<5>(a.W * (depth / 2) * tile, get, [&](int i, float2 v) {
    to[(i / tile / (depth / 2) * tile + i % tile) * row_words + i / tile % (depth / 2)] = pack_bf16(v.x, v.y);
  });
}
#endif

/// A block takes `Sequences` of them, so that these share the filters it loads. Warp w takes positions 16 (w % 4) ..
/// and filters 32 (w / 4) .. of every tile; lanes as in mma.h.
template <int Sequences>
__global__ void __launch_bounds__(threads, 2) best_positions_fast(Group<Forward> group) {
  after_previous(Next::later);
#ifdef BIB_TENSOR_CORES
  DYN_SHARED(unsigned, words);  // the rows of a tile of each sequence, then the filters of all taps
  SHARED(float, best_value, [Sequences][row_warps][tile]);
  SHARED(int, best_at, [Sequences][row_warps][tile]);
  const auto [a, block] = group.mine();
  const int rows = tile + a.W - 1, tiles = cover(a.F, tile);
  unsigned* const filters = words + Sequences * rows * row_words;
  const int f = block % tiles * tile, b = block / tiles * Sequences;
  const int row = 16 * (warp_id() % row_warps), column = tile / filter_warps * (warp_id() / row_warps);
  const int g = lane_id() / 4, q = lane_id() % 4;
  int length[Sequences], positions[Sequences], most = 0;
#pragma unroll
  for (int s = 0; s < Sequences; ++s) {
    length[s] = b + s < a.B ? a.lengths[b + s] : 0;
    positions[s] = b + s < a.B ? max(1, length[s] + 2 * a.pad - a.W + 1) : 0;
    most = max(most, positions[s]);
  }
  Best best[Sequences][filter_tiles][2];
  for (auto& of_sequence : best)
    for (auto& pair : of_sequence)
      for (auto& it : pair) it = {-INFINITY, 0x7FFFFFFF};
  for (int p = 0; p < most; p += tile) {
    float sum[Sequences][filter_tiles][4] = {};
    for (int c = 0; c < a.C; c += depth) {
      __syncthreads();
#pragma unroll
      for (int s = 0; s < Sequences; ++s)
        load_pairs(a, b + s, length[s], p - a.pad, c, rows, words + s * rows * row_words);
      load_filter_pairs(a, c, f, filters);
      __syncthreads();
      for (int tap = 0; tap < a.W; ++tap)
#pragma unroll
        for (int k = 0; k < depth / 2; k += 8) {
          uint4 left[Sequences];
#pragma unroll
          for (int s = 0; s < Sequences; ++s) {
            const unsigned* x = words + (s * rows + row + g + tap) * row_words + k + q;
            left[s] = make_uint4(x[0], x[8 * row_words], x[4], x[8 * row_words + 4]);
          }
#pragma unroll
          for (int n = 0; n < filter_tiles; ++n) {
            const unsigned* w = filters + (tap * tile + column + 8 * n + g) * row_words + k + q;
#pragma unroll
            for (int s = 0; s < Sequences; ++s) mma_bf16(sum[s][n], left[s], w[0], w[4]);
          }
        }
    }
#pragma unroll
    for (int s = 0; s < Sequences; ++s)
      for (int half = 0; half < 2; ++half) {
        const int at = p + row + g + 8 * half;
        if (at < positions[s])
          for (int n = 0; n < filter_tiles; ++n)
            for (int j = 0; j < 2; ++j) best[s][n][j].take(sum[s][n][2 * half + j], at);
      }
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
}  // namespace device

void on_cuda(Context& ctx, std::span<const ConvPoolForward> ops) {
  const bool tensor_cores = ctx.cuda().math == Math::fast && ctx.cuda().compute_major >= 8;
  std::vector<device::Forward> fast, strict;
  int fast_blocks = 0, widest = 0;
  device::Grid grid{.threads = device::threads};
  for (const ConvPoolForward& op : ops) {
    const int B = op.batch(), W = op.w.dim(0), C = op.w.dim(1), F = op.w.dim(2);
    const device::Forward job{.x = device::input_of(op),
                              .lengths = op.lengths.data,
                              .w = op.w.data,
                              .b = op.b.data,
                              .y = op.y.data,
                              .where = op.where.data,
                              .B = B,
                              .C = C,
                              .W = W,
                              .F = F,
                              .Y = op.y.dim(1),
                              .pad = op.pad,
                              .column = op.column,
                              .blocks = static_cast<unsigned>(B * device::cover(F, device::tile))};
    if (tensor_cores && device::pair_bytes(W, device::most_sequences) <= device::most_pairs) {
      fast.push_back(job);
      fast_blocks += static_cast<int>(job.blocks);
      widest = std::max(widest, W);
    } else {
      strict.push_back(job);
      grid.shared =
          std::max(grid.shared, sizeof(float) * device::channels * static_cast<std::size_t>(device::tile + W));
    }
  }
  constexpr std::string_view name = ConvPoolForward::name;
  device::launch_all(ctx, name, device::best_positions, std::span<const device::Forward>(strict), grid);
  // Two sequences to a block where there are more of them than run at once.
  const int sequences = fast_blocks > 2 * ctx.cuda().multiprocessors ? device::most_sequences : 1;
  for (device::Forward& job : fast)
    job.blocks = static_cast<unsigned>(device::cover(job.B, sequences) * device::cover(job.F, device::tile));
  grid.shared = device::pair_bytes(widest, sequences);
  device::launch_all(ctx, name, sequences == 1 ? device::best_positions_fast<1> : device::best_positions_fast<2>,
                     std::span<const device::Forward>(fast), grid);
}

}  // namespace bib
