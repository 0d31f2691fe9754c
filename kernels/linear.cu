// Fully connected layer. Narrow ones, with up to 64 outputs (tags of tokens, classes of texts), have kernels of their
// own, in fp32 in either math: the matrix stays in registers, and what it meets passes through shared memory, where
// many lanes of a warp read the same 16 bytes at a time. Others are products (gemm.h).
//
// Forward: a block takes up to 16 rows of x, 512 columns at a time, each of its eight warps an eighth of these. A lane
// owns two outputs; with up to 32 (16) outputs two (four) lanes share the columns of one. Their sums are added first,
// then those of the warps in their order.
// Backward: a block takes some rows and 128 columns of x, a thread for each column, with its weights and its sums for
// d_w in registers. It writes d_x, and its part of d_w; parts are added in their order by a second launch.
// How sums are cut depends on the shape alone; a row of y and d_x on nothing but itself.
#include "bib/ops/linear.h"
#include "kernels/device.h"
#include "kernels/gemm.h"
#include "kernels/reduce.h"

namespace bib {
namespace device {
namespace {

constexpr int widest = 64;  // outputs of a narrow layer

unsigned cover(int n, int size) { return static_cast<unsigned>((n + size - 1) / size); }

struct Narrow {
  const float *x, *w, *b;
  float* y;
  int N, I, O, rows;  // rows: of a block
};

namespace forward {

constexpr int threads = 256, warps = threads / warp_lanes, most_rows = 16;
constexpr int most = 64;  // columns of x that a warp takes at a time
constexpr int wide = warps * most;

/// kOutputs: 16, 32 or 64, at least those of the layer.
template <int kOutputs>
__global__ void __launch_bounds__(threads) narrow(Narrow a) {
  after_previous();
  constexpr int shares = widest / kOutputs, lanes = warp_lanes / shares, each = most / shares;
  DYN_SHARED(float, x);                   // [rows][wide]
  float* const sums = x + a.rows * wide;  // [warps][rows][kOutputs], a lane's own until all are there
  const int first = static_cast<int>(blockIdx.x) * a.rows, count = min(a.rows, a.N - first);
  const int share = lane_id() / lanes, output = lane_id() % lanes;
  float bias[2];
  for (int c = 0; c < 2; ++c) bias[c] = warp_id() == 0 && output + c * lanes < a.O ? a.b[output + c * lanes] : 0.0f;
  for (int at = 0; at < a.I; at += wide) {
    const int columns = min(wide, a.I - at), per_warp = (columns + 4 * warps - 1) / (4 * warps) * 4;
    const int begin = warp_id() * per_warp, length = max(0, min(per_warp, columns - begin));
    // Before the copies are begun, so that both are under way at once. Lanes that share take four columns in turns.
    float w[2][each];
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int o = output + c * lanes;
      const float* const from = a.w + static_cast<std::int64_t>(o) * a.I + at + begin;
#pragma unroll
      for (int i = 0; i < each; i += 4) {
        const int k = i * shares + 4 * share;
        const float4 v = o < a.O && k < length ? load4(from + k) : make_float4(0, 0, 0, 0);
        w[c][i] = v.x, w[c][i + 1] = v.y, w[c][i + 2] = v.z, w[c][i + 3] = v.w;
      }
    }
    for (int i = static_cast<int>(threadIdx.x); i < count * (wide / 4); i += threads) {
      const int row = i / (wide / 4), column = i % (wide / 4) * 4;
      if (column < columns)
        copy_async<16>(x + row * wide + column, a.x + static_cast<std::int64_t>(first + row) * a.I + at + column, true);
    }
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    for (int row = 0; row < count; ++row) {
      float sum[2][4] = {};
#pragma unroll
      for (int i = 0; i < each; i += 4) {
        const int k = i * shares + 4 * share;
        // Chosen, not left by a branch: reads of many columns are under way at once.
        const float4 v = k < length ? load4(x + row * wide + begin + k) : make_float4(0, 0, 0, 0);
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          sum[c][0] += v.x * w[c][i], sum[c][1] += v.y * w[c][i + 1];
          sum[c][2] += v.z * w[c][i + 2], sum[c][3] += v.w * w[c][i + 3];
        }
      }
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float all = (sum[c][0] + sum[c][1]) + (sum[c][2] + sum[c][3]);
        for (int other = lanes; other < warp_lanes; other *= 2) all += __shfl_xor_sync(all_lanes, all, other);
        float& to = sums[(warp_id() * a.rows + row) * kOutputs + output + c * lanes];
        if (share == 0) to = (at ? to : bias[c]) + all;
      }
    }
    __syncthreads();
  }
  for (int i = static_cast<int>(threadIdx.x); i < count * a.O; i += threads) {
    const int row = i / a.O, o = i % a.O;
    float sum = 0;
    for (int w = 0; w < warps; ++w) sum += sums[(w * a.rows + row) * kOutputs + o];
    a.y[static_cast<std::int64_t>(first + row) * a.O + o] = sum;
  }
}

void run(Context& ctx, const LinearForward& op) {
  Narrow a{.x = op.x.data,
           .w = op.w.data,
           .b = op.b.data,
           .y = op.y.data,
           .N = op.x.dim(0),
           .I = op.x.dim(1),
           .O = op.w.dim(0),
           .rows = 4};
  // Few rows to a block while there are multiprocessors without one.
  while (a.rows < most_rows && cover(a.N, a.rows) > static_cast<unsigned>(ctx.cuda().multiprocessors)) a.rows *= 2;
  const int outputs = a.O <= 16 ? 16 : a.O <= 32 ? 32 : widest;
  const std::size_t shared =
      sizeof(float) * static_cast<std::size_t>(a.rows) * static_cast<std::size_t>(wide + warps * outputs);
  launch(ctx, op.name,
         outputs == 16   ? narrow<16>
         : outputs == 32 ? narrow<32>
                         : narrow<widest>,
         {.blocks = dim3(cover(a.N, a.rows)), .threads = threads, .shared = shared}, a);
}

}  // namespace forward

namespace backward {

constexpr int threads = 128, rows = 32;  // rows at a time
constexpr unsigned busy = 256;           // blocks that fill a GPU

struct NarrowBackward {
  const float *x, *w, *d_y;
  float *d_x, *d_w, *d_b;  // d_x may be null; parts of the others behind one another
  int N, I, O, part;       // part: rows of a block
};

/// Outputs padded to K, which is a multiple of 4.
template <int K>
__global__ void __launch_bounds__(threads) narrow(NarrowBackward a) {
  after_previous();
  SHARED(float, d_y, [rows][K]);
  SHARED(float, x, [rows][threads]);
  const int column = static_cast<int>(blockIdx.x) * threads + static_cast<int>(threadIdx.x);
  const int part = static_cast<int>(blockIdx.y), begin = part * a.part, end = min(a.N, begin + a.part);
  const bool mine = column < a.I;
  float w[K], d_w[K] = {}, d_b = 0;
#pragma unroll
  for (int o = 0; o < K; ++o) w[o] = mine && a.d_x && o < a.O ? a.w[static_cast<std::int64_t>(o) * a.I + column] : 0.0f;
  for (int first = begin; first < end; first += rows) {
    const int count = min(rows, end - first);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < count * (threads / 4); i += threads) {
      const int row = i / (threads / 4), along = i % (threads / 4) * 4,
                from = static_cast<int>(blockIdx.x) * threads + along;
      const bool there = from < a.I;
      copy_async<16>(&x[row][along], a.x + static_cast<std::int64_t>(first + row) * a.I + (there ? from : 0), there);
    }
    copy_commit();
    for (int i = static_cast<int>(threadIdx.x); i < count * K; i += threads) {
      const int row = i / K, o = i % K;
      d_y[row][o] = o < a.O ? a.d_y[static_cast<std::int64_t>(first + row) * a.O + o] : 0.0f;
    }
    copy_wait<0>();
    __syncthreads();
    if (blockIdx.x == 0 && static_cast<int>(threadIdx.x) < a.O)
      for (int row = 0; row < count; ++row) d_b += d_y[row][threadIdx.x];
    if (!mine) continue;
#pragma unroll 2
    for (int row = 0; row < count; ++row) {
      const float own = x[row][threadIdx.x];
      float sum[4] = {};
#pragma unroll
      for (int o = 0; o < K; o += 4) {
        const float4 v = load4(&d_y[row][o]);
        sum[0] += v.x * w[o], sum[1] += v.y * w[o + 1], sum[2] += v.z * w[o + 2], sum[3] += v.w * w[o + 3];
        d_w[o] += v.x * own, d_w[o + 1] += v.y * own, d_w[o + 2] += v.z * own, d_w[o + 3] += v.w * own;
      }
      if (a.d_x) a.d_x[static_cast<std::int64_t>(first + row) * a.I + column] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
  }
  if (blockIdx.x == 0 && static_cast<int>(threadIdx.x) < a.O) a.d_b[part * a.O + static_cast<int>(threadIdx.x)] = d_b;
  if (!mine) return;
#pragma unroll
  for (int o = 0; o < K; ++o)
    if (o < a.O) a.d_w[(static_cast<std::int64_t>(part) * a.O + o) * a.I + column] = d_w[o];
}

/// d_w and d_b, the parts in their order.
__global__ void add(NarrowBackward parts, int count, float* d_w, float* d_b) {
  after_previous();
  const int i = static_cast<int>(global_thread()), size = parts.O * parts.I;
  if (i >= size + parts.O) return;
  const bool of_w = i < size;
  const float* const from = of_w ? parts.d_w + i : parts.d_b + (i - size);
  const std::int64_t step = of_w ? size : parts.O;
  const float sum = sum_in_order<32>(0, count, 1, [&](int part) { return from[part * step]; });
  (of_w ? d_w[i] : d_b[i - size]) += sum;
}

void run(Context& ctx, const LinearBackward& op) {
  NarrowBackward a{.x = op.x.data,
                   .w = op.w.data,
                   .d_y = op.d_y.data,
                   .d_x = op.d_x.data,
                   .d_w = nullptr,
                   .d_b = nullptr,
                   .N = op.x.dim(0),
                   .I = op.x.dim(1),
                   .O = op.w.dim(0),
                   .part = rows};
  if (a.N == 0) return;
  const unsigned most_parts = std::max(1u, busy / cover(a.I, threads));
  a.part *= static_cast<int>(cover(a.N, rows * static_cast<int>(most_parts)));
  const int parts = static_cast<int>(cover(a.N, a.part));
  ArenaScope scratch(ctx.arena());
  a.d_w = ctx.arena().make<float, 3>({parts, a.O, a.I}).data;
  a.d_b = ctx.arena().make<float, 2>({parts, a.O}).data;
  launch(ctx, op.name,
         a.O <= 16   ? narrow<16>
         : a.O <= 32 ? narrow<32>
                     : narrow<widest>,
         {.blocks = dim3(cover(a.I, threads), static_cast<unsigned>(parts)), .threads = threads}, a);
  launch(ctx, op.name, add, {.blocks = dim3(cover(a.O * a.I + a.O, threads)), .threads = threads}, a, parts,
         op.d_w.data, op.d_b.data);
}

}  // namespace backward

/// Beyond so many rows a large product, on tensor cores in fast math, is expected to be faster.
template <class Op>
bool is_narrow(const Op& op) {
  constexpr int most_rows = 16384;
  const int I = op.x.dim(1);
  return op.w.dim(0) <= widest && op.x.dim(0) <= most_rows && I > 0 && I % 4 == 0 && aligned(op.x.data) &&
         aligned(op.w.data);
}

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, const LinearForward& op) {
  if (device::is_narrow(op)) return device::forward::run(ctx, op);
  const int N = op.x.dim(0), I = op.x.dim(1), O = op.w.dim(0);
  device::gemm(ctx, {.transpose_b = true,
                     .m = N,
                     .n = O,
                     .k = I,
                     .a = op.x.data,
                     .lda = I,
                     .b = op.w.data,
                     .ldb = I,
                     .c = op.y.data,
                     .ldc = O,
                     .bias = op.b.data});
}

void on_cuda(Context& ctx, const LinearBackward& op) {
  if (device::is_narrow(op)) return device::backward::run(ctx, op);
  const int N = op.x.dim(0), I = op.x.dim(1), O = op.w.dim(0);
  if (op.d_x) {
    device::gemm(
        ctx,
        {.m = N, .n = I, .k = O, .a = op.d_y.data, .lda = O, .b = op.w.data, .ldb = I, .c = op.d_x.data, .ldc = I});
  }
  device::gemm(ctx, {.transpose_a = true,
                     .m = O,
                     .n = I,
                     .k = N,
                     .a = op.d_y.data,
                     .lda = O,
                     .b = op.x.data,
                     .ldb = I,
                     .beta = 1,
                     .c = op.d_w.data,
                     .ldc = I});
  device::add_rows(ctx, op.d_y.data, N, O, op.d_b.data);
}

}  // namespace bib
