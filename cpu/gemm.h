// Dense products on OpenBLAS, split here so that the result does not depend on the thread count.
#pragma once
#include <string_view>

#include "bib/context.h"

namespace bib {

/// C[m,n] = alpha op(A) op(B) + beta C, row-major;  op(A) is [m,k], op(B) is [k,n].
struct Gemm {
  bool transpose_a = false, transpose_b = false;
  int m = 0, n = 0, k = 0;
  real alpha = 1;
  const real* a = nullptr;
  int lda = 0;  // elements from one row of A, as stored, to the next
  const real* b = nullptr;
  int ldb = 0;
  real beta = 0;
  real* c = nullptr;
  int ldc = 0;
};

void gemm(Context& ctx, const Gemm& g);
/// The same on the calling thread alone, for use inside parallel_for.
void gemm_one_thread(const Gemm& g);

}  // namespace bib
