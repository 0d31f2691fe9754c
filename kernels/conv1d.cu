// Convolution over time as one product per window step: in the time-major layout the steps that tap w reads are
// contiguous rows, so nothing is unfolded.
#include "bib/ops/conv1d.h"
#include "kernels/gemm.h"

namespace bib {
namespace {

/// Positions whose tap `w` falls on a real step: `rows` rows of [B,.] from position p and step t.
struct Tap {
  int p, t, rows;
};

Tap tap(int w, int pad, int P, int T, int B) {
  const int begin = std::max(0, pad - w), end = std::min(P, T + pad - w);
  return {.p = begin, .t = begin + w - pad, .rows = std::max(0, end - begin) * B};
}

}  // namespace

void on_cuda(Context& ctx, const Conv1dForward& op) {
  const int T = op.x.dim(0), B = op.x.dim(1), W = op.w.dim(0), C = op.w.dim(1), F = op.w.dim(2), P = op.y.dim(0);
  device::repeat_row(ctx, op.b.data, P * B, F, op.y.data);
  for (int w = 0; w < W; ++w) {
    const Tap at = tap(w, op.pad, P, T, B);
    if (at.rows == 0) continue;
    device::gemm(ctx, {.m = at.rows,
                       .n = F,
                       .k = C,
                       .a = op.x[at.t].data,
                       .lda = C,
                       .b = op.w[w].data,
                       .ldb = F,
                       .beta = 1,
                       .c = op.y[at.p].data,
                       .ldc = F});
  }
}

void on_cuda(Context& ctx, const Conv1dBackward& op) {
  const int T = op.x.dim(0), B = op.x.dim(1), W = op.w.dim(0), C = op.w.dim(1), F = op.w.dim(2), P = op.d_y.dim(0);
  if (op.d_x) zero(ctx, op.d_x);
  for (int w = 0; w < W; ++w) {
    const Tap at = tap(w, op.pad, P, T, B);
    if (at.rows == 0) continue;
    if (op.d_x) {
      device::gemm(ctx, {.transpose_b = true,
                         .m = at.rows,
                         .n = C,
                         .k = F,
                         .a = op.d_y[at.p].data,
                         .lda = F,
                         .b = op.w[w].data,
                         .ldb = F,
                         .beta = 1,
                         .c = op.d_x[at.t].data,
                         .ldc = C});
    }
    device::gemm(ctx, {.transpose_a = true,
                       .m = C,
                       .n = F,
                       .k = at.rows,
                       .a = op.x[at.t].data,
                       .lda = C,
                       .b = op.d_y[at.p].data,
                       .ldb = F,
                       .beta = 1,
                       .c = op.d_w[w].data,
                       .ldc = F});
  }
  device::add_rows(ctx, op.d_y.data, P * B, F, op.d_b.data);
}

}  // namespace bib
