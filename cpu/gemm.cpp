#include "cpu/gemm.h"

#include <cblas.h>

#include <algorithm>
#include <mutex>

#include "cpu/parallel.h"

namespace bib {

namespace {

// One chunk is about 4 MFLOP at least: small enough to share among threads, large enough to repay the packing that
// OpenBLAS does per call. Chunk sizes are multiples of 48, which every micro-kernel's tile divides or nearly so.
constexpr int chunk_step = 48;
constexpr double chunk_flops = 4e6;

int chunk_length(int extent, double flops_per_unit) {
  const double units = std::max(1.0, chunk_flops / std::max(1.0, flops_per_unit));
  const int rounded = static_cast<int>(std::min<double>(extent, units)) + chunk_step - 1;
  return std::max(chunk_step, rounded / chunk_step * chunk_step);
}

}  // namespace

void gemm_one_thread(const Gemm& g) {
  // OpenBLAS' own threads would both compete with ours and let the summation order depend on their number.
  static std::once_flag once;
  std::call_once(once, [] { openblas_set_num_threads(1); });
  if (g.m == 0 || g.n == 0) return;
  const CBLAS_TRANSPOSE ta = g.transpose_a ? CblasTrans : CblasNoTrans;
  const CBLAS_TRANSPOSE tb = g.transpose_b ? CblasTrans : CblasNoTrans;
  if constexpr (sizeof(real) == sizeof(double)) {
    cblas_dgemm(CblasRowMajor, ta, tb, g.m, g.n, g.k, g.alpha, reinterpret_cast<const double*>(g.a), g.lda,
                reinterpret_cast<const double*>(g.b), g.ldb, g.beta, reinterpret_cast<double*>(g.c), g.ldc);
  } else {
    cblas_sgemm(CblasRowMajor, ta, tb, g.m, g.n, g.k, static_cast<float>(g.alpha), reinterpret_cast<const float*>(g.a),
                g.lda, reinterpret_cast<const float*>(g.b), g.ldb, static_cast<float>(g.beta),
                reinterpret_cast<float*>(g.c), g.ldc);
  }
}

void gemm(Context& ctx, const Gemm& g) {
  const bool by_rows = g.m >= g.n;  // split the longer side of C; the sums over k stay whole
  const int extent = by_rows ? g.m : g.n;
  const int length = chunk_length(extent, 2.0 * (by_rows ? g.n : g.m) * std::max(1, g.k));
  parallel_chunks(ctx, extent, length, [&](std::int64_t begin, std::int64_t end) {
    Gemm part = g;
    if (by_rows) {
      part.m = static_cast<int>(end - begin);
      part.a += g.transpose_a ? begin : begin * g.lda;
      part.c += begin * g.ldc;
    } else {
      part.n = static_cast<int>(end - begin);
      part.b += g.transpose_b ? begin * g.ldb : begin;
      part.c += begin;
    }
    gemm_one_thread(part);
  });
}

}  // namespace bib
