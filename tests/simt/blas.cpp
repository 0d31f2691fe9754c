// cuBLAS on OpenBLAS: what kernels/blas.h asks the real library for, in stream order.
#include "kernels/blas.h"

#include <cblas.h>

#include "tests/simt/runtime.h"

namespace {

struct Handle {
  cudaStream_t stream = nullptr;
  int device = 0;
};

cublasStatus_t create(cublasHandle_t* h) {
  auto* const made = new Handle;
  cudaGetDevice(&made->device);
  *h = reinterpret_cast<cublasHandle_t>(made);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t destroy(cublasHandle_t h) {
  delete reinterpret_cast<Handle*>(h);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t set_stream(cublasHandle_t h, cudaStream_t stream) {
  reinterpret_cast<Handle*>(h)->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t set_workspace(cublasHandle_t, void*, std::size_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t set_math(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t sgemm(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                     const float* alpha, const float* a, int lda, const float* b, int ldb, const float* beta, float* c,
                     int ldc) {
  int device = 0;
  if (cudaGetDevice(&device); device != reinterpret_cast<Handle*>(h)->device) return CUBLAS_STATUS_INVALID_VALUE;
  const auto transposed = [](cublasOperation_t t) { return t == CUBLAS_OP_N ? CblasNoTrans : CblasTrans; };
  const float alpha_now = *alpha, beta_now = *beta;
  const auto product = [=] {
    cblas_sgemm(CblasColMajor, transposed(ta), transposed(tb), m, n, k, alpha_now, a, lda, b, ldb, beta_now, c, ldc);
    simt::host_wrote_matrix(c, m, n, ldc);
    return cudaSuccess;
  };
  // As the real one, by a kernel with a cluster that depends on the shapes.
  const dim3 cluster(n % 64 < 32 ? 1 : 2, 1, 1);
  const cudaError_t e = simt::enqueue(reinterpret_cast<Handle*>(h)->stream, product,
                                      {.type = cudaGraphNodeTypeKernel, .cluster = cluster});
  return e == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace

namespace bib::device {
const Blas* blas() {
  static const Blas functions{create, destroy, set_stream, set_workspace, set_math, sgemm};
  return &functions;
}
}  // namespace bib::device
