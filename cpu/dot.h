// Dot products of small integers, exact whichever instructions compute them. Only for *.simd.cpp.
// The instructions (AVX512-VNNI, AVX-VNNI, SDOT) are written out: they belong to no x86-64 level, nor to ARMv8.0, and
// whether the CPU has them is known at run time only (has_dot()).
#pragma once
#include "cpu/vec.h"

namespace bib::BIB_ISA {

BIB_INLINE ivec load_codes(const int* p) {
  ivec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
/// The same four bytes in every lane.
BIB_INLINE ivec splat_codes(const unsigned char* p) {
  int group;
  __builtin_memcpy(&group, p, sizeof group);
  return ivec{} + group;
}

#if defined(__aarch64__)
/// Sums of the products of neighbouring halves of a lane.
BIB_INLINE ivec pair_sums(ivec a, ivec b) {
  const int16x8_t x = (int16x8_t)a, y = (int16x8_t)b;
  return (ivec)vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
}
/// sum + the products of a lane's bytes, of which none may be -128 in both.
BIB_INLINE ivec add_byte_products(ivec sum, ivec a, ivec b) {
  const int8x16_t x = (int8x16_t)a, y = (int8x16_t)b;
  const int16x8_t pairs = vpaddq_s16(vmull_s8(vget_low_s8(x), vget_low_s8(y)), vmull_high_s8(x, y));
  return (ivec)vpadalq_s16((int32x4_t)sum, pairs);
}
typedef ivec bits_of_vector;
#if defined(__ARM_FEATURE_DOTPROD)
#define BIB_SDOT "sdot"
#elif !defined(__clang__)  // whose assembler takes no instruction that the compiler may not use
#define BIB_SDOT ".arch armv8.2-a+dotprod\n\tsdot"
#endif
#elif defined(__AVX512F__)
typedef __m512i bits_of_vector;
BIB_INLINE __m512i pair_sums(__m512i a, __m512i b) { return _mm512_madd_epi16(a, b); }
BIB_INLINE __m512i byte_sums(__m512i a, __m512i b) { return _mm512_maddubs_epi16(a, b); }
#elif defined(__AVX2__)
typedef __m256i bits_of_vector;
BIB_INLINE __m256i pair_sums(__m256i a, __m256i b) { return _mm256_madd_epi16(a, b); }
BIB_INLINE __m256i byte_sums(__m256i a, __m256i b) { return _mm256_maddubs_epi16(a, b); }
#else
typedef __m128i bits_of_vector;
BIB_INLINE __m128i pair_sums(__m128i a, __m128i b) { return _mm_madd_epi16(a, b); }
BIB_INLINE __m128i byte_sums(__m128i a, __m128i b) { return _mm_maddubs_epi16(a, b); }
#endif

/// 16-bit codes, both signed: two to a group.
struct Codes16 {
  static constexpr int per_group = 2, bytes = 2, zero = 0;
  typedef short narrow __attribute__((vector_size(lanes * 2)));

  template <bool Native>
  static inline __attribute__((always_inline)) ivec dot(ivec sum, ivec a, ivec b) {
    if constexpr (Native) {
#if defined(__AVX512F__)
      asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
      return sum;
#elif defined(__AVX2__)
      asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
      return sum;
#endif
    }
    return sum + (ivec)pair_sums((bits_of_vector)a, (bits_of_vector)b);
  }
};

/// 8-bit codes, four to a group: weights are signed; activations are what the CPU's instruction takes beside them,
/// signed on ARM, and on x86-64 unsigned with zero at 128.
struct Codes8 {
  static constexpr int per_group = 4, bytes = 1;
#if defined(__aarch64__)
  static constexpr int zero = 0;
  typedef signed char narrow __attribute__((vector_size(lanes)));

  template <bool Native>
  static inline __attribute__((always_inline)) ivec dot(ivec sum, ivec a, ivec b) {
#if defined(BIB_SDOT)
    if constexpr (Native) {
      asm(BIB_SDOT " %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
      return sum;
    }
#endif
    return add_byte_products(sum, a, b);
  }
#else
  static constexpr int zero = 128;
  typedef unsigned char narrow __attribute__((vector_size(lanes)));

  template <bool Native>
  static inline __attribute__((always_inline)) ivec dot(ivec sum, ivec a, ivec b) {
    if constexpr (Native) {
#if defined(__AVX512F__)
      asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
      return sum;
#elif defined(__AVX2__)
      asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
      return sum;
#endif
    }
    // In two parts, as sums of two products of full bytes exceed 16 bits.
    const ivec low = a & 0x7F7F7F7F, high = a & static_cast<int>(0x80808080);
    const ivec ones = ivec{} + 0x00010001;
    const auto part = [&](ivec bytes) {
      return (ivec)pair_sums(byte_sums((bits_of_vector)bytes, (bits_of_vector)b), (bits_of_vector)ones);
    };
    return sum + part(low) + part(high);
  }
#endif
};

/// Nearest integers, |x| < 2^22.
BIB_INLINE ivec nearest(vec x) {
  const vec shifted = x + real(12582912);  // 1.5 * 2^23: rounds to an integer held in the low bits
  ivec bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  return bits - 0x4B400000;
}

/// Codes of x, a vector's worth.
template <class Codes>
BIB_INLINE void store_codes(unsigned char* to, vec x) {
  const auto codes = __builtin_convertvector(nearest(x) + Codes::zero, typename Codes::narrow);
  __builtin_memcpy(to, &codes, sizeof codes);
}

/// What the sums of a panel begin with, the same in every row.
template <int S, int V>
BIB_INLINE void begin_sums(ivec (&acc)[S][V], const int* start) {
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[s][v] = load_codes(start + v * lanes);
}

/// acc[s][v] += dot products of row a[s] with the panel's columns over `groups` groups.
template <class Codes, bool Native, int S, int V>
BIB_INLINE void multiply_codes(ivec (&acc)[S][V], const unsigned char* const (&a)[S], const int* panel, int groups) {
  for (int g = 0; g < groups; ++g, panel += V * lanes) {
    ivec row[S];
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) row[s] = splat_codes(a[s] + 4 * g);
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      const ivec column = load_codes(panel + v * lanes);
#pragma GCC unroll 8
      for (int s = 0; s < S; ++s) acc[s][v] = Codes::template dot<Native>(acc[s][v], row[s], column);
    }
  }
}

}  // namespace bib::BIB_ISA
