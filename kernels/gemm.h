// Dense product, row-major:  c = a b + beta c + bias,  a and b as they are or transposed.
// Large products go to cuBLAS where it is installed; the choice depends on the shape alone.
#pragma once
#include "kernels/launch.h"

namespace bib::device {

struct Gemm {
  bool transpose_a = false, transpose_b = false;
  int m = 0, n = 0, k = 0;
  const float* a = nullptr;  // [m,k], transposed [k,m]
  int lda = 0;
  const float* b = nullptr;  // [k,n], transposed [n,k]
  int ldb = 0;
  float beta = 0;
  float* c = nullptr;  // [m,n]
  int ldc = 0;
  const float* bias = nullptr;  // [n], added to every row; only with beta = 0
};
void gemm(Context& ctx, const Gemm& g);

/// The same, never with cuBLAS.
void own_gemm(Context& ctx, const Gemm& g);

/// sum[c] += sum over n of x[n,c], in an order that depends on the shape alone.
void add_rows(Context& ctx, const float* x, int rows, int columns, float* sum);

/// y[n,c] = row[c]
void repeat_row(Context& ctx, const float* row, int rows, int columns, float* y);

}  // namespace bib::device
