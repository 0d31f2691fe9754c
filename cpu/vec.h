// One vector type per instruction set, on the compilers' vector extensions: +, -, *, / and comparisons work on it as on
// a scalar, and a*b+c becomes one FMA where the set has it. Included only by *.simd.cpp; everything lives in a
// namespace of the set's name and is always inlined, so that no code of a richer set can leak into another.
#pragma once
#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

#include <utility>

#include "bib/real.h"

#ifndef BIB_ISA
#error "only for *.simd.cpp, which CMakeLists.txt compiles once per instruction set"
#endif
#define BIB_INLINE static inline __attribute__((always_inline))

namespace bib::BIB_ISA {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif
constexpr int lanes = vector_bytes / static_cast<int>(sizeof(real));
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int vector_registers = 32;
#else
constexpr int vector_registers = 16;
#endif

template <int Bytes>
struct IntegerOf;
template <>
struct IntegerOf<4> {
  using type = int;
};
template <>
struct IntegerOf<8> {
  using type = long;  // and not long long: this is what comparing doubles gives
};
using integer = IntegerOf<sizeof(real)>::type;

typedef real vec __attribute__((vector_size(vector_bytes)));
typedef integer ivec __attribute__((vector_size(vector_bytes)));  // also the result of a comparison: 0 or -1 per lane

BIB_INLINE vec load(const real* p) {
  vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
BIB_INLINE void store(real* p, vec v) { __builtin_memcpy(p, &v, sizeof v); }
BIB_INLINE vec splat(real x) { return x - vec{}; }  // x + 0 would be computed: it turns -0 into 0
BIB_INLINE vec choose(ivec mask, vec yes, vec no) { return mask ? yes : no; }

// Written out, because g++ makes a comparison and a choice of a > b ? a : b.
#if defined(__AVX512F__)  // masked, because the plain ones warn of an undefined source
#define BIB_INSTRUCTION(op)                                                     \
  BIB_INLINE vec op(vec a, vec b) {                                             \
    if constexpr (sizeof(real) == 4)                                            \
      return (vec)_mm512_maskz_##op##_ps(__mmask16(-1), (__m512)a, (__m512)b);  \
    else                                                                        \
      return (vec)_mm512_maskz_##op##_pd(__mmask8(-1), (__m512d)a, (__m512d)b); \
  }
#elif defined(__AVX2__)
#define BIB_INSTRUCTION(op)                                 \
  BIB_INLINE vec op(vec a, vec b) {                         \
    if constexpr (sizeof(real) == 4)                        \
      return (vec)_mm256_##op##_ps((__m256)a, (__m256)b);   \
    else                                                    \
      return (vec)_mm256_##op##_pd((__m256d)a, (__m256d)b); \
  }
#elif !defined(__aarch64__)
#define BIB_INSTRUCTION(op)                              \
  BIB_INLINE vec op(vec a, vec b) {                      \
    if constexpr (sizeof(real) == 4)                     \
      return (vec)_mm_##op##_ps((__m128)a, (__m128)b);   \
    else                                                 \
      return (vec)_mm_##op##_pd((__m128d)a, (__m128d)b); \
  }
#endif
/// With a NaN among them, or two zeros, both give the second.
#if defined(__aarch64__)  // whose instructions give NaN, and order the zeros
BIB_INLINE vec max(vec a, vec b) { return a > b ? a : b; }
BIB_INLINE vec min(vec a, vec b) { return a < b ? a : b; }
#else
BIB_INSTRUCTION(max)
BIB_INSTRUCTION(min)
#undef BIB_INSTRUCTION
#endif

/// a*b + c, fused where the set can: for a*b + c*d, where the compiler may fuse either product, and may choose
/// differently at two places of inlining.
BIB_INLINE vec fma(vec a, vec b, vec c) {
#if defined(__AVX512F__)
  if constexpr (sizeof(real) == 4) {
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
  } else {
    return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(real) == 4) {
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  } else {
    return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
  }
#elif defined(__aarch64__)
  if constexpr (sizeof(real) == 4) {
    return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
  } else {
    return (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
  }
#else
  return a * b + c;
#endif
}

/// The first n lanes from p, the others `rest`; n may exceed lanes. Nothing past p + n is touched.
BIB_INLINE vec load_some(const real* p, int n, real rest = 0) {
  if (n >= lanes) return load(p);
  vec v = splat(rest);
#if defined(__AVX512F__)
  if constexpr (sizeof(real) == 4) {
    return (vec)_mm512_mask_loadu_ps((__m512)v, static_cast<__mmask16>((1u << n) - 1), p);
  } else {
    return (vec)_mm512_mask_loadu_pd((__m512d)v, static_cast<__mmask8>((1u << n) - 1), p);
  }
#else
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}
BIB_INLINE void store_some(real* p, vec v, int n) {
  if (n >= lanes) return store(p, v);
#if defined(__AVX512F__)
  if constexpr (sizeof(real) == 4) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
  } else {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), (__m512d)v);
  }
#else
  for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
}

/// a0 b0 a1 b1 ... of the lower (0) or upper (1) halves.
template <int Half, int... I>
BIB_INLINE vec interleave(vec a, vec b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (Half * lanes / 2 + I / 2 + I % 2 * lanes)...);
}
/// rows[i][j] <-> rows[j][i], by log2(lanes) perfect shuffles.
BIB_INLINE void transpose(vec (&rows)[lanes]) {
  constexpr std::make_integer_sequence<int, lanes> all;
  for (int width = 1; width < lanes; width *= 2) {
    vec next[lanes];
    for (int i = 0; i < lanes / 2; ++i) {
      next[2 * i] = interleave<0>(rows[i], rows[i + lanes / 2], all);
      next[2 * i + 1] = interleave<1>(rows[i], rows[i + lanes / 2], all);
    }
    for (int i = 0; i < lanes; ++i) rows[i] = next[i];
  }
}

/// Lane i of the result is lane i + Shift of v, wrapping around.
template <int Shift, class V, int... I>
BIB_INLINE V rotate(V v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, (I + Shift) % static_cast<int>(sizeof...(I))...);
}
/// Combines lanes i and i + Width, then halves Width down to 1: the result is in lane 0. Start with half the lanes.
template <int Width, class V, class F>
BIB_INLINE V fold(V v, F f) {
  if constexpr (Width == 0) {
    return v;
  } else {
    return fold<Width / 2>(f(v, rotate<Width>(v, std::make_integer_sequence<int, sizeof(V) / sizeof(v[0])>{})), f);
  }
}

/// Sum and maximum over the lanes, pairwise: the order is fixed per instruction set.
BIB_INLINE real sum(vec v) {
  return fold<lanes / 2>(v, [](vec a, vec b) { return a + b; })[0];
}
BIB_INLINE real largest(vec v) { return fold<lanes / 2>(v, max)[0]; }

/// Bit i is lane i of a comparison.
BIB_INLINE unsigned bits(ivec mask) {
#if defined(__AVX512F__)
  if constexpr (sizeof(real) == 8) return _mm512_movepi64_mask(reinterpret_cast<__m512i>(mask));
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask));
#elif defined(__AVX2__)
  if constexpr (sizeof(real) == 8) return static_cast<unsigned>(_mm256_movemask_pd(reinterpret_cast<__m256d>(mask)));
  return static_cast<unsigned>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask)));
#elif defined(__aarch64__)
  if constexpr (sizeof(real) == 8) return static_cast<unsigned>(vaddvq_u64((uint64x2_t)mask & uint64x2_t{1, 2}));
  return vaddvq_u32((uint32x4_t)mask & uint32x4_t{1, 2, 4, 8});
#else
  if constexpr (sizeof(real) == 8) return static_cast<unsigned>(_mm_movemask_pd(reinterpret_cast<__m128d>(mask)));
  return static_cast<unsigned>(_mm_movemask_ps(reinterpret_cast<__m128>(mask)));
#endif
}

/// e^x. float: range reduction by log 2 and a degree-6 polynomial (Cephes expf), relative error below 0.7 eps; 0 below
/// -87.3, so exp(-inf) = 0; arguments above 88 are taken as 88. double: the C library's, lane by lane (that build
/// checks gradients, not speed).
BIB_INLINE vec exp(vec x) {
  if constexpr (sizeof(real) == 8) {
    vec y = x;
    for (int i = 0; i < lanes; ++i) y[i] = __builtin_exp(x[i]);
    return y;
  } else {
    const ivec tiny = x < splat(real(-87.3));
    x = min(splat(real(88)), max(splat(real(-87.3)), x));  // in this order, NaN stays
    const vec magic = splat(real(12582912));  // 1.5 * 2^23: adding it rounds to an integer held in the low bits
    const vec shifted = x * real(1.44269504088896341) + magic;
    const vec n = shifted - magic;
    vec r = x - n * real(0.693359375);
    r = r - n * real(-2.12194440e-4);
    vec p = splat(real(1.9875691500e-4));
    p = p * r + real(1.3981999507e-3);
    p = p * r + real(8.3334519073e-3);
    p = p * r + real(4.1665795894e-2);
    p = p * r + real(1.6666665459e-1);
    p = p * r + real(5.0000001201e-1);
    p = p * (r * r) + r + real(1);
    ivec bits;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    ivec scale_bits = (bits << 23) + (127 << 23);  // the magic's own bits fall off the top
    vec scale;
    __builtin_memcpy(&scale, &scale_bits, sizeof scale);
    return choose(tiny, vec{}, p * scale);
  }
}

/// tanh. float: odd rational function of degree 13 over 6, constant from 7.9 on (1 or 1 - 2 eps there). Relative error
/// below 2.8 eps, down to arguments of 1e-30, below which products underflow. double: as exp.
BIB_INLINE vec tanh(vec x) {
  if constexpr (sizeof(real) == 8) {
    vec y = x;
    for (int i = 0; i < lanes; ++i) y[i] = __builtin_tanh(x[i]);
    return y;
  } else {
    const vec limit = splat(real(7.90531110763549805));
    x = min(limit, max(-limit, x));  // in this order, NaN stays
    const vec s = x * x;
    vec p = splat(real(-2.76076847742355e-16));
    p = p * s + real(2.00018790482477e-13);
    p = p * s + real(-8.60467152213735e-11);
    p = p * s + real(5.12229709037114e-08);
    p = p * s + real(1.48572235717979e-05);
    p = p * s + real(6.37261928875436e-04);
    p = p * s + real(4.89352455891786e-03);
    vec q = splat(real(1.19825839466702e-06));
    q = q * s + real(1.18534705686654e-04);
    q = q * s + real(2.26843463243900e-03);
    q = q * s + real(4.89352518554385e-03);
    return x * p / q;
  }
}

/// 1 / (1 + e^-x), by tanh, so that the two gates of a cell share one routine; absolute error below 1.6 eps, so that
/// far to the left the relative one is large: where that matters, take 1 / (1 + exp(-x)).
BIB_INLINE vec sigmoid(vec x) { return tanh(x * real(0.5)) * real(0.5) + real(0.5); }

}  // namespace bib::BIB_ISA
