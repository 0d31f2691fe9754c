// Own dense product: tiles of 64 x 64 in shared memory, 4 x 4 sums per thread in registers, the next tile loaded while
// this one is used. Long sums that few tiles share are cut into parts, which are added up in their order.
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

constexpr int tile = 64, depth = 16, threads = 256;

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
};

/// This thread's quarter of a [depth][tile] slice; zeros outside. `along` runs along the tile, `deep` along the sum.
struct Slice {
  float v[4];
  __device__ static int along(bool fast_along, int i) {
    const int x = static_cast<int>(threadIdx.x) + i * threads;
    return fast_along ? x % tile : x / depth;
  }
  __device__ static int deep(bool fast_along, int i) {
    const int x = static_cast<int>(threadIdx.x) + i * threads;
    return fast_along ? x / tile : x % depth;
  }
  __device__ void load(const Strided& s, bool fast_along, int first, int most, int from, int end) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int x = first + along(fast_along, i), d = from + deep(fast_along, i);
      v[i] = x < most && d < end ? s.data[x * s.row + d * s.column] : 0.0f;
    }
  }
  __device__ void store(float (*to)[tile + 4], bool fast_along) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) to[deep(fast_along, i)][along(fast_along, i)] = v[i];
  }
};

__global__ void __launch_bounds__(threads) multiply(Product p) {
  after_previous();
  SHARED(float, a, [2][depth][tile + 4]);
  SHARED(float, b, [2][depth][tile + 4]);
  const int row = static_cast<int>(blockIdx.x) * tile, column = static_cast<int>(blockIdx.y) * tile;
  const int begin = static_cast<int>(blockIdx.z) * p.part, end = min(p.k, begin + p.part);
  const int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  const bool fast_a = p.a.row == 1, fast_b = p.b.row == 1;
  float sum[4][4] = {};
  Slice next_a, next_b;
  next_a.load(p.a, fast_a, row, p.m, begin, end);
  next_b.load(p.b, fast_b, column, p.n, begin, end);
  next_a.store(a[0], fast_a);
  next_b.store(b[0], fast_b);
  __syncthreads();
  int now = 0;
  for (int k = begin; k < end; k += depth, now ^= 1) {
    next_a.load(p.a, fast_a, row, p.m, k + depth, end);
    next_b.load(p.b, fast_b, column, p.n, k + depth, end);
#pragma unroll
    for (int d = 0; d < depth; ++d) {
      const float4 u = load4(&a[now][d][4 * y]), v = load4(&b[now][d][4 * x]);
      const float us[4] = {u.x, u.y, u.z, u.w}, vs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] += us[i] * vs[j];
    }
    next_a.store(a[now ^ 1], fast_a);
    next_b.store(b[now ^ 1], fast_b);
    __syncthreads();
  }
  float* c = p.c + static_cast<std::int64_t>(blockIdx.z) * p.m * p.ldc;
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      const int r = row + 4 * y + i, s = column + 4 * x + j;
      if (r >= p.m || s >= p.n) continue;
      float& to = c[r * p.ldc + s];
      to = sum[i][j] + (p.beta != 0 ? p.beta * to : 0.0f) + (p.bias ? p.bias[s] : 0.0f);
    }
  }
}

__global__ void sum_parts(Parts p) {
  after_previous();
  const std::int64_t size = static_cast<std::int64_t>(p.m) * p.n;
  for (std::int64_t i = global_thread(); i < p.batch * size; i += grid_threads()) {
    const std::int64_t batch = i / size, at = i % size;
    const float* from = p.from + batch * p.count * size + at;
    float sum = 0;
    for (int part = 0; part < p.count; ++part) sum += from[part * size];
    float& to = p.c[batch * p.stride_c + at / p.n * p.ldc + at % p.n];
    to = sum + (p.beta != 0 ? p.beta * to : 0.0f) + (p.bias ? p.bias[at % p.n] : 0.0f);
  }
}

__global__ void fill_rows(const float* row, std::int64_t size, int columns, float* y) {
  after_previous();
  for (std::int64_t i = global_thread(); i < size; i += grid_threads()) y[i] = row[i % columns];
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

void add_parts(Context& ctx, const Parts& p) {
  launch(ctx, "matrix product", sum_parts, grid_for(ctx.cuda(), std::int64_t{p.batch} * p.m * p.n), p);
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
            .bias = g.bias};
  const dim3 blocks(cover(g.m, tile), cover(g.n, tile), static_cast<unsigned>(parts));
  if (parts == 1) return launch(ctx, "matrix product", multiply, {.blocks = blocks, .threads = threads}, p);
  ArenaScope scratch(ctx.arena());
  Product part = p;
  part.part = (g.k + parts * depth - 1) / (parts * depth) * depth;
  part.c = ctx.arena().make<float, 3>({parts, g.m, g.n}).data;
  part.ldc = g.n;
  part.beta = 0;
  part.bias = nullptr;
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
  const std::int64_t size = std::int64_t{rows} * columns;
  launch(ctx, "bias", fill_rows, grid_for(ctx.cuda(), size), row, size, columns, y);
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
