// Dense products: our own (gemm.simd.cpp), or OpenBLAS' where BIB_CPU_BLAS=openblas asks for it. Debian's OpenBLAS
// takes CPUs younger than itself for old ones and then runs at a fraction of their speed.
#pragma once
#include "bib/context.h"

namespace bib {

/// C[m,n] = op(A) op(B) + beta C, row-major;  op(A) is [m,k], op(B) is [k,n].
struct Gemm {
  bool transpose_a = false, transpose_b = false;
  int m = 0, n = 0, k = 0;
  const real* a = nullptr;
  int lda = 0;  // elements from one row of A, as stored, to the next
  const real* b = nullptr;
  int ldb = 0;
  real beta = 0;
  real* c = nullptr;
  int ldc = 0;
};

/// With beta 0, C is not read. The same bits for any number of threads.
void gemm(Context& ctx, const Gemm& g);

}  // namespace bib
