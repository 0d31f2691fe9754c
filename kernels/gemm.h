// Dense product, row-major:  c = a b + beta c + bias,  a and b as they are or transposed.
// Large products go to cuBLAS where it is installed; the choice depends on the shape, and on whether OwnProducts lives.
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

/// Products of bf16, summed in fp32, where the math is fast (tensor cores, sm_80 and newer):
///   c = a b + beta c,  `batch` of them at a stride from each other.
/// Rows of a and b lie `ld` apart; that and the strides are multiples of 4, a and b aligned to 8 bytes, and rows may be
/// read up to the next multiple of 4.
struct GemmBf16 {
  bool transpose_a = false, transpose_b = false;
  int m = 0, n = 0, k = 0, batch = 1;
  const std::uint16_t* a = nullptr;
  int lda = 0;
  std::int64_t stride_a = 0;  // 0: all products have it in common
  const std::uint16_t* b = nullptr;
  int ldb = 0;
  std::int64_t stride_b = 0;
  float beta = 0;
  float* c = nullptr;
  int ldc = 0;
  std::int64_t stride_c = 0;
};
void gemm(Context& ctx, const GemmBf16& g);

/// The same of fp16, rounded to it:  c = a b^T,  where that is too large 65504 or (cuBLAS) infinite. n, k, ldc and what
/// is a multiple of 4 above are multiples of 4, c is aligned to 8 bytes.
struct GemmFp16 {
  int m = 0, n = 0, k = 0;
  const std::uint16_t* a = nullptr;  // [m,k]
  int lda = 0;
  const std::uint16_t* b = nullptr;  // [n,k]
  int ldb = 0;
  std::uint16_t* c = nullptr;  // [m,n]
  int ldc = 0;
};
void gemm(Context& ctx, const GemmFp16& g);

/// The same, never with cuBLAS.
void own_gemm(Context& ctx, const GemmBf16& g);
void own_gemm(Context& ctx, const GemmFp16& g);

/// Into how many parts a product of ours cuts its sums of k terms, so that `tiles` blocks do not leave the GPU idle.
int parts_of_sums(unsigned tiles, int k);

/// c = the sum of the parts [batch][count][m,n], in their order, + beta c + bias.
struct Parts {
  const float* from;
  int count, batch, m, n;
  float* c;
  std::int64_t ldc, stride_c;
  float beta;
  const float* bias;
};
void add_parts(Context& ctx, const Parts& p);

/// cuBLAS, ready to be called and recorded, for so large a product; null where it is smaller, there is no cuBLAS, or
/// OwnProducts or BIB_GPU_BLAS=bib asks for our own. Throws std::invalid_argument when that asks for something else.
struct Blas;
const Blas* blas_for(Context& ctx, std::int64_t m, std::int64_t n, std::int64_t k);
/// Of its answer: throws std::runtime_error unless the product is enqueued, the last of it a kernel.
void enqueued_by_blas(Context& ctx, int status);

/// sum[c] += sum over n of x[n,c], in an order that depends on the shape alone.
void add_rows(Context& ctx, const float* x, int rows, int columns, float* sum);

/// y[n,c] = row[c]
void repeat_row(Context& ctx, const float* row, int rows, int columns, float* y);

}  // namespace bib::device
