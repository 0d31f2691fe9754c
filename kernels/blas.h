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
};

/// Null where cuBLAS is not installed: the own product of gemm.cu then does all the work.
const Blas* blas();

}  // namespace bib::device
