#include "cpu/dropout.simd.h"

#include "cpu/vec.h"

namespace bib::BIB_ISA {
namespace {

constexpr int width = vector_bytes / 8;  // blocks computed side by side, one per 64-bit lane
typedef std::uint64_t wide __attribute__((vector_size(vector_bytes)));

/// Product of the low halves of the 64-bit lanes; what stands in their high halves does not matter.
BIB_INLINE wide multiply_low(wide a, wide b) {
#if defined(__AVX512F__)
  return (wide)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);  // the plain form warns in g++ 12
#elif defined(__AVX2__)
  return (wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__aarch64__)
  return (wide)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
  return (wide)_mm_mul_epu32((__m128i)a, (__m128i)b);
#endif
}

// The ten rounds of bib/random.h. Only the low half of a lane counts: the products ignore the high half, so the low
// word of a product needs no masking.
void philox(std::uint64_t seed, std::uint32_t step, std::uint32_t stream, std::uint64_t block, int blocks,
            std::uint32_t* to) {
  for (int i = 0; i < blocks; i += width) {
    wide c0, c1, c2 = wide{} + step, c3 = wide{} + stream;
    for (int lane = 0; lane < width; ++lane) c0[lane] = block + i + lane;
    c1 = c0 >> 32;
    std::uint32_t k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const wide p0 = multiply_low(c0, wide{} + 0xD2511F53u), p1 = multiply_low(c2, wide{} + 0xCD9E8D57u);
      c0 = (p1 >> 32) ^ c1 ^ (wide{} + k0);
      c1 = p1;
      c2 = (p0 >> 32) ^ c3 ^ (wide{} + k1);
      c3 = p0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const wide first = (c0 & 0xFFFFFFFFu) | c1 << 32, second = (c2 & 0xFFFFFFFFu) | c3 << 32;
    for (int lane = 0; lane < width; ++lane) {
      const std::uint64_t four[2] = {first[lane], second[lane]};
      __builtin_memcpy(to + 4 * (i + lane), four, sizeof four);
    }
  }
}

void keep(const std::uint32_t* words, std::uint32_t threshold, real scale, int n, const real* x, real* y) {
  for (int i = 0; i < n; ++i) {
    const real kept = x[i] * scale;
    y[i] = words[i] >= threshold ? kept : real(0);
  }
}

}  // namespace

const DropoutSimd dropout{.philox = philox, .keep = keep};

}  // namespace bib::BIB_ISA
