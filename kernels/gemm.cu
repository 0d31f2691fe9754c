// Own dense product: tiles of 64 x 64 in shared memory, 4 x 4 sums per thread in registers, the next two slices
// brought by cp.async while this one is used. Long sums that few tiles share are cut into parts, which are added up in
// their order.
#include <stdexcept>
#include <string>

#include "bib/together.h"
#include "kernels/asked.h"
#include "kernels/blas.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/reduce.h"

namespace bib::device {
namespace {

constexpr int tile = 64, depth = 16, threads = 256, row_in_shared = tile + 4;
constexpr int stages = 3;  // slices of each operand on chip

struct Strided {  // element (i, j) at data[i * row + j * column]
  const float* data;
  std::int64_t row, column;
};

struct Product {
  Strided a, b;
  int m, n, k, part;  // part: terms of a sum per block of grid z
  float* c;           // parts behind one another when there are several
  std::int64_t ldc;
  float beta;
  const float* bias;
  bool wide;  // four columns of c at once, where there are so many
};

/// Where four of a thread's numbers of each [depth][tile] slice of an operand come from and go to. Those of a warp lie
/// side by side in memory, along the tile or along the sum. Places are moved from slice to slice: found anew, they
/// would take as many instructions as the products.
struct Slice {
  const float* next;
  std::int64_t between, ahead;             // from one of the four to the next, from slice to slice
  int x, more_x, most, d, more_d, to, on;  // place along the tile and the sum, in shared memory; from one to the next

  __device__ Slice(const Strided& s, int first, int count, int begin) : most(count) {
    const int i = static_cast<int>(threadIdx.x);
    const bool fast_along = s.row == 1;
    const int along = fast_along ? i % tile : i / depth, deep = fast_along ? i / tile : i % depth;
    more_x = fast_along ? 0 : threads / depth, more_d = fast_along ? threads / tile : 0;
    x = first + along, d = begin + deep;
    next = s.data + (x * s.row + d * s.column);
    between = more_x * s.row + more_d * s.column, ahead = depth * s.column;
    to = deep * row_in_shared + along, on = more_d * row_in_shared + more_x;
  }
  /// Starts to copy the next slice; zeros outside.
  __device__ void copy(float (*slice)[row_in_shared], int end) {
    const float* from = next;
#pragma unroll
    for (int i = 0; i < 4; ++i, from += between)
      copy_async<4>(slice[0] + to + i * on, from, x + i * more_x < most && d + i * more_d < end);
    next += ahead, d += depth;
  }
};

__global__ void __launch_bounds__(threads, 3) multiply(Product p) {
  after_previous();
  SHARED(float, a, [stages][depth][row_in_shared]);
  SHARED(float, b, [stages][depth][row_in_shared]);
  const int row = static_cast<int>(blockIdx.x) * tile, column = static_cast<int>(blockIdx.y) * tile;
  const int begin = static_cast<int>(blockIdx.z) * p.part, end = min(p.k, begin + p.part);
  const int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  float sum[4][4] = {};
  Slice next_a(p.a, row, p.m, begin), next_b(p.b, column, p.n, begin);
  const auto copy = [&](int k, int to) {
    if (k < end) {
      next_a.copy(a[to], end);
      next_b.copy(b[to], end);
    }
    copy_commit();  // an empty one too: slices are counted by them
  };
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) copy(begin + i * depth, i);
  int now = 0, then = stages - 1;  // the slices used and brought
  for (int k = begin; k < end; k += depth) {
    copy_wait<stages - 2>();
    __syncthreads();
    copy(k + (stages - 1) * depth, then);
    const float *const left = &a[now][0][4 * y], *const right = &b[now][0][4 * x];
    float4 u = load4(left), v = load4(right);
#pragma unroll
    for (int d = 0; d < depth; ++d) {
      const float us[4] = {u.x, u.y, u.z, u.w}, vs[4] = {v.x, v.y, v.z, v.w};
      if (d + 1 < depth)  // read before what is there is used
        u = load4(left + (d + 1) * row_in_shared), v = load4(right + (d + 1) * row_in_shared);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] += us[i] * vs[j];
    }
    then = now;
    now = now + 1 == stages ? 0 : now + 1;
  }
  copy_wait<0>();
  const int r = row + 4 * y, s = column + 4 * x, rows = p.m - r, columns = p.n - s;  // of c, at least those to write
  float* const c = p.c + (static_cast<std::int64_t>(blockIdx.z) * p.m + r) * p.ldc + s;
  const bool whole = p.wide && columns >= 4;
  float bias[4], old[4][4] = {};  // all read before one is written
#pragma unroll
  for (int j = 0; j < 4; ++j) bias[j] = p.bias && j < columns ? p.bias[s + j] : 0.0f;
  if (p.beta != 0) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (whole && i < rows) {
        const float4 v = load4(c + i * p.ldc);
        old[i][0] = v.x, old[i][1] = v.y, old[i][2] = v.z, old[i][3] = v.w;
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) old[i][j] = i < rows && j < columns ? c[i * p.ldc + j] : 0.0f;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) sum[i][j] += p.beta * old[i][j] + bias[j];
    if (whole && i < rows) {
      store4(c + i * p.ldc, make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]));
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (i < rows && j < columns) c[i * p.ldc + j] = sum[i][j];
    }
  }
}

__global__ void sum_parts(Parts p, Divisor size, Divisor columns) {
  after_previous();
  const int i = static_cast<int>(global_thread());
  if (i >= p.batch * size.by) return;
  const int batch = size.over(i), at = i - batch * size.by, row = columns.over(at), column = at - row * columns.by;
  const float* const from = p.from + static_cast<std::int64_t>(batch) * p.count * size.by + at;
  const float sum =
      sum_in_order<16>(0, p.count, 1, [&](int part) { return from[static_cast<std::int64_t>(part) * size.by]; });
  float& to = p.c[batch * p.stride_c + row * p.ldc + column];
  to = sum + (p.beta != 0 ? p.beta * to : 0.0f) + (p.bias ? p.bias[column] : 0.0f);
}

/// N columns a thread.
template <int N>
__global__ void fill_rows(const float* row, std::int64_t size, Divisor columns, float* y) {
  after_previous();
  for (std::int64_t i = global_thread(); i < size; i += grid_threads())
    store(y + N * i, load<N>(row + N * (i - columns.over(i) * columns.by)));
}

constexpr int sum_columns = 32, sum_lanes = 8, sum_rows = 512;

/// Sums of `sum_rows` rows per block: 32 columns wide, 8 lanes deep, the lanes added in their order.
__global__ void sum_of_rows(const float* x, int rows, int columns, float* partial) {
  after_previous();
  SHARED(float, lane, [sum_lanes][sum_columns]);
  const int c = static_cast<int>(blockIdx.x) * sum_columns + static_cast<int>(threadIdx.x);
  const int begin = static_cast<int>(blockIdx.y) * sum_rows, end = min(rows, begin + sum_rows);
  float sum = 0;
  if (c < columns)
    sum = sum_in_order<16>(begin + static_cast<int>(threadIdx.y), end, sum_lanes,
                           [&](int n) { return x[static_cast<std::int64_t>(n) * columns + c]; });
  lane[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= columns) return;
  for (int i = 1; i < sum_lanes; ++i) sum += lane[i][threadIdx.x];
  partial[static_cast<std::int64_t>(blockIdx.y) * columns + c] = sum;
}

__global__ void add_partials(const float* partial, int count, int columns, float* to) {
  after_previous();
  const int c = static_cast<int>(global_thread());
  if (c >= columns) return;
  to[c] += sum_in_order<8>(0, count, 1, [&](int i) { return partial[static_cast<std::int64_t>(i) * columns + c]; });
}

unsigned cover(std::int64_t n, int size) { return static_cast<unsigned>((n + size - 1) / size); }

void blas_gemm(Context& ctx, const Blas& blas, const Gemm& g) {
  if (g.bias) repeat_row(ctx, g.bias, g.m, g.n, g.c);
  const float one = 1, beta = g.bias ? 1 : g.beta;
  const auto op = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  // Column-major to cuBLAS: c^T = b^T a^T.
  enqueued_by_blas(ctx, blas.sgemm(ctx.cuda().blas_handle(blas), op(g.transpose_b), op(g.transpose_a), g.n, g.m, g.k,
                                   &one, g.b, g.ldb, g.a, g.lda, &beta, g.c, g.ldc));
}

}  // namespace

const Blas* blas_for(Context& ctx, std::int64_t m, std::int64_t n, std::int64_t k) {
  constexpr std::int64_t large = 1 << 22;  // products; below, a launch of our own costs less than cuBLAS's choice
  if (m * n * k < large || asked_for("BIB_GPU_BLAS", "cublas", "bib")) return nullptr;
  if (ctx.own_products() && !std::getenv("BIB_GPU_BLAS")) return nullptr;
  const Blas* const found = blas();
  if (!found) return nullptr;
  CudaState& state = ctx.cuda();
  if (state.recording && !state.blas_ready) throw NotRecordable();
  check(use_device(state.device), "matrix product");
  state.recorded_blas = true;
  if (state.preferred_clusters)
    for (const std::int64_t size : {m, n, k}) state.note(reinterpret_cast<const void*>(size), state.after_kernel);
  state.note(found, state.after_kernel);
  return found;
}

void enqueued_by_blas(Context& ctx, int status) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw std::runtime_error("matrix product failed on the GPU: cuBLAS status " + std::to_string(status));
  ctx.cuda().after_kernel = true;
}

int parts_of_sums(unsigned tiles, int k) {
  constexpr int busy = 128, least_part = 256;  // blocks that fill a GPU; terms that are worth a block
  return std::clamp(std::min(busy / static_cast<int>(std::min(tiles, 1u << 20)), k / least_part), 1, 64);
}

/// Few elements, as few tiles are what sums are cut for.
void add_parts(Context& ctx, const Parts& p) {
  launch(ctx, "matrix product", sum_parts, {.blocks = cover(std::int64_t{p.batch} * p.m * p.n, 128), .threads = 128}, p,
         Divisor(p.m * p.n), Divisor(p.n));
}

void own_gemm(Context& ctx, const Gemm& g) {
  if (g.m == 0 || g.n == 0) return;
  const int parts = parts_of_sums(cover(g.m, tile) * cover(g.n, tile), g.k);
  Product p{.a = {g.a, g.transpose_a ? 1 : g.lda, g.transpose_a ? g.lda : 1},
            .b = {g.b, g.transpose_b ? g.ldb : 1, g.transpose_b ? 1 : g.ldb},
            .m = g.m,
            .n = g.n,
            .k = g.k,
            .part = g.k,
            .c = g.c,
            .ldc = g.ldc,
            .beta = g.beta,
            .bias = g.bias,
            .wide = g.ldc % 4 == 0 && aligned(g.c)};
  const dim3 blocks(cover(g.m, tile), cover(g.n, tile), static_cast<unsigned>(parts));
  if (parts == 1) return launch(ctx, "matrix product", multiply, {.blocks = blocks, .threads = threads}, p);
  ArenaScope scratch(ctx.arena());
  Product part = p;
  part.part = (g.k + parts * depth - 1) / (parts * depth) * depth;
  part.c = ctx.arena().make<float, 3>({parts, g.m, g.n}).data;
  part.ldc = g.n;
  part.beta = 0;
  part.bias = nullptr;
  part.wide = g.n % 4 == 0 && aligned(part.c);
  launch(ctx, "matrix product", multiply, {.blocks = blocks, .threads = threads}, part);
  add_parts(ctx, {.from = part.c,
                  .count = parts,
                  .batch = 1,
                  .m = g.m,
                  .n = g.n,
                  .c = g.c,
                  .ldc = g.ldc,
                  .stride_c = 0,
                  .beta = g.beta,
                  .bias = g.bias});
}

void gemm(Context& ctx, const Gemm& g) {
  if (const Blas* b = blas_for(ctx, g.m, g.n, g.k)) return blas_gemm(ctx, *b, g);
  own_gemm(ctx, g);
}

void repeat_row(Context& ctx, const float* row, int rows, int columns, float* y) {
  const bool wide = columns % 4 == 0 && aligned(row) && aligned(y);
  const std::int64_t size = std::int64_t{rows} * columns / (wide ? 4 : 1);
  launch(ctx, "bias", wide ? fill_rows<4> : fill_rows<1>, grid_for(ctx.cuda(), size), row, size,
         Divisor(wide ? columns / 4 : columns), y);
}

void add_rows(Context& ctx, const float* x, int rows, int columns, float* sum) {
  if (rows == 0 || columns == 0) return;
  const int chunks = (rows + sum_rows - 1) / sum_rows;
  ArenaScope scratch(ctx.arena());
  float* partial = ctx.arena().make<float, 2>({chunks, columns}).data;
  launch(ctx, "sum of rows", sum_of_rows,
         {.blocks = dim3(cover(columns, sum_columns), static_cast<unsigned>(chunks)),
          .threads = dim3(sum_columns, sum_lanes)},
         x, rows, columns, partial);
  launch(ctx, "sum of rows", add_partials, {.blocks = dim3(cover(columns, 128)), .threads = 128}, partial, chunks,
         columns, sum);
}

}  // namespace bib::device
