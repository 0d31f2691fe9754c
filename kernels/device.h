// What kernels are written with. Every statement that only a GPU understands stands here, in a small function with a
// twin for the emulator of tests/simt, which compiles the same .cu files as C++ (SIMT_EMULATOR).
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "bib/real.h"

namespace bib::device {

static_assert(std::is_same_v<real, float>, "the CUDA kernels compute in float");

// SHARED(float, tile, [32][33]); declares shared memory of a fixed size, DYN_SHARED(float, buffer); what the launch
// asks for. Both are aligned to 16 bytes, and neither is initialised.
#ifdef SIMT_EMULATOR
#define SHARED(T, name, ...)         \
  static const char name##_site = 0; \
  using name##_type = T __VA_ARGS__; \
  name##_type& name =                \
      *static_cast<name##_type*>(simt::static_shared(&name##_site, sizeof(name##_type), alignof(name##_type)))
#define DYN_SHARED(T, name) T* const name = static_cast<T*>(simt::dynamic_shared())
#else
#define SHARED(T, name, ...) __shared__ __align__(16) T name __VA_ARGS__
#define DYN_SHARED(T, name)                                       \
  extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(dynamic_shared)
#endif

#ifdef SIMT_EMULATOR
#define BIB_SITE , simt::Site site = simt::Site::current()
#define BIB_ONLY_SITE simt::Site site = simt::Site::current()
#else
#define BIB_SITE
#define BIB_ONLY_SITE
#endif

/// When the kernel behind this one may begin to start, if it is launched so: with all blocks of this one, or, where
/// they have long to go, when all have come to next_may_start() or ended.
enum class Next { now, later };
__device__ __forceinline__ void next_may_start() {
#if !defined(SIMT_EMULATOR) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/// First in every kernel: until the kernel before it has ended and all that it wrote can be read. One that started
/// early (BIB_OVERLAP, sm_90; cuBLAS may allow itself to) waits here, instead of having its blocks made after that.
/// Every thread calls it, so that each kernel ends after all before it.
__device__ __forceinline__ void after_previous(Next next = Next::now) {
#ifdef SIMT_EMULATOR
  simt::after_previous();
#elif __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
  if (next == Next::now) next_may_start();
}

inline constexpr int warp_lanes = 32;
inline constexpr unsigned all_lanes = 0xFFFFFFFFu;

__device__ __forceinline__ int lane_id() { return static_cast<int>(threadIdx.x) % warp_lanes; }
__device__ __forceinline__ int warp_id() { return static_cast<int>(threadIdx.x) / warp_lanes; }

/// threadIdx.x where a kernel ends that is short of registers: nothing computed from it before is kept until then.
__device__ __forceinline__ int thread_read_again() {
#ifdef SIMT_EMULATOR
  return static_cast<int>(threadIdx.x);
#else
  int x;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(x));
  return x;
#endif
}

/// An instruction that needs x, which may still be on its way from memory.
__device__ __forceinline__ void await_value([[maybe_unused]] unsigned x) {
#ifndef SIMT_EMULATOR
  asm volatile("{ .reg .pred p; setp.eq.u32 p, %0, 0; @p nanosleep.u32 0; }" ::"r"(x));
#endif
}

/// Global index and number of the threads of a one-dimensional grid.
__device__ __forceinline__ std::int64_t global_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ std::int64_t grid_threads() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

/// Four floats at once; the address must be a multiple of 16.
__device__ __forceinline__ float4 load4(const float* p BIB_SITE) {
#ifdef SIMT_EMULATOR
  simt::expect_aligned(p, 16, site);
#endif
  return *reinterpret_cast<const float4*>(p);
}
__device__ __forceinline__ void store4(float* p, float4 v BIB_SITE) {
#ifdef SIMT_EMULATOR
  simt::expect_aligned(p, 16, site);
#endif
  *reinterpret_cast<float4*>(p) = v;
}

/// Two doubles at once; the address must be a multiple of 16.
__device__ __forceinline__ double2 load2(const double* p BIB_SITE) {
#ifdef SIMT_EMULATOR
  simt::expect_aligned(p, 16, site);
#endif
  return *reinterpret_cast<const double2*>(p);
}

/// Asks for 32 bytes to be brought to the second-level cache: a load in a while waits less. Nothing waits for this.
__device__ __forceinline__ void prefetch([[maybe_unused]] const void* p) {
#ifndef SIMT_EMULATOR
  asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(p)));
#endif
}

/// Starts a copy of N = 4, 8 or 16 bytes from global to shared memory; zeros where `there` is false.
template <int N>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool there BIB_SITE) {
#ifdef SIMT_EMULATOR
  simt::copy_async(to, from, N, there ? N : 0, site);
#elif __CUDA_ARCH__ >= 800
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int valid = there ? N : 0;
  if constexpr (N == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(valid) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from), "n"(N), "r"(valid)
                 : "memory");
  }
#else
  for (int i = 0; i < N / 4; ++i) static_cast<float*>(to)[i] = there ? static_cast<const float*>(from)[i] : 0.0f;
#endif
}
__device__ __forceinline__ void copy_commit() {
#ifdef SIMT_EMULATOR
  simt::copy_commit();
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/// Until at most N groups of this thread are still under way. Other threads see the copies after a barrier only.
template <int N>
__device__ __forceinline__ void copy_wait() {
#ifdef SIMT_EMULATOR
  simt::copy_wait(N);
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

// Thread-block clusters (sm_90): blocks that run together and reach each other's shared memory.

/// Counts, in shared memory, the bytes that other blocks of the cluster store here by send() (mbarrier). A phase ends
/// when all that expect_bytes() named have come. To be initialised by one thread, before the cluster first meets.
struct Arrivals {
  std::uint64_t word;
};

#if defined(SIMT_EMULATOR) || __CUDA_ARCH__ >= 900
#define BIB_CLUSTERS 1
__device__ __forceinline__ unsigned cluster_rank() {
#ifdef SIMT_EMULATOR
  return simt::block_rank();
#else
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#endif
}
/// Everything written before arrive() is seen by every thread of the cluster after its wait().
__device__ __forceinline__ void cluster_arrive(BIB_ONLY_SITE) {
#ifdef SIMT_EMULATOR
  simt::gang_arrive(site);
#else
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void cluster_wait(BIB_ONLY_SITE) {
#ifdef SIMT_EMULATOR
  simt::gang_wait(site);
#else
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
#ifndef SIMT_EMULATOR
__device__ __forceinline__ unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
__device__ __forceinline__ unsigned address_in_block(const void* mine, unsigned rank) {
  unsigned there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(mine)), "r"(rank));
  return there;
}
#endif
__device__ __forceinline__ void init_arrivals(Arrivals* arrivals, int count BIB_SITE) {
#ifdef SIMT_EMULATOR
  for (int i = 0; i < count; ++i) simt::mbarrier_init(arrivals + i, 1, site);
#else
  for (int i = 0; i < count; ++i)
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(arrivals + i)) : "memory");
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
/// By one thread, once a phase.
__device__ __forceinline__ void expect_bytes(Arrivals* arrivals, int bytes BIB_SITE) {
#ifdef SIMT_EMULATOR
  simt::mbarrier_expect(arrivals, static_cast<unsigned>(bytes), site);
#else
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(arrivals)), "r"(bytes)
               : "memory");
#endif
}
#ifndef SIMT_EMULATOR
__device__ __forceinline__ bool phase_ended(Arrivals* arrivals, int parity) {
  unsigned ended;
#if __CUDACC_VER_MAJOR__ >= 13
  asm volatile(
      "{ .reg .pred p; mbarrier.try_wait.parity.relaxed.cluster.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
#else
  asm volatile(
      "{ .reg .pred p; mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
#endif
      : "=r"(ended)
      : "r"(shared_address(arrivals)), "r"(parity)
      : "memory");
  return ended;
}
#endif
/// Until the phase of this parity (0 for the first, then 1, 0, ...) has ended: what came in it is then to be seen.
__device__ __forceinline__ void await_phase(Arrivals* arrivals, int parity BIB_SITE) {
#ifdef SIMT_EMULATOR
  simt::mbarrier_wait(arrivals, static_cast<unsigned>(parity), site);
#else
  while (!phase_ended(arrivals, parity)) {
  }
#if __CUDACC_VER_MAJOR__ >= 13  // of shared memory alone: an acquire of everything empties the first-level cache
  asm volatile("fence.acquire.sync_restrict::shared::cluster.cluster;" ::: "memory");
#endif
  __syncwarp();  // lanes may have left the loop one by one, and ldmatrix and mma are for all of them
#endif
}
/// To the same place in block `rank`, which its arrivals at the same place count. Nothing waits for it (st.async).
__device__ __forceinline__ void send(void* mine, float4 v, unsigned rank, Arrivals* arrivals BIB_SITE) {
#ifdef SIMT_EMULATOR
  simt::store_async(mine, &v, sizeof v, rank, arrivals, site);
#else
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(
                   address_in_block(mine, rank)),
               "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w), "r"(address_in_block(arrivals, rank))
               : "memory");
#endif
}
__device__ __forceinline__ void send(void* mine, float2 v, unsigned rank, Arrivals* arrivals BIB_SITE) {
#ifdef SIMT_EMULATOR
  simt::store_async(mine, &v, sizeof v, rank, arrivals, site);
#else
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];" ::"r"(
                   address_in_block(mine, rank)),
               "f"(v.x), "f"(v.y), "r"(address_in_block(arrivals, rank))
               : "memory");
#endif
}
/// The same place in the shared memory of block `rank` of the cluster.
template <class T>
__device__ __forceinline__ T* in_block(T* mine, unsigned rank BIB_SITE) {
#ifdef SIMT_EMULATOR
  return static_cast<T*>(simt::peer_shared(mine, rank, site));
#else
  T* theirs;
  asm("mapa.u64 %0, %1, %2;" : "=l"(theirs) : "l"(mine), "r"(rank));
  return theirs;
#endif
}
/// What in_block() gives, in 32 bits: the others are alike for all blocks of a cluster, and kept in a Cluster. That is
/// one register for a place that is found once, before a loop.
template <class T>
struct Peer {
  Peer() = default;  // nowhere
#ifdef SIMT_EMULATOR
  T* mine = nullptr;
  unsigned rank = 0;
  Peer(T* p, unsigned r) : mine(p), rank(r) {}
  explicit operator bool() const { return mine; }
#else
  unsigned place = 0;
  __device__ __forceinline__ Peer(T* mine, unsigned rank) : place(address_in_block(mine, rank)) {}
  __device__ __forceinline__ explicit operator bool() const { return place != 0; }
  __device__ __forceinline__ unsigned at(int i) const {
    return place + static_cast<unsigned>(i * static_cast<int>(sizeof(T)));
  }
#endif
};
struct Cluster {
  unsigned high;

  /// `any`: shared memory.
  __device__ __forceinline__ void open([[maybe_unused]] const void* any) {
#ifndef SIMT_EMULATOR
    asm volatile("{ .reg .b32 low; mov.b64 {low, %0}, %1; }" : "=r"(high) : "l"(any));
#endif
  }
  /// The i-th value from `to` on; nothing where that is nowhere.
  template <class T>
  __device__ __forceinline__ void store(const Peer<T>& to, int i, T v BIB_SITE) const {
#ifdef SIMT_EMULATOR
    if (to) *in_block(to.mine + i, to.rank, site) = v;
#else
    T* p;
    asm("mov.b64 %0, {%1, %2};" : "=l"(p) : "r"(to.at(i)), "r"(high));
    if (to) *p = v;
#endif
  }
};
/// The same by st.async.
__device__ __forceinline__ void send(const Peer<unsigned>& to, int i, unsigned v,
                                     const Peer<Arrivals>& arrivals BIB_SITE) {
  if (!to) return;
#ifdef SIMT_EMULATOR
  simt::store_async(to.mine + i, &v, sizeof v, to.rank, arrivals.mine, site);
#else
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(to.at(i)), "r"(v),
               "r"(arrivals.place)
               : "memory");
#endif
}
#endif

}  // namespace bib::device
