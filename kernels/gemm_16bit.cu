// Dense products of bf16 and fp16 on tensor cores, for the large products of fast math where cuBLAS is not installed or
// not worth its launch: tiles of 64 x 64 by blocks of eight warps. Slices of 32 terms of both operands lie in shared
// memory as they do in global memory (ldmatrix transposes what must be), four of each in turns: cp.async brings the
// next three while one is multiplied. One barrier a slice. Terms rise; long sums that few tiles share are cut as in
// gemm.cu.
#include "kernels/blas.h"
#include "kernels/device.h"
#include "kernels/gemm.h"
#include "kernels/mma.h"

namespace bib::device {
namespace {

constexpr int tile = 64, depth = 32, threads = 256;
// Values of a row in shared memory: 16 bytes more than the slice has, so that eight rows start in different banks.
constexpr int deep_row = depth + 8, wide_row = tile + 8;
constexpr int slice = tile * deep_row;
static_assert(depth * wide_row <= slice);

struct Operand {
  const std::uint16_t* data;
  std::int64_t ld, stride;
};

struct Product {
  Operand a, b;
  int m, n, k;
  int parts, part;  // how many a sum is cut into, and terms of one: grid z is (batch, part)
  float* c;         // [batch][parts] of them
  std::uint16_t* c_fp16;
  std::int64_t ldc, stride_c;
  float beta;
  bool pairs;  // two values of c at once
};

bool pairs_fit(const float* c, std::int64_t ldc, std::int64_t stride, int n) {
  return reinterpret_cast<std::uintptr_t>(c) % 8 == 0 && ldc % 2 == 0 && stride % 2 == 0 && n % 2 == 0;
}

#ifdef BIB_TENSOR_CORES
constexpr unsigned stages = 4;                                             // slices of each operand on chip
constexpr int row_warps = 4, rows = tile / row_warps, columns = tile / 2;  // of a warp

/// Where a thread's parts of each slice of an operand come from and go to: four values each, what the contract's
/// multiples allow. `wide`: rows run along the tile, [k][m] or [k][n], not along the sum. Places are moved from slice
/// to slice: found anew, they would take more instructions than the products.
template <bool wide>
struct Slice {
  static constexpr int per_row = (wide ? tile : depth) / 4, more_rows = threads / per_row,
                       of_thread = tile * depth / 4 / threads;
  static constexpr int row_in_shared = wide ? wide_row : deep_row;
  const std::uint16_t* next;
  std::int64_t between, ahead;  // from one to the next, from slice to slice
  int at, most, term, to;       // along the tile and the sum, and in shared memory

  __device__ __forceinline__ Slice(const Operand& from, int batch, int first, int count, int begin) : most(count) {
    const int row = static_cast<int>(threadIdx.x) / per_row, column = static_cast<int>(threadIdx.x) % per_row * 4;
    at = first + (wide ? column : row), term = begin + (wide ? row : column);
    next = from.data + batch * from.stride + (wide ? term * from.ld + at : at * from.ld + term);
    between = more_rows * from.ld, ahead = wide ? depth * from.ld : depth;
    to = row * row_in_shared + column;
  }
  /// Starts to copy the next slice, of terms before `end`; zeros outside.
  __device__ __forceinline__ void copy(std::uint16_t* stage, int end) {
    const std::uint16_t* from = next;
#pragma unroll
    for (int i = 0; i < of_thread; ++i, from += between) {
      const bool there = at + (wide ? 0 : i * more_rows) < most && term + (wide ? i * more_rows : 0) < end;
      copy_async<8>(stage + to + i * more_rows * row_in_shared, from, there);
    }
    next += ahead, term += depth;
  }
};

/// The words of a for 16 rows from `row` and 16 terms from `term` of a slice.
template <bool wide>
__device__ __forceinline__ uint4 left_words(const std::uint16_t* a, int row, int term) {
  const int in = lane_id() % 8, lower = lane_id() / 8 % 2 * 8, later = lane_id() / 16 * 8;
  unsigned w[4];
  load_matrices<wide>(
      w, wide ? a + (term + in + later) * wide_row + row + lower : a + (row + in + lower) * deep_row + term + later);
  return make_uint4(w[0], w[1], w[2], w[3]);
}
/// The words of b for two products: 8 columns from `column` and the 8 after, 16 terms from `term`.
template <bool wide>
__device__ __forceinline__ void right_words(unsigned (&w)[4], const std::uint16_t* b, int column, int term) {
  const int in = lane_id() % 8, later = lane_id() / 8 % 2 * 8, next = lane_id() / 16 * 8;
  load_matrices<wide>(w, wide ? b + (term + in + later) * wide_row + column + next
                              : b + (column + in + next) * deep_row + term + later);
}

constexpr int sums = columns / 8;  // of a warp's lanes, four each

/// Rounds the block's tile; by way of shared memory, so that lanes side by side write whole lines.
__device__ __forceinline__ void write_fp16(const Product& p, const float (&sum)[sums][4], std::uint16_t* shared,
                                           int row, int column) {
  std::uint16_t* const mine =
      shared + (warp_id() % row_warps * rows + lane_id() / 4) * wide_row + warp_id() / row_warps * columns;
  __syncthreads();  // all have multiplied
#pragma unroll
  for (int n = 0; n < sums; ++n)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      *reinterpret_cast<unsigned*>(mine + half * 8 * wide_row + 8 * n + lane_id() % 4 * 2) =
          pack<Format::fp16>(sum[n][2 * half], sum[n][2 * half + 1]);
  __syncthreads();
  constexpr int per_row = tile / 4;
#pragma unroll
  for (int i = static_cast<int>(threadIdx.x); i < tile * per_row; i += threads) {
    const int r = i / per_row, s = i % per_row * 4;
    if (row + r < p.m && column + s < p.n)
      *reinterpret_cast<uint2*>(p.c_fp16 + (row + r) * p.ldc + column + s) =
          *reinterpret_cast<const uint2*>(shared + r * wide_row + s);
  }
}
#endif

template <Format format, bool wide_a, bool wide_b>
__global__ void __launch_bounds__(threads, 3) multiply_16bit(Product p) {
  after_previous();
#ifdef BIB_TENSOR_CORES
  SHARED(std::uint16_t, a, [stages][slice]);
  SHARED(std::uint16_t, b, [stages][slice]);
  const int batch = static_cast<int>(blockIdx.z) / p.parts, part = static_cast<int>(blockIdx.z) % p.parts;
  const int row = static_cast<int>(blockIdx.x) * tile, column = static_cast<int>(blockIdx.y) * tile;
  const int begin = part * p.part, end = min(p.k, begin + p.part);
  const int warp_row = warp_id() % row_warps * rows, warp_column = warp_id() / row_warps * columns;
  Slice<wide_a> next_a(p.a, batch, row, p.m, begin);
  Slice<wide_b> next_b(p.b, batch, column, p.n, begin);
  const auto copy = [&](int k, unsigned to) {
    if (k < end) {
      next_a.copy(a[to], end);
      next_b.copy(b[to], end);
    }
    copy_commit();  // an empty one too: slices are counted by them
  };
  float sum[sums][4] = {};
#pragma unroll
  for (unsigned i = 0; i < stages - 1; ++i) copy(begin + static_cast<int>(i) * depth, i);
  unsigned now = 0;
  for (int k = begin; k < end; k += depth, now = (now + 1) % stages) {
    copy_wait<stages - 2>();
    __syncthreads();
    copy(k + static_cast<int>(stages - 1) * depth, (now + stages - 1) % stages);
#pragma unroll
    for (int term = 0; term < depth; term += 16) {
      const uint4 left = left_words<wide_a>(a[now], warp_row, term);
#pragma unroll
      for (int n = 0; n < columns / 8; n += 2) {
        unsigned right[4];
        right_words<wide_b>(right, b[now], warp_column + 8 * n, term);
        mma<format>(sum[n], left, right[0], right[1]);
        mma<format>(sum[n + 1], left, right[2], right[3]);
      }
    }
  }
  copy_wait<0>();
  if constexpr (format == Format::fp16) {
    write_fp16(p, sum, a[0], row, column);
    return;
  }
  float* const c = p.c + batch * p.stride_c + static_cast<std::int64_t>(part) * p.m * p.n;
#pragma unroll
  for (int n = 0; n < columns / 8; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = row + warp_row + lane_id() / 4 + half * 8;
      const int s = column + warp_column + 8 * n + lane_id() % 4 * 2;
      if (r >= p.m || s >= p.n) continue;
      float* const to = c + r * p.ldc + s;
      float first = sum[n][2 * half], second = sum[n][2 * half + 1];
      if (p.beta != 0) first += p.beta * to[0];
      if (p.beta != 0 && s + 1 < p.n) second += p.beta * to[1];
      if (p.pairs) {
        *reinterpret_cast<float2*>(to) = make_float2(first, second);
      } else {
        to[0] = first;
        if (s + 1 < p.n) to[1] = second;
      }
    }
  }
#endif
}

unsigned cover(int n) { return static_cast<unsigned>((n + tile - 1) / tile); }

}  // namespace

void own_gemm(Context& ctx, const GemmBf16& g) {
  if (g.m == 0 || g.n == 0 || g.batch == 0) return;
  constexpr Format bf16 = Format::bf16;
  const auto kernel = g.transpose_a
                          ? (g.transpose_b ? multiply_16bit<bf16, true, false> : multiply_16bit<bf16, true, true>)
                          : (g.transpose_b ? multiply_16bit<bf16, false, false> : multiply_16bit<bf16, false, true>);
  const int parts = parts_of_sums(cover(g.m) * cover(g.n) * static_cast<unsigned>(g.batch), g.k);
  Product p{.a = {g.a, g.lda, g.stride_a},
            .b = {g.b, g.ldb, g.stride_b},
            .m = g.m,
            .n = g.n,
            .k = g.k,
            .parts = parts,
            .part = (g.k + parts * depth - 1) / (parts * depth) * depth,
            .c = g.c,
            .c_fp16 = nullptr,
            .ldc = g.ldc,
            .stride_c = g.stride_c,
            .beta = g.beta,
            .pairs = pairs_fit(g.c, g.ldc, g.stride_c, g.n)};
  const Grid grid{.blocks = dim3(cover(g.m), cover(g.n), static_cast<unsigned>(parts * g.batch)), .threads = threads};
  if (parts == 1) return launch(ctx, "matrix product", kernel, grid, p);
  ArenaScope scratch(ctx.arena());
  p.c = ctx.arena().make<float, 4>({g.batch, parts, g.m, g.n}).data;
  p.ldc = g.n;
  p.stride_c = std::int64_t{parts} * g.m * g.n;
  p.beta = 0;
  p.pairs = pairs_fit(p.c, p.ldc, p.stride_c, g.n);
  launch(ctx, "matrix product", kernel, grid, p);
  add_parts(ctx, {.from = p.c,
                  .count = parts,
                  .batch = g.batch,
                  .m = g.m,
                  .n = g.n,
                  .c = g.c,
                  .ldc = g.ldc,
                  .stride_c = g.stride_c,
                  .beta = g.beta,
                  .bias = nullptr});
}

/// Whole sums in any case: what is read and written costs more than a block's wait for its terms.
void own_gemm(Context& ctx, const GemmFp16& g) {
  if (g.m == 0 || g.n == 0) return;
  const Product p{.a = {g.a, g.lda, 0},
                  .b = {g.b, g.ldb, 0},
                  .m = g.m,
                  .n = g.n,
                  .k = g.k,
                  .parts = 1,
                  .part = g.k,
                  .c = nullptr,
                  .c_fp16 = g.c,
                  .ldc = g.ldc,
                  .stride_c = 0,
                  .beta = 0,
                  .pairs = false};
  launch(ctx, "matrix product", multiply_16bit<Format::fp16, false, false>,
         {.blocks = dim3(cover(g.m), cover(g.n)), .threads = threads}, p);
}

void gemm(Context& ctx, const GemmFp16& g) {
  const Blas* const blas = blas_for(ctx, g.m, g.n, g.k);
  if (!blas) return own_gemm(ctx, g);
  const float one = 1, zero = 0;
  enqueued_by_blas(ctx, blas->gemm_batched(ctx.cuda().blas_handle(*blas), CUBLAS_OP_T, CUBLAS_OP_N, g.n, g.m, g.k, &one,
                                           g.b, CUDA_R_16F, g.ldb, 0, g.a, CUDA_R_16F, g.lda, 0, &zero, g.c, CUDA_R_16F,
                                           g.ldc, 0, 1, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

void gemm(Context& ctx, const GemmBf16& g) {
  const Blas* const blas = blas_for(ctx, g.m, std::int64_t{g.n} * g.batch, g.k);
  if (!blas) return own_gemm(ctx, g);
  const float one = 1;
  const auto op = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  enqueued_by_blas(
      ctx, blas->gemm_batched(ctx.cuda().blas_handle(*blas), op(g.transpose_b), op(g.transpose_a), g.n, g.m, g.k, &one,
                              g.b, CUDA_R_16BF, g.ldb, g.stride_b, g.a, CUDA_R_16BF, g.lda, g.stride_a, &g.beta, g.c,
                              CUDA_R_32F, g.ldc, g.stride_c, g.batch, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

}  // namespace bib::device
