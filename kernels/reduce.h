// Sums and maxima over the lanes of a warp and the threads of a block, always in the same order.
#pragma once
#include "kernels/device.h"

namespace bib::device {

/// `f` folded over all lanes of the warp by a butterfly; every lane gets the same bits when f is commutative.
template <class T, class F>
__device__ __forceinline__ T warp_fold(T v, F&& f) {
  for (int bits = warp_lanes / 2; bits > 0; bits /= 2) v = f(v, __shfl_xor_sync(all_lanes, v, bits));
  return v;
}
template <class T>
__device__ __forceinline__ T warp_sum(T v) {
  return warp_fold(v, [](T a, T b) { return a + b; });
}
/// NaN wins, as a score that is NaN must not be hidden.
__device__ __forceinline__ float warp_max(float v) {
  return warp_fold(v, [](float a, float b) { return a > b || a != a ? a : b; });
}
/// Of whole numbers: one instruction from sm_80 on.
__device__ __forceinline__ int warp_max(int v) {
#if defined(SIMT_EMULATOR) || __CUDA_ARCH__ >= 800
  return __reduce_max_sync(all_lanes, v);
#else
  return warp_fold(v, [](int a, int b) { return a > b ? a : b; });
#endif
}

/// f(from) + f(from + step) + ... before `to`, in this order. N values are asked for before the first is added, and the
/// last ones too: those behind the last N the compiler would take singly, each when the one before has come.
template <int N, class Sum = float, class F>
__device__ __forceinline__ Sum sum_in_order(int from, int to, int step, F&& f) {
  Sum sum = 0;
  for (int i = from; i < to; i += N * step) {
    decltype(f(from)) x[N];
#pragma unroll
    for (int j = 0; j < N; ++j) x[j] = i + j * step < to ? f(i + j * step) : 0;
#pragma unroll
    for (int j = 0; j < N; ++j) sum += x[j];
  }
  return sum;
}

/// A whole number for a float: of two floats the larger has the larger one. -0 is below 0, a NaN beyond all others.
__device__ __forceinline__ int ordered(float v) {
  const int bits = __float_as_int(v);
  return bits ^ (bits >> 31 & 0x7FFFFFFF);
}
__device__ __forceinline__ float from_ordered(int key) { return __int_as_float(key ^ (key >> 31 & 0x7FFFFFFF)); }

/// Sum over a block of whole warps; every thread gets it. All threads of the block must call it.
template <class T>
__device__ T block_sum(T v) {
  SHARED(T, of_warp, [32]);
  const int warps = static_cast<int>(blockDim.x) / warp_lanes;
  v = warp_sum(v);
  __syncthreads();  // what an earlier call left in of_warp has been read
  if (lane_id() == 0) of_warp[warp_id()] = v;
  __syncthreads();
  T sum = of_warp[0];
  for (int w = 1; w < warps; ++w) sum += of_warp[w];
  return sum;
}

}  // namespace bib::device
