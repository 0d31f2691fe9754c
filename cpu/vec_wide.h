// Vectors of double of the same bytes as vec, whatever real is: for sums that need its range. Only for *.simd.cpp.
#pragma once
#include "cpu/vec.h"

namespace bib::BIB_ISA {

constexpr int wide_lanes = vector_bytes / 8;
typedef double wide __attribute__((vector_size(vector_bytes)));
typedef long wide_mask __attribute__((vector_size(vector_bytes)));
typedef real narrow __attribute__((vector_size(wide_lanes * sizeof(real))));  // as many reals as a wide has doubles

BIB_INLINE wide load_wide(const double* p) {
  wide v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
BIB_INLINE void store_wide(double* p, wide v) { __builtin_memcpy(p, &v, sizeof v); }
BIB_INLINE wide splat_wide(double x) { return x - wide{}; }
BIB_INLINE wide max_wide(wide a, wide b) { return a > b ? a : b; }
BIB_INLINE narrow load_narrow(const real* p) {
  narrow v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
BIB_INLINE void store_narrow(real* p, narrow v) { __builtin_memcpy(p, &v, sizeof v); }

BIB_INLINE double sum_lanes(wide v) {
  return fold<wide_lanes / 2>(v, [](wide a, wide b) { return a + b; })[0];
}
BIB_INLINE double largest_lane(wide v) { return fold<wide_lanes / 2>(v, max_wide)[0]; }
BIB_INLINE double smallest_lane(wide v) { return -largest_lane(-v); }

/// Bit i is lane i of a comparison.
BIB_INLINE unsigned lane_bits(wide_mask v) {
#if defined(__AVX512F__)
  return _mm512_movepi64_mask(reinterpret_cast<__m512i>(v));
#elif defined(__AVX2__)
  return static_cast<unsigned>(_mm256_movemask_pd(reinterpret_cast<__m256d>(v)));
#elif defined(__aarch64__)
  return static_cast<unsigned>(vaddvq_u64((uint64x2_t)v & uint64x2_t{1, 2}));
#else
  return static_cast<unsigned>(_mm_movemask_pd(reinterpret_cast<__m128d>(v)));
#endif
}

}  // namespace bib::BIB_ISA
