// OpenBLAS in place of our own dense products, where the user asks for it: BIB_CPU_BLAS=openblas. Opened at run time,
// as cuBLAS is, so that neither the command nor an image carries it.
#pragma once
#include "bib/real.h"

namespace bib {

struct Blas {
  /// cblas_sgemm or cblas_dgemm: order, transposition of A and B, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc.
  void (*gemm)(int, int, int, int, int, int, real, const real*, int, const real*, int, real, real*, int);
};

/// Null unless BIB_CPU_BLAS is "openblas". Throws std::invalid_argument where it is and cannot be opened, or is another
/// word.
const Blas* blas();

}  // namespace bib
