// The dense product's inner loops, compiled per instruction set.
#pragma once
#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {

/// C[rows,n] = A B + beta C for one panel of B: every element of C is one chain of fused steps in the order of k.
struct GemmBlock {
  int rows, n, k;
  const real* a;  // [rows,k] with rows lda apart
  int lda;
  const real* panel;  // from pack()
  real beta;
  real* c;
  int ldc;
};

struct GemmSimd {
  int lanes, panel;  // columns of a panel; the last one of a product has 1..panel
  /// n columns of op(B), from b = op(B)[0][0] on, as [k][n rounded up to lanes] with zeros behind the last.
  void (*pack)(const real* b, int ldb, bool transposed, int k, int n, real* to);
  /// to[c*ld_to + r] = from[r*ld_from + c] for c < columns, and r < rows rounded up to lanes, zeros from `rows` on.
  void (*transpose)(const real* from, int ld_from, int rows, int columns, real* to, int ld_to);
  void (*multiply)(const GemmBlock&);
};

BIB_TABLES(GemmSimd, gemm)

}  // namespace bib
