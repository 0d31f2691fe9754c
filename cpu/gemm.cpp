// Both operands are put into the kernels' order once, then blocks of C are shared among the threads. Every element is a
// chain of multiply-adds in the order of k: the bits depend neither on the threads nor on the block.
#include "cpu/gemm.h"

#include <algorithm>

#include "cpu/gemm.simd.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace bib {

namespace {

constexpr int rows_per_block = 192;  // of A, in the second-level cache while a panel goes over them
constexpr int rows_per_task = 256;   // of the stored A, when it is transposed

const GemmSimd& simd() { return select(base::gemm, avx2::gemm, avx512::gemm); }
int padded(int n) { return (n + simd().lanes - 1) / simd().lanes * simd().lanes; }

}  // namespace

void gemm(Context& ctx, const Gemm& g) {
  if (g.m == 0 || g.n == 0) return;
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
