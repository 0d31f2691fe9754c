// cuBLAS, opened with dlopen when the first large product asks for it: programs that never compute on a GPU neither
// link nor load it.
#pragma once
#include <cublas_v2.h>

namespace bib::device {

struct Blas {
  decltype(&cublasCreate_v2) create;
  decltype(&cublasDestroy_v2) destroy;
  decltype(&cublasSetStream_v2) set_stream;
  decltype(&cublasSetWorkspace_v2) set_workspace;
  decltype(&cublasSetMathMode) set_math;
  decltype(&cublasSgemm_v2) sgemm;
  // The C function: the header also declares a C++ one of this name.
  cublasStatus_t (*gemm_batched)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k,
                                 const void* alpha, const void* a, cudaDataType, int lda, long long stride_a,
                                 const void* b, cudaDataType, int ldb, long long stride_b, const void* beta, void* c,
                                 cudaDataType, int ldc, long long stride_c, int batch, cublasComputeType_t,
                                 cublasGemmAlgo_t);
};

/// Null where cuBLAS is not installed: the own product of gemm.cu then does all the work.
const Blas* blas();

}  // namespace bib::device
