// cuBLAS on OpenBLAS: what kernels/blas.h asks the real library for, in stream order.
#include "kernels/blas.h"

#include <cblas.h>
#include <cuda_fp16.h>

#include <bit>
#include <cstdint>
#include <vector>

#include "tests/simt/include/simt.h"
#include "tests/simt/runtime.h"

namespace {

struct Handle {
  cudaStream_t stream = nullptr;
  int device = 0;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
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
cublasStatus_t set_math(cublasHandle_t h, cublasMath_t math) {
  reinterpret_cast<Handle*>(h)->math = math;
  return CUBLAS_STATUS_SUCCESS;
}

CBLAS_TRANSPOSE transposed(cublasOperation_t t) { return t == CUBLAS_OP_N ? CblasNoTrans : CblasTrans; }

/// As the real one, by a kernel whose cluster, and whether it may start early, depend on the shapes.
template <class F>
cublasStatus_t enqueue(cublasHandle_t h, int n, const F& product) {
  int device = 0;
  if (cudaGetDevice(&device); device != reinterpret_cast<Handle*>(h)->device) return CUBLAS_STATUS_INVALID_VALUE;
  const cudaStream_t stream = reinterpret_cast<Handle*>(h)->stream;
  const cudaError_t e = simt::enqueue(stream, product,
                                      {.type = cudaGraphNodeTypeKernel,
                                       .cluster = dim3(n % 64 < 32 ? 1 : 2, 1, 1),
                                       .early = simt::after_kernel(stream) && n % 4 >= 2});
  return e == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

cublasStatus_t sgemm(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                     const float* alpha, const float* a, int lda, const float* b, int ldb, const float* beta, float* c,
                     int ldc) {
  return enqueue(h, n, [=, alpha = *alpha, beta = *beta] {
    cblas_sgemm(CblasColMajor, transposed(ta), transposed(tb), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    simt::host_wrote_matrix(c, sizeof *c, m, n, ldc);
    return cudaSuccess;
  });
}

/// Column-major [rows, columns] of bf16 or fp16.
std::vector<float> widened(const std::uint16_t* from, int rows, int columns, int ld, bool fp16) {
  std::vector<float> to(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns));
  for (int j = 0; j < columns; ++j) {
    for (int i = 0; i < rows; ++i) {
      const unsigned bits = from[std::int64_t{j} * ld + i];
      to[static_cast<std::size_t>(j) * static_cast<std::size_t>(rows) + static_cast<std::size_t>(i)] =
          fp16 ? simt::fp16_value(bits) : std::bit_cast<float>(bits << 16);
    }
  }
  return to;
}

cublasStatus_t gemm_batched(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                            const void* alpha, const void* a, cudaDataType type_a, int lda, long long stride_a,
                            const void* b, cudaDataType type_b, int ldb, long long stride_b, const void* beta, void* c,
                            cudaDataType type_c, int ldc, long long stride_c, int batch, cublasComputeType_t compute,
                            cublasGemmAlgo_t) {
  const bool fp16 = type_a == CUDA_R_16F;
  if (!(fp16 || type_a == CUDA_R_16BF) || type_b != type_a || type_c != (fp16 ? CUDA_R_16F : CUDA_R_32F) ||
      compute != CUBLAS_COMPUTE_32F)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  // The real one may round the parts of a sum to fp16 and add them so, which would go unnoticed here.
  if (fp16 && !(reinterpret_cast<Handle*>(h)->math & CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  return enqueue(h, n, [=, alpha = *static_cast<const float*>(alpha), beta = *static_cast<const float*>(beta)] {
    for (int i = 0; i < batch; ++i) {
      const auto left = ta == CUBLAS_OP_N ? std::pair(m, k) : std::pair(k, m);
      const auto right = tb == CUBLAS_OP_N ? std::pair(k, n) : std::pair(n, k);
      const auto a32 = widened(static_cast<const std::uint16_t*>(a) + i * stride_a, left.first, left.second, lda, fp16);
      const auto b32 =
          widened(static_cast<const std::uint16_t*>(b) + i * stride_b, right.first, right.second, ldb, fp16);
      const auto multiply = [&](float* to, int ld) {
        cblas_sgemm(CblasColMajor, transposed(ta), transposed(tb), m, n, k, alpha, a32.data(), left.first, b32.data(),
                    right.first, beta, to, ld);
      };
      if (!fp16) {
        float* const to = static_cast<float*>(c) + i * stride_c;
        multiply(to, ldc);
        simt::host_wrote_matrix(to, sizeof *to, m, n, ldc);
        continue;
      }
      if (beta != 0) return cudaErrorNotSupported;
      std::vector<float> sums(static_cast<std::size_t>(m) * static_cast<std::size_t>(n));
      multiply(sums.data(), m);
      auto* const to = static_cast<std::uint16_t*>(c) + i * stride_c;
      for (int column = 0; column < n; ++column)
        for (int row = 0; row < m; ++row)
          to[std::int64_t{column} * ldc + row] =
              static_cast<__half_raw>(
                  __float2half_rn(sums[static_cast<std::size_t>(column) * static_cast<std::size_t>(m) +
                                       static_cast<std::size_t>(row)]))
                  .x;
      simt::host_wrote_matrix(to, sizeof *to, m, n, ldc);
    }
    return cudaSuccess;
  });
}

}  // namespace

namespace bib::device {
const Blas* blas() {
  static const Blas functions{create, destroy, set_stream, set_workspace, set_math, sgemm, gemm_batched};
  return &functions;
}
}  // namespace bib::device
