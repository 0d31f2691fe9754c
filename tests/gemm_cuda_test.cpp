// Products of bf16 and fp16 on a GPU (or the emulator): small whole numbers, which they hold and fp32 sums exactly, so
// that every order of terms gives the same. Own kernel and cuBLAS, all layouts, tails of tiles, sums in parts, several
// at once.
#include <cuda_fp16.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <optional>

#include "bib/cuda_backend.h"
#include "kernels/blas.h"
#include "kernels/gemm.h"
#include "tests/cuda_at_hand.h"

namespace bib::test {
namespace {

struct Shape {
  const char* name;
  int m, n, k, batch = 1;
  float beta = 0;
  bool common_a = false;  // all products have it in common
  int past = 4;           // elements between rows and matrices that are no part of the product
};

constexpr Shape shapes[] = {{"one_tile", 4, 8, 4},
                            {"whole_tiles", 128, 64, 64},
                            {"tails", 100, 76, 44, 1, 1},
                            {"several", 20, 68, 36, 3},
                            {"several_with_one_a", 12, 12, 100, 2, 1, true},
                            {"large_tiles", 132, 140, 36, 26, 1},
                            {"sum_in_parts", 60, 72, 1100, 2, 1},
                            // Large enough for cuBLAS.
                            {"large_with_one_a", 260, 68, 132, 2, 0, true, 8},
                            {"large_with_tails", 1028, 84, 60, 1, 1, false, 8},
                            {"large_with_odd_columns", 1028, 83, 60}};

std::vector<std::uint16_t> numbers(std::size_t n, int seed) {
  std::vector<std::uint16_t> v(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto whole = static_cast<float>((static_cast<int>(i) * 37 + seed) % 15 - 7);
    v[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(whole) >> 16);
  }
  return v;
}
float widened(std::uint16_t v) { return std::bit_cast<float>(std::uint32_t{v} << 16); }

using Way = void (*)(Context&, const device::GemmBf16&);

class GemmBf16OnDevice : public ::testing::TestWithParam<Shape> {};

TEST_P(GemmBf16OnDevice, is_exact_on_whole_numbers) {
  if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
  if (cuda_info().compute_major < 8) GTEST_SKIP() << "no tensor cores for bf16";
  const Shape s = GetParam();
  Context cuda({.device = Device::cuda, .math = Math::fast});
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      for (const Way way : {Way{device::own_gemm}, Way{device::gemm}}) {
        const auto row = [&](int values) { return (values + 3) / 4 * 4 + s.past; };
        const int rows_a = transpose_a ? s.k : s.m, lda = row(transpose_a ? s.m : s.k);
        const int rows_b = transpose_b ? s.n : s.k, ldb = row(transpose_b ? s.k : s.n), ldc = s.n + s.past;
        const auto size = [](int rows, int ld) {
          return static_cast<std::size_t>(rows) * static_cast<std::size_t>(ld);
        };
        const auto count = static_cast<std::size_t>(s.batch);
        const auto a = numbers((s.common_a ? 1 : count) * size(rows_a, lda), 1);
        const auto b = numbers(count * size(rows_b, ldb), 5);
        std::vector<float> c(count * size(s.m, ldc));
        for (std::size_t i = 0; i < c.size(); ++i) c[i] = static_cast<float>(i % 11);
        std::vector<float> expected = c;
        for (std::size_t batch = 0; batch < count; ++batch) {
          for (int i = 0; i < s.m; ++i) {
            for (int j = 0; j < s.n; ++j) {
              float& to = expected[batch * size(s.m, ldc) + size(i, ldc) + static_cast<std::size_t>(j)];
              to *= s.beta;
              for (int k = 0; k < s.k; ++k) {
                const std::size_t at_a = transpose_a ? size(k, lda) + static_cast<std::size_t>(i)
                                                     : size(i, lda) + static_cast<std::size_t>(k);
                const std::size_t at_b = transpose_b ? size(j, ldb) + static_cast<std::size_t>(k)
                                                     : size(k, ldb) + static_cast<std::size_t>(j);
                to += widened(a[(s.common_a ? 0 : batch) * size(rows_a, lda) + at_a]) *
                      widened(b[batch * size(rows_b, ldb) + at_b]);
              }
            }
          }
        }
        const auto on_device = [&]<class T>(const std::vector<T>& host) {
          return upload<T, 1>(cuda, host, {static_cast<int>(host.size())});
        };
        const auto device_a = on_device(a), device_b = on_device(b);
        const auto device_c = on_device(c);
        way(cuda, {.transpose_a = transpose_a,
                   .transpose_b = transpose_b,
                   .m = s.m,
                   .n = s.n,
                   .k = s.k,
                   .batch = s.batch,
                   .a = device_a.data,
                   .lda = lda,
                   .stride_a = s.common_a ? 0 : static_cast<std::int64_t>(size(rows_a, lda)),
                   .b = device_b.data,
                   .ldb = ldb,
                   .stride_b = static_cast<std::int64_t>(size(rows_b, ldb)),
                   .beta = s.beta,
                   .c = device_c.data,
                   .ldc = ldc,
                   .stride_c = static_cast<std::int64_t>(size(s.m, ldc))});
        EXPECT_EQ(download(cuda, device_c), expected) << "transposed: " << transpose_a << transpose_b;
        cuda.arena().reset();
      }
    }
  }
}

class GemmFp16OnDevice : public ::testing::TestWithParam<Shape> {};

/// Of small whole numbers: sums that fp32 has exactly, rounded once.
TEST_P(GemmFp16OnDevice, is_exact_on_whole_numbers) {
  if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
  if (cuda_info().compute_major < 8) GTEST_SKIP() << "no tensor cores for it";
  const Shape s = GetParam();
  Context cuda({.device = Device::cuda, .math = Math::fast});
  const auto fp16 = [](float v) { return static_cast<std::uint16_t>(static_cast<__half_raw>(__float2half_rn(v)).x); };
  const int ld = (s.k + 3) / 4 * 4 + s.past, ldc = s.n + s.past;
  const auto at = [](int row, int columns, int column) {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(columns) + static_cast<std::size_t>(column);
  };
  const auto number = [](int i, int k) { return static_cast<float>((i * 5 + k * 3) % 7 - 3); };
  std::vector<std::uint16_t> a(at(s.m, ld, 0), fp16(9)), b(at(s.n, ld, 0), fp16(9));
  for (int i = 0; i < s.m; ++i)
    for (int k = 0; k < s.k; ++k) a[at(i, ld, k)] = fp16(number(i, k));
  for (int j = 0; j < s.n; ++j)
    for (int k = 0; k < s.k; ++k) b[at(j, ld, k)] = fp16(number(3 * j + 1, k));
  constexpr std::uint16_t untouched = 12345;
  std::vector<std::uint16_t> expected(at(s.m, ldc, 0), untouched);
  for (int i = 0; i < s.m; ++i) {
    for (int j = 0; j < s.n; ++j) {
      float sum = 0;
      for (int k = 0; k < s.k; ++k) sum += number(i, k) * number(3 * j + 1, k);
      expected[at(i, ldc, j)] = fp16(sum);
    }
  }
  const auto on_device = [&](const std::vector<std::uint16_t>& host) {
    return upload<std::uint16_t, 1>(cuda, host, {static_cast<int>(host.size())});
  };
  using OfFp16 = void (*)(Context&, const device::GemmFp16&);
  for (const OfFp16 way : {OfFp16{device::own_gemm}, OfFp16{device::gemm}}) {
    const auto c = on_device(std::vector<std::uint16_t>(expected.size(), untouched));
    way(cuda, {.m = s.m,
               .n = s.n,
               .k = s.k,
               .a = on_device(a).data,
               .lda = ld,
               .b = on_device(b).data,
               .ldb = ld,
               .c = c.data,
               .ldc = ldc});
    EXPECT_EQ(download(cuda, c), expected) << (way == OfFp16{device::own_gemm} ? "our own" : "cuBLAS");
    cuda.arena().reset();
  }
}

constexpr Shape of_fp16[] = {{"one_tile", 4, 8, 4},
                             {"whole_tiles", 128, 64, 64},
                             {"tails", 100, 76, 44},
                             {"long_sum", 60, 72, 1100},
                             {"short_sum", 5, 12, 36},
                             {"large", 1028, 84, 60, 1, 0, false, 8},
                             {"large_with_tail", 515, 204, 92},
                             {"large_tiles", 12700, 36, 40}};

/// Which kernels a product of some size takes.
std::uint64_t kernels_of(Way way, bool own_products = false) {
  Context cuda({.device = Device::cuda, .math = Math::fast});
  std::optional<OwnProducts> own;
  if (own_products) own.emplace(cuda);
  const std::vector<std::uint16_t> zeros(512 * 512);
  const auto a = upload<std::uint16_t, 2>(cuda, zeros, {512, 512});
  const auto c = cuda.arena().make<float, 2>({512, 512});
  way(cuda, {.m = 512, .n = 512, .k = 512, .a = a.data, .lda = 512, .b = a.data, .ldb = 512, .c = c.data, .ldc = 512});
  cuda.wait();
  return cuda_enqueued(cuda.cuda());
}

TEST(GpuBlas, is_what_the_environment_asks_for) {
  if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
  if (cuda_info().compute_major < 8) GTEST_SKIP() << "no tensor cores for bf16";
  const auto asking = [](const char* value, bool own_products = false) {
    ::setenv("BIB_GPU_BLAS", value, 1);
    const std::uint64_t found = kernels_of(device::gemm, own_products);
    ::unsetenv("BIB_GPU_BLAS");
    return found;
  };
  const std::uint64_t own = kernels_of(device::own_gemm);
  EXPECT_EQ(asking("bib"), own);
  EXPECT_EQ(asking("cublas"), kernels_of(device::gemm));
  EXPECT_EQ(kernels_of(device::gemm, true), own);
  EXPECT_EQ(asking("bib", true), own);
  EXPECT_EQ(asking("cublas", true), asking("cublas"));
  if (device::blas()) {
    EXPECT_NE(asking("cublas"), own);
  }
  EXPECT_THROW(asking("mkl"), std::invalid_argument);
  ::unsetenv("BIB_GPU_BLAS");
}

INSTANTIATE_TEST_SUITE_P(Shapes, GemmFp16OnDevice, ::testing::ValuesIn(of_fp16),
                         [](const auto& shape) { return std::string(shape.param.name); });
INSTANTIATE_TEST_SUITE_P(Shapes, GemmBf16OnDevice, ::testing::ValuesIn(shapes),
                         [](const auto& shape) { return std::string(shape.param.name); });

}  // namespace
}  // namespace bib::test
