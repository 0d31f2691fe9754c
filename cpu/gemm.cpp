// Both operands are put into the kernels' order once, then blocks of C are shared among the threads. Every element is a
// chain of multiply-adds in the order of k: the bits depend neither on the threads nor on the block.
#include "cpu/gemm.h"

#include <algorithm>
#include <cstdint>

#include "cpu/blas.h"
#include "cpu/gemm.simd.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace bib {

namespace {

constexpr int rows_per_block = 192;  // of A, in the second-level cache while a panel goes over them
constexpr int rows_per_task = 256;   // of the stored A, when it is transposed

const GemmSimd& simd() { return BIB_SELECT(gemm); }
int padded(int n) { return (n + simd().lanes - 1) / simd().lanes * simd().lanes; }

/// Chunks of the longer side of C, sums over k whole: the bits do not depend on the threads. A chunk is 4 MFLOP at
/// least, so that it repays the packing of each call.
void by_blas(Context& ctx, const Gemm& g, const Blas& blas) {
  constexpr int row_major = 101, as_is = 111, transposed = 112;  // of cblas.h
  const bool by_rows = g.m >= g.n;
  const std::int64_t extent = by_rows ? g.m : g.n;
  const double flops = 2.0 * (by_rows ? g.n : g.m) * std::max(1, g.k);
  const std::int64_t chunk =
      (static_cast<std::int64_t>(4e6 / flops) / 48 + 1) * 48;  // 48: most kernels' tiles divide it
  parallel_chunks(ctx, extent, chunk, [&](std::int64_t begin, std::int64_t end) {
    const int length = static_cast<int>(end - begin);
    const real* const a = by_rows ? g.a + (g.transpose_a ? begin : begin * g.lda) : g.a;
    const real* const b = by_rows ? g.b : g.b + (g.transpose_b ? begin * g.ldb : begin);
    blas.gemm(row_major, g.transpose_a ? transposed : as_is, g.transpose_b ? transposed : as_is, by_rows ? length : g.m,
              by_rows ? g.n : length, g.k, 1, a, g.lda, b, g.ldb, g.beta, g.c + (by_rows ? begin * g.ldc : begin),
              g.ldc);
  });
}

}  // namespace

void gemm(Context& ctx, const Gemm& g) {
  if (g.m == 0 || g.n == 0) return;
  if (const Blas* other = blas()) return by_blas(ctx, g, *other);
  const GemmSimd& s = simd();
  const int panels = (g.n + s.panel - 1) / s.panel, blocks = (g.m + rows_per_block - 1) / rows_per_block;
  const int turns = g.transpose_a ? (g.k + rows_per_task - 1) / rows_per_task : 0;
  const int lda = g.transpose_a ? padded(g.k) : g.lda;
  ArenaScope scope(ctx.arena());
  const View<real, 2> b = ctx.arena().make<real, 2>({panels, std::max(1, g.k) * s.panel});
  real* const turned = g.transpose_a ? ctx.arena().make<real, 2>({g.m, lda}).data : nullptr;
  const auto columns = [&](int panel) { return std::min(s.panel, g.n - panel * s.panel); };
  parallel_tasks(
      ctx,
      Tasks{panels,
            [&](int i) {
              const std::int64_t first = std::int64_t{i} * s.panel;
              s.pack(g.b + (g.transpose_b ? first * g.ldb : first), g.ldb, g.transpose_b, g.k, columns(i), b[i].data);
            }},
      Tasks{turns, [&](int i) {
              const int k = i * rows_per_task;
              s.transpose(g.a + std::int64_t{k} * g.lda, g.lda, std::min(rows_per_task, g.k - k), g.m, turned + k, lda);
            }});
  const real* const a = g.transpose_a ? turned : g.a;
  parallel_for(ctx, panels * blocks, [&](int i) {
    const int panel = i / blocks, row = i % blocks * rows_per_block;
    s.multiply({.rows = std::min(rows_per_block, g.m - row),
                .n = columns(panel),
                .k = g.k,
                .a = a + std::int64_t{row} * lda,
                .lda = lda,
                .panel = b[panel].data,
                .beta = g.beta,
                .c = g.c + std::int64_t{row} * g.ldc + std::int64_t{panel} * s.panel,
                .ldc = g.ldc});
  });
}

}  // namespace bib
