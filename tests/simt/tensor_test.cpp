// The emulator's tensor cores: a product through the very wrappers that kernels use, its rounding, and the order that
// ldmatrix does not bring.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "kernels/mma.h"

namespace bib::device {
namespace {

using ::testing::HasSubstr;

/// d [16,8] = a [16,16] b [16,8], b given as its transpose [8,16].
template <Format format>
__global__ void product(const float* a, const float* b, float* d, bool synchronised) {
  SHARED(std::uint16_t, columns, [32][8]);  // 8 rows of 16 values, as two matrices of 8 x 8, and two of zeros
  const int g = lane_id() / 4, q = lane_id() % 4;
  for (int i = warp_lanes - 1 - lane_id(); i < 32 * 4; i += warp_lanes) {  // not the words that the lane will get
    const int row = i / 4, k = row / 8 * 8 + i % 4 * 2;
    const float* from = b + row % 8 * 16 + k;
    const unsigned pair = row < 16 ? pack<format>(from[0], from[1]) : 0;
    *reinterpret_cast<unsigned*>(&columns[row][i % 4 * 2]) = pair;
  }
  if (synchronised) __syncwarp();
  unsigned words[4];
  load_matrices(words, columns[lane_id()]);
  const auto pair = [&](int row, int k) { return pack<format>(a[row * 16 + k], a[row * 16 + k + 1]); };
  float sum[4] = {1, 1, 1, 1};
  mma<format>(sum, make_uint4(pair(g, 2 * q), pair(g + 8, 2 * q), pair(g, 2 * q + 8), pair(g + 8, 2 * q + 8)), words[0],
              words[1]);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * q + i % 2] = sum[i];
}

struct Matrices {
  float *a = nullptr, *b = nullptr, *d = nullptr;

  Matrices() {
    for (float** p : {&a, &b, &d}) EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(p), 256 * sizeof(float)), cudaSuccess);
  }
  ~Matrices() {
    for (float* p : {a, b, d}) cudaFree(p);
  }
  std::string run(const std::vector<float>& left, const std::vector<float>& right, bool synchronised,
                  Format format = Format::bf16) const {
    cudaMemcpy(a, left.data(), left.size() * sizeof(float), cudaMemcpyHostToDevice);
    cudaMemcpy(b, right.data(), right.size() * sizeof(float), cudaMemcpyHostToDevice);
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(1);
    config.blockDim = dim3(32);
    const cudaError_t e = cudaLaunchKernelEx(
        &config, format == Format::bf16 ? product<Format::bf16> : product<Format::fp16>, a, b, d, synchronised);
    const std::string text = e == cudaSuccess ? "" : cudaGetErrorString(e);
    cudaGetLastError();
    return text;
  }
  std::vector<float> product_of() const {
    std::vector<float> v(128);
    cudaMemcpy(v.data(), d, v.size() * sizeof(float), cudaMemcpyDeviceToHost);
    return v;
  }
};

TEST(TensorCores, multiply_and_add) {
  std::vector<float> a(256), b(128), expected(128, 1.0f);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i * 7 % 23) - 11;
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i * 5 % 19) - 9;
  for (std::size_t row = 0; row < 16; ++row)
    for (std::size_t column = 0; column < 8; ++column)
      for (std::size_t k = 0; k < 16; ++k) expected[row * 8 + column] += a[row * 16 + k] * b[column * 16 + k];
  const Matrices m;
  for (const Format format : {Format::bf16, Format::fp16}) {
    EXPECT_EQ(m.run(a, b, true, format), "");
    EXPECT_EQ(m.product_of(), expected);
  }
}

TEST(TensorCores, what_goes_in_is_rounded_to_even_bf16) {
  std::vector<float> a(256), b(128);
  a[0] = 1 + 0x1p-8f;       // between 1 and 1 + 2^-7: to 1
  a[16] = 1 + 3 * 0x1p-8f;  // to 1 + 2^-6
  b[0] = 1;
  const Matrices m;
  EXPECT_EQ(m.run(a, b, true), "");
  EXPECT_EQ(m.product_of()[0], 2);
  EXPECT_EQ(m.product_of()[8], 2 + 0x1p-6f);
}

TEST(TensorCores, and_to_even_fp16_or_its_largest) {
  std::vector<float> a(256), b(128);
  a[0] = 1 + 0x1p-11f;       // between 1 and 1 + 2^-10: to 1
  a[16] = 1 + 3 * 0x1p-11f;  // to 1 + 2^-9
  a[32] = 0x1p-24f * 1.25f;  // the least there is, and a quarter of it
  a[48] = 65520;             // 65504 is the most
  a[64] = -INFINITY;
  a[80] = NAN;
  b[0] = 1;
  const Matrices m;
  EXPECT_EQ(m.run(a, b, true, Format::fp16), "");
  const std::vector<float> found = m.product_of();
  EXPECT_EQ(found[0], 2);
  EXPECT_EQ(found[8], 2 + 0x1p-9f);
  EXPECT_EQ(found[16], 1 + 0x1p-24f);
  EXPECT_EQ(found[24], 65505);
  EXPECT_EQ(found[32], -65503);
  EXPECT_TRUE(std::isnan(found[40]));
}

TEST(TensorCores, tanh_of_what_is_no_number_is_none) {
  for (const unsigned bits : {0x7FC00000u, 0x7FFFFFFFu, 0xFFFFFFFFu})
    EXPECT_TRUE(std::isnan(fast_tanh(std::bit_cast<float>(bits)))) << bits;
}

TEST(TensorCores, loading_matrices_synchronises_nobody) {
  const Matrices m;
  EXPECT_THAT(m.run(std::vector<float>(256, 1.0f), std::vector<float>(128, 1.0f), false), HasSubstr("tensor_test.cpp"));
}

}  // namespace
}  // namespace bib::device
