// Tensor cores by warp-wide products of 16-bit numbers, sm_80 and newer: m16n8k16, summed in fp32. Twins for the
// emulator as in device.h. Lane l is called (g, q) = (l / 4, l % 4) below.
//   a  16 x 16  word 0: row g, columns 2q and 2q+1 (the low half first)   1: row g+8   2, 3: the same, columns + 8
//   b  16 x 8   word 0: rows 2q and 2q+1 of column g                      1: rows + 8
//   d  16 x 8   0, 1: row g, columns 2q and 2q+1                          2, 3: row g+8
// and of doubles, m8n8k4, on any GPU: before sm_80 by shuffles, as in the emulator.
//   a  8 x 4    row g, column q                                           b  4 x 8   row q of column g
//   d  8 x 8    0, 1: row g, columns 2q and 2q+1
#pragma once
#include "kernels/device.h"

namespace bib::device {

/// What is multiplied. bf16 has 8 bits and every exponent of fp32; fp16 11 bits, up to 65504, from 2^-24 on.
enum class Format { bf16, fp16 };

/// d += a b
__device__ __forceinline__ void mma_f64(double (&d)[2], double a, double b) {
#if !defined(SIMT_EMULATOR) && __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
               : "+d"(d[0]), "+d"(d[1])
               : "d"(a), "d"(b));
#else
  const int g = lane_id() / 4, q = lane_id() % 4;
  for (int k = 0; k < 4; ++k) {
    const double row = __shfl_sync(all_lanes, a, 4 * g + k);
    d[0] += row * __shfl_sync(all_lanes, b, 8 * q + k);
    d[1] += row * __shfl_sync(all_lanes, b, 8 * q + 4 + k);
  }
#endif
}

}  // namespace bib::device

#if defined(SIMT_EMULATOR) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800)
#define BIB_TENSOR_CORES 1

namespace bib::device {

/// Two floats rounded to the nearest, ties to even; `low` in the low half. What is too large for fp16 becomes 65504: an
/// infinite factor would make NaN of the zeros that it meets.
template <Format format>
__device__ __forceinline__ unsigned pack(float low, float high) {
#ifdef SIMT_EMULATOR
  return simt::pair_of(low, high, format == Format::fp16);
#else
  unsigned both;
  if constexpr (format == Format::fp16) {
    asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  }
  return both;
#endif
}
__device__ __forceinline__ float2 unpack_fp16(unsigned both) {
#ifdef SIMT_EMULATOR
  return make_float2(simt::fp16_value(both), simt::fp16_value(both >> 16));
#else
  float2 v;
  asm("{\n.reg .f16 low, high;\nmov.b32 {low, high}, %2;\ncvt.f32.f16 %0, low;\ncvt.f32.f16 %1, high;\n}"
      : "=f"(v.x), "=f"(v.y)
      : "r"(both));
  return v;
#endif
}

/// d += a b
template <Format format>
__device__ __forceinline__ void mma(float (&d)[4], uint4 a, unsigned b0, unsigned b1 BIB_SITE) {
#ifdef SIMT_EMULATOR
  simt::mma(d, {a.x, a.y, a.z, a.w}, {b0, b1}, format == Format::fp16, site);
#else
#define BIB_MMA(type)                                                 \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type \
               ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "         \
               "{%0,%1,%2,%3};"                                       \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])       \
               : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1))
  if constexpr (format == Format::fp16) {
    BIB_MMA("f16");
  } else {
    BIB_MMA("bf16");
  }
#undef BIB_MMA
#endif
}

/// Four 8 x 8 matrices of 16-bit values from shared memory: lane l gives the address of row l % 8 of matrix l / 8, 16
/// bytes, and gets values 2q and 2q+1 of row g of each; transposed, of column g. With rows along k of b's columns these
/// are b's words of two products.
template <bool transposed = false>
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const void* row BIB_SITE) {
#ifdef SIMT_EMULATOR
  simt::load_matrices(to, row, transposed, site);
#else
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  }
#endif
}

/// Within 2^-11 of tanh.
__device__ __forceinline__ float fast_tanh(float x) {
#ifdef SIMT_EMULATOR
  return simt::tanh_approx(x);
#else
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}
__device__ __forceinline__ float fast_sigmoid(float x) { return 0.5f + 0.5f * fast_tanh(0.5f * x); }

}  // namespace bib::device
#endif
