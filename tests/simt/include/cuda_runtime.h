// Stands before NVIDIA's header of this name: its types and host API as they are, device functions from the emulator.
#pragma once
#define SIMT_EMULATOR 1
#include <math.h>  // with the C++ overloads in the global namespace, as nvcc has them
#include <simt.h>
#include <vector_functions.h>
#include <vector_types.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#undef __shared__
#define __shared__ static_assert(false, "write SHARED(type, name, [extents]) of kernels/device.h")
#undef __launch_bounds__
#define __launch_bounds__(...)

// Set at every switch.
inline thread_local uint3 threadIdx, blockIdx;
inline thread_local dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

inline void __syncthreads(simt::Site site = simt::Site::current()) { simt::block_barrier(site); }
inline int __syncthreads_count(int p, simt::Site site = simt::Site::current()) {
  return simt::block_vote(p != 0, site).count;
}
inline int __syncthreads_or(int p, simt::Site site = simt::Site::current()) {
  return simt::block_vote(p != 0, site).any;
}
inline int __syncthreads_and(int p, simt::Site site = simt::Site::current()) {
  return simt::block_vote(p != 0, site).all;
}
inline void __threadfence_system() {}  // what is written is there at once
inline void __syncwarp(unsigned mask = ~0u, simt::Site site = simt::Site::current()) {
  simt::exchange(mask, nullptr, 0, nullptr, "__syncwarp", site);
}
inline void __nanosleep(unsigned, simt::Site site = simt::Site::current()) { simt::yield(site); }

namespace simt {
inline int lane() {
  const unsigned linear = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  return static_cast<int>(linear % 32);
}
/// The value of lane `from`; the caller's own where that is outside its segment of `width` lanes.
template <class T>
T shuffle(unsigned mask, T v, int from, bool inside, const char* name, Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  const auto all = exchange(mask, v, name, site);
  if (!inside) return v;
  if (!(mask >> from & 1)) fault(name, " reads a lane outside its mask", site);
  return all[from];
}
template <class T, class F>
T fold(unsigned mask, T v, const char* name, Site site, F&& f) {
  const auto all = exchange(mask, v, name, site);
  T result{};
  bool first = true;
  for (int l = 0; l < 32; ++l) {
    if (!(mask >> l & 1)) continue;
    result = first ? all[l] : f(result, all[l]);
    first = false;
  }
  return result;
}
}  // namespace simt

template <class T>
T __shfl_sync(unsigned mask, T v, int from, int width = 32, simt::Site site = simt::Site::current()) {
  const int lane = simt::lane();
  return simt::shuffle(mask, v, lane / width * width + ((from % width) + width) % width, true, "__shfl_sync", site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, simt::Site site = simt::Site::current()) {
  const int lane = simt::lane(), from = lane ^ bits;
  return simt::shuffle(mask, v, from & 31, from / width == lane / width && from < 32, "__shfl_xor_sync", site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, simt::Site site = simt::Site::current()) {
  const int lane = simt::lane(), from = lane + static_cast<int>(by);
  return simt::shuffle(mask, v, from & 31, from / width == lane / width, "__shfl_down_sync", site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, simt::Site site = simt::Site::current()) {
  const int lane = simt::lane(), from = lane - static_cast<int>(by);
  return simt::shuffle(mask, v, from & 31, from >= 0 && from / width == lane / width, "__shfl_up_sync", site);
}
inline unsigned __ballot_sync(unsigned mask, int p, simt::Site site = simt::Site::current()) {
  const auto all = simt::exchange(mask, p, "__ballot_sync", site);
  unsigned bits = 0;
  for (int l = 0; l < 32; ++l) bits |= (mask >> l & 1) && all[l] ? 1u << l : 0u;
  return bits;
}
inline int __any_sync(unsigned mask, int p, simt::Site site = simt::Site::current()) {
  return __ballot_sync(mask, p, site) != 0;
}
inline int __all_sync(unsigned mask, int p, simt::Site site = simt::Site::current()) {
  return __ballot_sync(mask, !p, site) == 0;
}
template <class T>
T __reduce_add_sync(unsigned mask, T v, simt::Site site = simt::Site::current()) {
  return simt::fold(mask, v, "__reduce_add_sync", site, [](T a, T b) { return a + b; });
}
template <class T>
T __reduce_max_sync(unsigned mask, T v, simt::Site site = simt::Site::current()) {
  return simt::fold(mask, v, "__reduce_max_sync", site, [](T a, T b) { return a < b ? b : a; });
}
template <class T>
T __reduce_min_sync(unsigned mask, T v, simt::Site site = simt::Site::current()) {
  return simt::fold(mask, v, "__reduce_min_sync", site, [](T a, T b) { return b < a ? b : a; });
}

// Integers only: a sum of floats by atomics has no fixed order.
template <class T, class F>
T simt_atomic(T* p, F&& f) {
  static_assert(std::is_integral_v<T>, "float atomics are not repeatable");
  simt::atomic_access(p, sizeof(T));
  T before;
  simt::copy(&before, p, sizeof(T));
  const T after = f(before);
  simt::copy(p, &after, sizeof(T));
  return before;
}
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  return simt_atomic(p, [v](T x) { return static_cast<T>(x + v); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  return simt_atomic(p, [v](T x) { return std::max(x, v); });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v) {
  return simt_atomic(p, [v](T x) { return std::min(x, v); });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> v) {
  return simt_atomic(p, [v](T x) { return x | v; });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  return simt_atomic(p, [v](T) { return v; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return simt_atomic(p, [=](T x) { return x == expected ? v : x; });
}

// Arithmetic that CUDA has and the C library lacks.
using std::max;
using std::min;
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __double2hiint(double x) { return static_cast<int>(std::bit_cast<std::uint64_t>(x) >> 32); }
inline int __double2loint(double x) { return static_cast<int>(std::bit_cast<std::uint64_t>(x)); }
inline double __hiloint2double(int high, int low) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(static_cast<std::uint32_t>(high)) << 32 |
                               static_cast<std::uint32_t>(low));
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32);
}
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
