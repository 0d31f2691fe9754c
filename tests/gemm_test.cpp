// The dense product against plain loops: every transposition, every tail, several depths of sums.
#include "cpu/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <vector>

#include "bib/random.h"
#include "cpu/blas.h"

namespace bib {
namespace {

std::vector<real> whole_numbers(int n, std::uint32_t stream) {
  std::vector<real> v(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i)
    v[static_cast<std::size_t>(i)] = static_cast<real>(
        static_cast<int>(random_uniform({.seed = 3, .stream = stream}, static_cast<std::uint64_t>(i)) * 7) - 3);
  return v;
}

/// Whole numbers, so that the sums are exact in any order; rows lie 3 apart more than they are long.
void compare(int m, int n, int k, bool transpose_a, bool transpose_b, real beta, int threads) {
  const int lda = (transpose_a ? m : k) + 3, ldb = (transpose_b ? k : n) + 3, ldc = n + 3;
  const std::vector<real> a = whole_numbers((transpose_a ? k : m) * lda, 0),
                          b = whole_numbers((transpose_b ? n : k) * ldb, 1);
  std::vector<real> c = whole_numbers(m * ldc, 2), expected = c;
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      real sum = 0;
      for (int p = 0; p < k; ++p)
        sum += a[static_cast<std::size_t>(transpose_a ? p * lda + i : i * lda + p)] *
               b[static_cast<std::size_t>(transpose_b ? j * ldb + p : p * ldb + j)];
      real& to = expected[static_cast<std::size_t>(i * ldc + j)];
      to = sum + (beta == 0 ? 0 : beta * to);
      if (beta == 0) c[static_cast<std::size_t>(i * ldc + j)] = std::numeric_limits<real>::quiet_NaN();  // not read
    }
  }
  Context ctx({.threads = threads});
  gemm(ctx, {.transpose_a = transpose_a,
             .transpose_b = transpose_b,
             .m = m,
             .n = n,
             .k = k,
             .a = a.data(),
             .lda = lda,
             .b = b.data(),
             .ldb = ldb,
             .beta = beta,
             .c = c.data(),
             .ldc = ldc});
  EXPECT_EQ(c, expected) << m << 'x' << n << 'x' << k << (transpose_a ? " A'" : "") << (transpose_b ? " B'" : "");
}

TEST(Gemm, IsTheProduct) {
  const int sizes[][3] = {{1, 1, 1},    {3, 5, 0},     {7, 17, 9},     {31, 320, 300},
                          {200, 9, 40}, {65, 63, 129}, {400, 130, 17}, {2, 64, 600}};
  for (const auto& [m, n, k] : sizes)
    for (const bool transpose_a : {false, true})
      for (const bool transpose_b : {false, true})
        for (const real beta : {real(0), real(1), real(2)}) compare(m, n, k, transpose_a, transpose_b, beta, 2);
}

TEST(Gemm, WritesNothingBesideC) { compare(50, 50, 50, true, true, 1, 3); }  // the 3 columns more are compared too

TEST(Blas, AnUnknownNameIsRefusedWithTheNamesThereAre) {
  ASSERT_EQ(setenv("BIB_CPU_BLAS", "mkl", 1), 0);
  try {
    blas();
    FAIL() << "taken for a library";
  } catch (const std::invalid_argument& e) {
    EXPECT_STREQ(e.what(), "BIB_CPU_BLAS is 'mkl'; it may be bib or openblas");
  }
  ASSERT_EQ(unsetenv("BIB_CPU_BLAS"), 0);
  EXPECT_EQ(blas(), nullptr);
}

}  // namespace
}  // namespace bib
