// Dense products of bf16 and fp16 on tensor cores, for the large products of fast math where cuBLAS is not installed or
// not worth its launch: tiles of 64 x 64 or, where there are enough of them, 128 x 128, by blocks of eight warps.
// Slices of 32 terms of both operands lie in shared memory as they do in global memory (ldmatrix transposes what must
// be), four of each in turns: cp.async brings the next three while one is multiplied. One barrier a slice. Terms rise,
// whatever the tile; long sums that few tiles share are cut as in gemm.cu.
#include "kernels/blas.h"
#include "kernels/device.h"
#include "kernels/gemm.h"
#include "kernels/mma.h"

namespace bib::device {
namespace {

constexpr int depth = 32, threads = 256, stages = 4;  // stages: slices of each operand on chip

/// Who multiplies what of a tile, and how slices lie in shared memory, where a row has 16 bytes more than it needs, so
/// that eight rows start in different banks.
template <int kTile>
struct Shape {
  static constexpr int row_warps = kTile == 64 ? 4 : 2, column_warps = threads / 32 / row_warps;
  static constexpr int rows = kTile / row_warps, columns = kTile / column_warps;  // of a warp
  static constexpr int row_tiles = rows / 16, column_tiles = columns / 8;         // of its products
  static constexpr int deep_row = depth + 8, wide_row = kTile + 8;                // along the sum, along the tile
  static constexpr int slice = kTile * deep_row;
  static constexpr std::size_t shared = 2 * stages * slice * sizeof(std::uint16_t);
  static constexpr int blocks = kTile == 64 ? 3 : 2;  // of a multiprocessor
  static_assert(row_tiles * 16 * row_warps == kTile && column_tiles * 8 * column_warps == kTile);
  static_assert(depth * wide_row <= slice && kTile * wide_row <= stages * slice);
};

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
/// Where a thread's parts of each slice of an operand come from and go to: four values each, what the contract's
/// multiples allow. `wide`: rows run along the tile, [k][m] or [k][n], not along the sum. Places are moved from slice
/// to slice: found anew, they would take more instructions than the products.
template <int kTile, bool wide>
struct Slice {
  static constexpr int per_row = (wide ? kTile : depth) / 4, more_rows = threads / per_row,
                       of_thread = kTile * depth / 4 / threads;
  static constexpr int row_in_shared = wide ? Shape<kTile>::wide_row : Shape<kTile>::deep_row;
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
template <int kTile, bool wide>
__device__ __forceinline__ uint4 left_words(const std::uint16_t* a, int row, int term) {
  const int in = lane_id() % 8, lower = lane_id() / 8 % 2 * 8, later = lane_id() / 16 * 8;
  unsigned w[4];
  load_matrices<wide>(w, wide ? a + (term + in + later) * Shape<kTile>::wide_row + row + lower
                              : a + (row + in + lower) * Shape<kTile>::deep_row + term + later);
  return make_uint4(w[0], w[1], w[2], w[3]);
}
/// The words of b for two products: 8 columns from `column` and the 8 after, 16 terms from `term`.
template <int kTile, bool wide>
__device__ __forceinline__ void right_words(unsigned (&w)[4], const std::uint16_t* b, int column, int term) {
  const int in = lane_id() % 8, later = lane_id() / 8 % 2 * 8, next = lane_id() / 16 * 8;
  load_matrices<wide>(w, wide ? b + (term + in + later) * Shape<kTile>::wide_row + column + next
                              : b + (column + in + next) * Shape<kTile>::deep_row + term + later);
}

/// A warp's sums. Their rows and columns within the tile start at its own.
template <int kTile>
struct Sums {
  using Of = Shape<kTile>;
  float of[Of::row_tiles][Of::column_tiles][4] = {};

  __device__ __forceinline__ static int first_row() { return warp_id() % Of::row_warps * Of::rows; }
  __device__ __forceinline__ static int first_column() { return warp_id() / Of::row_warps * Of::columns; }

  /// f(row, column, first, second) for every two of a lane's neighbouring columns.
  template <class F>
  __device__ __forceinline__ void for_each_pair(F&& f) const {
#pragma unroll
    for (int m = 0; m < Of::row_tiles; ++m)
#pragma unroll
      for (int n = 0; n < Of::column_tiles; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          f(first_row() + 16 * m + lane_id() / 4 + 8 * half, first_column() + 8 * n + lane_id() % 4 * 2,
            of[m][n][2 * half], of[m][n][2 * half + 1]);
  }
};

template <int kTile>
__device__ __forceinline__ void write(const Product& p, const Sums<kTile>& sums, float* c, int row, int column) {
  sums.for_each_pair([&](int r, int s, float first, float second) {
    r += row, s += column;
    if (r >= p.m || s >= p.n) return;
    float* const to = c + r * p.ldc + s;
    if (p.beta != 0) first += p.beta * to[0];
    if (p.beta != 0 && s + 1 < p.n) second += p.beta * to[1];
    if (p.pairs) {
      *reinterpret_cast<float2*>(to) = make_float2(first, second);
    } else {
      to[0] = first;
      if (s + 1 < p.n) to[1] = second;
    }
  });
}

/// Rounded; by way of shared memory, so that lanes side by side write whole lines.
template <int kTile>
__device__ __forceinline__ void write_fp16(const Product& p, const Sums<kTile>& sums, std::uint16_t* shared, int row,
                                           int column) {
  constexpr int shared_row = Shape<kTile>::wide_row, per_row = kTile / 4;
  __syncthreads();  // all have multiplied
  sums.for_each_pair([&](int r, int s, float first, float second) {
    *reinterpret_cast<unsigned*>(shared + r * shared_row + s) = pack<Format::fp16>(first, second);
  });
  __syncthreads();
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < kTile * per_row; i += threads) {
    const int r = i / per_row, s = i % per_row * 4;
    if (row + r < p.m && column + s < p.n)
      *reinterpret_cast<uint2*>(p.c_fp16 + (row + r) * p.ldc + column + s) =
          *reinterpret_cast<const uint2*>(shared + r * shared_row + s);
  }
}
#endif

template <int kTile, Format format, bool wide_a, bool wide_b>
__global__ void __launch_bounds__(threads, Shape<kTile>::blocks) multiply_16bit(Product p) {
  after_previous();
#ifdef BIB_TENSOR_CORES
  using Of = Shape<kTile>;
  DYN_SHARED(std::uint16_t, a);  // [stages][slice], and as much of b behind it
  std::uint16_t* const b = a + stages * Of::slice;
  const int batch = static_cast<int>(blockIdx.z) / p.parts, part = static_cast<int>(blockIdx.z) % p.parts;
  const int row = static_cast<int>(blockIdx.x) * kTile, column = static_cast<int>(blockIdx.y) * kTile;
  const int begin = part * p.part, end = min(p.k, begin + p.part);
  Slice<kTile, wide_a> next_a(p.a, batch, row, p.m, begin);
  Slice<kTile, wide_b> next_b(p.b, batch, column, p.n, begin);
  const auto copy = [&](int k, int to) {
    if (k < end) {
      next_a.copy(a + to * Of::slice, end);
      next_b.copy(b + to * Of::slice, end);
    }
    copy_commit();  // an empty one too: slices are counted by them
  };
  Sums<kTile> sums;
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) copy(begin + i * depth, i);
  int now = 0;
  for (int k = begin; k < end; k += depth, now = (now + 1) % stages) {
    copy_wait<stages - 2>();
    __syncthreads();
    copy(k + (stages - 1) * depth, (now + stages - 1) % stages);
    const std::uint16_t *const a_now = a + now * Of::slice, *const b_now = b + now * Of::slice;
#pragma unroll
    for (int term = 0; term < depth; term += 16) {
      uint4 left[Of::row_tiles];
#pragma unroll
      for (int m = 0; m < Of::row_tiles; ++m)
        left[m] = left_words<kTile, wide_a>(a_now, sums.first_row() + 16 * m, term);
#pragma unroll
      for (int n = 0; n < Of::column_tiles; n += 2) {
        unsigned right[4];
        right_words<kTile, wide_b>(right, b_now, sums.first_column() + 8 * n, term);
#pragma unroll
        for (int m = 0; m < Of::row_tiles; ++m) {
          mma<format>(sums.of[m][n], left[m], right[0], right[1]);
          mma<format>(sums.of[m][n + 1], left[m], right[2], right[3]);
        }
      }
    }
  }
  copy_wait<0>();
  if constexpr (format == Format::fp16) {
    write_fp16(p, sums, a, row, column);
  } else {
    write(p, sums, p.c + batch * p.stride_c + static_cast<std::int64_t>(part) * p.m * p.n, row, column);
  }
#endif
}

/// Calls f(std::integral_constant of the tile's size): large ones take half of the reads from shared memory, but
/// only where they keep a GPU busy.
template <class F>
void with_tile(int m, int n, int batch, F&& f) {
  constexpr std::int64_t busy = 100;
  const auto tiles = std::int64_t{(m + 127) / 128} * ((n + 127) / 128) * batch;
  if (tiles >= busy) return f(std::integral_constant<int, 128>());
  f(std::integral_constant<int, 64>());
}

template <int kTile>
void launch_product(Context& ctx, void (*kernel)(Product), const Product& p, int batch) {
  const auto tiles = [](int n) { return static_cast<unsigned>((n + kTile - 1) / kTile); };
  launch(ctx, "matrix product", kernel,
         {.blocks = dim3(tiles(p.m), tiles(p.n), static_cast<unsigned>(p.parts * batch)),
          .threads = threads,
          .shared = Shape<kTile>::shared},
         p);
}

}  // namespace

void own_gemm(Context& ctx, const GemmBf16& g) {
  if (g.m == 0 || g.n == 0 || g.batch == 0) return;
  const auto multiply = [&](const Product& p) {
    with_tile(p.m, p.n, g.batch, [&]<int kTile>(std::integral_constant<int, kTile>) {
      constexpr Format bf16 = Format::bf16;
      const auto kernel =
          g.transpose_a
              ? (g.transpose_b ? multiply_16bit<kTile, bf16, true, false> : multiply_16bit<kTile, bf16, true, true>)
              : (g.transpose_b ? multiply_16bit<kTile, bf16, false, false> : multiply_16bit<kTile, bf16, false, true>);
      launch_product<kTile>(ctx, kernel, p, g.batch);
    });
  };
  const auto tiles = [](int n) { return static_cast<unsigned>((n + 63) / 64); };
  const int parts = parts_of_sums(tiles(g.m) * tiles(g.n) * static_cast<unsigned>(g.batch), g.k);
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
  if (parts == 1) return multiply(p);
  ArenaScope scratch(ctx.arena());
  p.c = ctx.arena().make<float, 4>({g.batch, parts, g.m, g.n}).data;
  p.ldc = g.n;
  p.stride_c = std::int64_t{parts} * g.m * g.n;
  p.beta = 0;
  p.pairs = pairs_fit(p.c, p.ldc, p.stride_c, g.n);
  multiply(p);
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
  with_tile(g.m, g.n, 1, [&]<int kTile>(std::integral_constant<int, kTile>) {
    launch_product<kTile>(ctx, multiply_16bit<kTile, Format::fp16, false, false>, p, 1);
  });
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
