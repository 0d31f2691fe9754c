// Fully connected layer: dense products on BLAS, bias and its gradient in fixed order.
#include "bib/ops/linear.h"

#include "cpu/gemm.h"
#include "cpu/rows.h"

namespace bib {

void on_cpu(Context& ctx, const LinearForward& op) {
  const int N = op.x.dim(0), I = op.x.dim(1), O = op.w.dim(0);
  repeat_row(ctx, op.b, op.y);
  gemm(ctx, {.transpose_b = true,
             .m = N,
             .n = O,
             .k = I,
             .a = op.x.data,
             .lda = I,
             .b = op.w.data,
             .ldb = I,
             .beta = 1,
             .c = op.y.data,
             .ldc = O});
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
