// Warp-wide products of bf16 and fp16, and the loads of their operands: which lane holds what, as in NVIDIA's PTX
// manual.
#include <cuda_fp16.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "tests/simt/engine.h"

namespace simt {
namespace {

unsigned bf16_bits(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (x != x) return 0x7FFF;
  return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}

/// Of what is too large: the largest.
unsigned fp16_bits(float x) {
  const unsigned bits = static_cast<__half_raw>(__float2half_rn(x)).x;
  return (bits & 0x7FFF) == 0x7C00 ? bits - 1 : bits;
}

float half_of(std::uint32_t pair, unsigned high, bool fp16) {
  if (fp16) return fp16_value(high ? pair >> 16 : pair);
  return std::bit_cast<float>(high ? pair & 0xFFFF0000u : pair << 16);
}

struct Operands {
  std::array<unsigned, 4> a;
  std::array<unsigned, 2> b;
};

constexpr unsigned every_lane = ~0u;

void expect_whole_warp(const char* name, Site site) {
  if (running.thread->warp->lanes != every_lane) fault(std::string(name) + ": the warp has less than 32 lanes", site);
}

}  // namespace

/// tanh with ten bits behind the point kept: as far off as tanh.approx may be, 2^-11 of the value.
float tanh_approx(float x) {
  if (std::isnan(x)) return x;  // whose bits may all be set
  const auto bits = std::bit_cast<std::uint32_t>(std::tanh(x));
  return std::bit_cast<float>((bits + 0x1000) & ~0x1FFFu);
}

unsigned pair_of(float low, float high, bool fp16) {
  const auto bits = fp16 ? fp16_bits : bf16_bits;
  return bits(low) | bits(high) << 16;
}

float fp16_value(unsigned bits) {
  __half_raw raw;
  raw.x = static_cast<unsigned short>(bits);
  return __half2float(raw);
}

void mma(float (&d)[4], std::array<unsigned, 4> a, std::array<unsigned, 2> b, bool fp16, Site site) {
  const Inside inside;
  expect_whole_warp("mma", site);
  const Operands mine{a, b};
  std::array<Operands, 32> all;
  exchange(every_lane, &mine, sizeof mine, all.data(), "mma", site, Ordering::none);
  const unsigned g = running.thread->lane / 4, q = running.thread->lane % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = g, column = 2 * q + i % 2;
    float sum = 0;
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned word = k / 8, lane = k % 8 / 2, high = k % 2;
      sum += half_of(all[4 * row + lane].a[2 * word + i / 2], high, fp16) *
             half_of(all[4 * column + lane].b[word], high, fp16);
    }
    d[i] += sum;
  }
}

void load_matrices(unsigned (&to)[4], const void* row, bool transposed, Site site) {
  const Inside inside;
  expect_whole_warp("ldmatrix", site);
  expect_aligned(row, 16, site);
  std::array<const char*, 32> rows;
  exchange(every_lane, &row, sizeof row, rows.data(), "ldmatrix", site, Ordering::none);
  const Block& block = *running.thread->block;
  const unsigned g = running.thread->lane / 4, q = running.thread->lane % 4;
  for (unsigned m = 0; m < 4; ++m) {
    std::uint16_t pair[2];
    for (unsigned j = 0; j < 2; ++j) {
      const unsigned r = transposed ? 2 * q + j : g, column = transposed ? g : 2 * q + j;
      const char* from = rows[8 * m + r] + sizeof pair[j] * column;
      if (from < block.shared || from >= block.shared + arena_stride)
        fault("ldmatrix reads shared memory of its own block only", site);
      check::access(from, sizeof pair[j], false, false, __builtin_return_address(0));
      std::memcpy(&pair[j], from, sizeof pair[j]);
    }
    std::memcpy(&to[m], pair, sizeof pair);
  }
}

}  // namespace simt
