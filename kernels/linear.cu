// Fully connected layer: dense products; the gradient of the bias in fixed order.
#include "bib/ops/linear.h"
#include "kernels/gemm.h"

namespace bib {

void on_cuda(Context& ctx, const LinearForward& op) {
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
