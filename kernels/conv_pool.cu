// Fused convolution, ReLU and max over time. Forward: one block per sequence and 64 filters walks over tiles of 64
// positions; the input rows of a tile are read once from global memory for all taps, the [P,B,F] activations exist in
// registers only. In fast math the products are bf16 on tensor cores, summed in fp32. Backward touches the winning
// positions alone.
// Order of every sum: taps and channels as they lie in w; filters, then sequences, rising. No atomics.
#include "bib/ops/conv_pool.h"
#include "kernels/elementwise.h"
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
  const float* x;
  const int* lengths;
  const float *w, *b;
  float* y;
  int* where;
  int B, C, W, F, Y, pad, column;
  __device__ void write(int sequence, int filter, const Best& winner) const {
    const float v = winner.value + b[filter];
    const bool cut = v <= 0;
    y[static_cast<std::int64_t>(sequence) * Y + column + filter] = cut ? 0.0f : v;
    if (where) where[static_cast<std::int64_t>(sequence) * F + filter] = cut ? -1 : winner.at;
  }
};

/// Loads rows from step `first` of sequence b, channels from c, transposed; zeros outside of the sequence.
__device__ void load_rows(const Forward& a, int b, int length, int first, int c, int rows, float* to, int stride) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * channels; i += threads) {
    const int t = first + i / channels, k = c + i % channels;
    const bool there = t >= 0 && t < length && k < a.C;
    to[i % channels * stride + i / channels] = there ? a.x[(static_cast<std::int64_t>(t) * a.B + b) * a.C + k] : 0.0f;
  }
}

__device__ void load_filters(const Forward& a, int tap, int c, int f, float (*to)[tile]) {
  for (int i = static_cast<int>(threadIdx.x); i < tile * channels; i += threads) {
    const int k = c + i / tile, g = f + i % tile;
    to[i / tile][i % tile] = k < a.C && g < a.F ? a.w[(static_cast<std::int64_t>(tap) * a.C + k) * a.F + g] : 0.0f;
  }
}

/// Thread (x, y) of 16 x 16 owns filters 4x..4x+3 and positions y, y+16, y+32, y+48 of every tile.
__global__ void __launch_bounds__(threads, 2) best_positions(Forward a) {
  DYN_SHARED(float, rows);  // [channels][stride]: tile + W - 1 rows of the input
  SHARED(float, filters, [channels][tile]);
  SHARED(float, best_value, [side][tile]);
  SHARED(int, best_at, [side][tile]);
  const int stride = tile + a.W;
  const int f = static_cast<int>(blockIdx.x) * tile, b = static_cast<int>(blockIdx.y);
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
constexpr std::size_t most_pairs = 96 * 1024;  // two blocks per multiprocessor; wider windows take the other way

#ifdef BIB_TENSOR_CORES
constexpr int row_warps = 4, filter_warps = 2;  // of a block: 16 positions and 32 filters each
constexpr int filter_tiles = tile / filter_warps / 8;

/// rows[r][word]: channels c.. of step first + r of sequence b as pairs of bf16.
__device__ void load_pairs(const Forward& a, int b, int length, int first, int c, int rows, unsigned* to) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * (depth / 2); i += threads) {
    const int r = i / (depth / 2), word = i % (depth / 2), t = first + r, k = c + 2 * word;
    const bool there = t >= 0 && t < length;
    const float* x = a.x + (static_cast<std::int64_t>(there ? t : 0) * a.B + b) * a.C + k;
    to[r * row_words + word] = pack_bf16(there && k < a.C ? x[0] : 0.0f, there && k + 1 < a.C ? x[1] : 0.0f);
  }
}

/// filters[tap][g][word]: channels c.. of filter f + g as pairs of bf16.
__device__ void load_filter_pairs(const Forward& a, int c, int f, unsigned* to) {
  for (int i = static_cast<int>(threadIdx.x); i < a.W * (depth / 2) * tile; i += threads) {
    const int g = i % tile, word = i / tile % (depth / 2), tap = i / tile / (depth / 2), k = c + 2 * word;
    const float* w = a.w + (static_cast<std::int64_t>(tap) * a.C + k) * a.F + f + g;
    const bool there = f + g < a.F;
    to[(tap * tile + g) * row_words + word] =
        pack_bf16(there && k < a.C ? w[0] : 0.0f, there && k + 1 < a.C ? w[a.F] : 0.0f);
  }
}
#endif

/// Warp w takes positions 16 (w % 4) .. and filters 32 (w / 4) .. of every tile; lanes as in mma.h.
__global__ void __launch_bounds__(threads, 2) best_positions_fast(Forward a) {
#ifdef BIB_TENSOR_CORES
  DYN_SHARED(unsigned, words);  // the rows of a tile, then the filters of all taps
  SHARED(float, best_value, [row_warps][tile]);
  SHARED(int, best_at, [row_warps][tile]);
  const int rows = tile + a.W - 1;
  unsigned* const filters = words + rows * row_words;
  const int f = static_cast<int>(blockIdx.x) * tile, b = static_cast<int>(blockIdx.y);
  const int row = 16 * (warp_id() % row_warps), column = tile / filter_warps * (warp_id() / row_warps);
  const int g = lane_id() / 4, q = lane_id() % 4;
  const int length = a.lengths[b], positions = max(1, length + 2 * a.pad - a.W + 1);
  Best best[filter_tiles][2];
  for (auto& pair : best)
    for (auto& it : pair) it = {-INFINITY, 0x7FFFFFFF};
  for (int p = 0; p < positions; p += tile) {
    float sum[filter_tiles][4] = {};
    for (int c = 0; c < a.C; c += depth) {
      __syncthreads();
      load_pairs(a, b, length, p - a.pad, c, rows, words);
      load_filter_pairs(a, c, f, filters);
      __syncthreads();
      for (int tap = 0; tap < a.W; ++tap)
#pragma unroll
        for (int k = 0; k < depth / 2; k += 8) {
          const unsigned* x = words + (row + g + tap) * row_words + k + q;
          const uint4 left = make_uint4(x[0], x[8 * row_words], x[4], x[8 * row_words + 4]);
#pragma unroll
          for (int n = 0; n < filter_tiles; ++n) {
            const unsigned* w = filters + (tap * tile + column + 8 * n + g) * row_words + k + q;
            mma_bf16(sum[n], left, w[0], w[4]);
          }
        }
    }
    for (int half = 0; half < 2; ++half) {
      const int at = p + row + g + 8 * half;
      if (at >= positions) break;
      for (int n = 0; n < filter_tiles; ++n)
        for (int j = 0; j < 2; ++j) best[n][j].take(sum[n][2 * half + j], at);
    }
  }
  for (int n = 0; n < filter_tiles; ++n)
    for (int j = 0; j < 2; ++j) {
      Best& mine = best[n][j];
      for (int bits = 4; bits < warp_lanes; bits *= 2) {  // the lanes with the same q hold other positions
        const float value = __shfl_xor_sync(all_lanes, mine.value, bits);
        const int at = __shfl_xor_sync(all_lanes, mine.at, bits);
        mine.take(value, at);
      }
      if (g == 0) {
        best_value[warp_id() % row_warps][column + 8 * n + 2 * q + j] = mine.value;
        best_at[warp_id() % row_warps][column + 8 * n + 2 * q + j] = mine.at;
      }
    }
  __syncthreads();
  const int filter = static_cast<int>(threadIdx.x);
  if (filter >= tile || f + filter >= a.F) return;
  Best winner{best_value[0][filter], best_at[0][filter]};
  for (int i = 1; i < row_warps; ++i) winner.take(best_value[i][filter], best_at[i][filter]);
  a.write(b, f + filter, winner);
#endif
}

struct Backward {
  const float* x;
  const int *lengths, *where;
  const float *w, *d_y;
  float *d_x, *d_w, *d_b;
  int T, B, C, W, F, Y, pad, column;
  bool add_d_x;
};

/// One block per filter and tap: threads along the channels sum over the sequences.
__global__ void filter_gradients(Backward a) {
  const int f = static_cast<int>(blockIdx.x), tap = static_cast<int>(blockIdx.y);
  for (int c = static_cast<int>(threadIdx.x); c < a.C; c += static_cast<int>(blockDim.x)) {
    float sum = 0;
    for (int b = 0; b < a.B; ++b) {
      const int p = a.where[static_cast<std::int64_t>(b) * a.F + f], t = p + tap - a.pad;
      if (p < 0 || t < 0 || t >= a.lengths[b]) continue;
      sum += a.d_y[static_cast<std::int64_t>(b) * a.Y + a.column + f] *
             a.x[(static_cast<std::int64_t>(t) * a.B + b) * a.C + c];
    }
    a.d_w[(static_cast<std::int64_t>(tap) * a.C + c) * a.F + f] += sum;
  }
  if (tap != 0 || threadIdx.x != 0) return;
  float sum = 0;
  for (int b = 0; b < a.B; ++b)
    if (a.where[static_cast<std::int64_t>(b) * a.F + f] >= 0)
      sum += a.d_y[static_cast<std::int64_t>(b) * a.Y + a.column + f];
  a.d_b[f] += sum;
}

/// w[k,f] -> turned[f,k], so that the channels of a filter lie side by side.
struct Turn {
  const float* w;
  float* turned;
  int F, K;
  __device__ void operator()(std::int64_t i) const { turned[i] = w[i % K * F + i / K]; }
};

/// One warp per sequence and 32 channels: each lane adds the winners of its channel, filter by filter, to its column of
/// a tile of all steps, in shared memory where it fits, else in d_x itself.
template <bool in_shared>
__global__ void input_gradients(Backward a, const float* turned) {
  DYN_SHARED(float, sums);  // [T][32]
  const int b = static_cast<int>(blockIdx.y), c = static_cast<int>(blockIdx.x) * warp_lanes + lane_id();
  const bool mine = c < a.C;
  const std::int64_t step = static_cast<std::int64_t>(a.B) * a.C;
  float* d_x = a.d_x + static_cast<std::int64_t>(b) * a.C + c;
  const auto at = [&](int t) { return in_shared ? sums + t * warp_lanes + lane_id() : d_x + t * step; };
  if (!mine) return;  // lanes never meet in this kernel
  const bool keep = !in_shared && a.add_d_x;
  for (int t = 0; t < a.T; ++t)
    if (!keep) *at(t) = 0;
  for (int f = 0; f < a.F; ++f) {
    const int p = a.where[static_cast<std::int64_t>(b) * a.F + f];
    if (p < 0) continue;
    const float d = a.d_y[static_cast<std::int64_t>(b) * a.Y + a.column + f];
    const float* w = turned + static_cast<std::int64_t>(f) * a.W * a.C + c;
    const int first = p - a.pad;
    for (int tap = max(0, -first); tap < min(a.W, a.lengths[b] - first); ++tap) *at(first + tap) += d * w[tap * a.C];
  }
  if constexpr (in_shared)
    for (int t = 0; t < a.T; ++t) d_x[t * step] = (a.add_d_x ? d_x[t * step] : 0.0f) + *at(t);
}

unsigned cover(int n, int size) { return static_cast<unsigned>((n + size - 1) / size); }

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, const ConvPoolForward& op) {
  const int B = op.x.dim(1), W = op.w.dim(0), C = op.w.dim(1), F = op.w.dim(2);
  const device::Forward a{op.x.data, op.lengths.data, op.w.data, op.b.data, op.y.data, op.where.data, B, C, W,
                          F,         op.y.dim(1),     op.pad,    op.column};
  const dim3 blocks(device::cover(F, device::tile), static_cast<unsigned>(B));
  const auto rows = static_cast<std::size_t>(device::tile + W);
  const std::size_t pairs =
      sizeof(unsigned) * device::row_words * (rows - 1 + static_cast<std::size_t>(device::tile * W));
  const CudaState& state = ctx.cuda();
  if (state.math == Math::fast && state.compute_major >= 8 && pairs <= device::most_pairs) {
    return device::launch(ctx, op.name, device::best_positions_fast,
                          {.blocks = blocks, .threads = device::threads, .shared = pairs}, a);
  }
  device::launch(ctx, op.name, device::best_positions,
                 {.blocks = blocks, .threads = device::threads, .shared = sizeof(float) * device::channels * rows}, a);
}

void on_cuda(Context& ctx, const ConvPoolBackward& op) {
  const int T = op.x.dim(0), B = op.x.dim(1), W = op.w.dim(0), C = op.w.dim(1), F = op.w.dim(2), K = W * C;
  const device::Backward a{.x = op.x.data,
                           .lengths = op.lengths.data,
                           .where = op.where.data,
                           .w = op.w.data,
                           .d_y = op.d_y.data,
                           .d_x = op.d_x.data,
                           .d_w = op.d_w.data,
                           .d_b = op.d_b.data,
                           .T = T,
                           .B = B,
                           .C = C,
                           .W = W,
                           .F = F,
                           .Y = op.d_y.dim(1),
                           .pad = op.pad,
                           .column = op.column,
                           .add_d_x = op.add_d_x};
  device::launch(ctx, op.name, device::filter_gradients,
                 {.blocks = dim3(static_cast<unsigned>(F), static_cast<unsigned>(W)), .threads = 128}, a);
  if (!op.d_x) return;
  ArenaScope scratch(ctx.arena());
  float* turned = ctx.arena().make<float, 2>({F, K}).data;
  device::for_each(ctx, op.name, op.w.size(), device::Turn{op.w.data, turned, F, K});
  constexpr std::size_t most_shared = 96 * 1024;  // two blocks per multiprocessor
  const std::size_t shared = sizeof(float) * device::warp_lanes * static_cast<std::size_t>(T);
  const dim3 blocks(device::cover(C, device::warp_lanes), static_cast<unsigned>(B));
  if (shared <= most_shared) {
    device::launch(ctx, op.name, device::input_gradients<true>,
                   {.blocks = blocks, .threads = device::warp_lanes, .shared = shared}, a, turned);
  } else {
    device::launch(ctx, op.name, device::input_gradients<false>, {.blocks = blocks, .threads = device::warp_lanes}, a,
                   turned);
  }
}

}  // namespace bib
