// Fully connected layer: the forward product row by row in one fixed order, the gradients' by gemm().
#include "bib/ops/linear.h"

#include <algorithm>

#include "cpu/gemm.h"
#include "cpu/isa.h"
#include "cpu/linear.simd.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace bib {

namespace {

constexpr int rows_per_task = 96;

const LinearSimd& simd() { return BIB_SELECT(linear); }

}  // namespace

// Not by gemm(): a sum begins with the bias, and few columns make panels of even width.
void on_cpu(Context& ctx, const LinearForward& op) {
  const int N = op.x.dim(0), I = op.x.dim(1), O = op.w.dim(0);
  const int width = (O + simd().lanes - 1) / simd().lanes * simd().lanes;
  ArenaScope scratch(ctx.arena());
  const auto packed = ctx.arena().make<real, 2>({I, width});
  const auto bias = ctx.arena().make<real, 1>({width});
  std::fill(std::copy_n(op.b.data, O, bias.data), bias.data + width, real(0));
  simd().pack(op.w.data, O, I, packed.data);
  parallel_chunks(ctx, N, rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    simd().forward(op.x.data + begin * I, static_cast<int>(end - begin), I, packed.data, bias.data, O,
                   op.y.data + begin * O);
  });
}

void on_cpu(Context& ctx, const LinearBackward& op) {
  const int N = op.x.dim(0), I = op.x.dim(1), O = op.w.dim(0);
  if (op.d_x) {
    gemm(ctx, {.m = N,
               .n = I,
               .k = O,
               .a = op.d_y.data,
               .lda = O,
               .b = op.w.data,
               .ldb = I,
               .beta = 0,
               .c = op.d_x.data,
               .ldc = I});
  }
  gemm(ctx, {.transpose_a = true,
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
  add_rows(ctx, op.d_y, op.d_b);
}

}  // namespace bib
