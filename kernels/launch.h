// Host side of every kernel: the state behind a context, checked calls, launches.
#pragma once
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <memory>

#include "bib/context.h"
#include "bib/error.h"

namespace bib {

struct CrfFault;

namespace device {
struct Blas;
struct Recorder;  // graph.cu
}  // namespace device

struct CudaState {
  int device = 0;
  cudaStream_t stream = nullptr;
  Math math = Math::strict;
  int multiprocessors = 0;
  int compute_major = 0;            // of the device, or of an older one that the kernels were compiled for
  std::size_t shared_memory = 0;    // bytes of dynamic shared memory that a block may ask for
  bool reads_pageable = false;      // the host's ordinary memory, without staging: a copy may be under way for longer
  bool preferred_clusters = false;  // kernels may have two sizes of cluster, of which one cannot be asked for: sm_100

  /// Made when first asked for, with the context's device as the current one.
  cublasHandle_t blas_handle(const device::Blas& blas);
  cublasHandle_t handle = nullptr;
  void* blas_workspace = nullptr;
  bool blas_ready = false;

  std::shared_ptr<device::Recorder> recorder;  // of bib/together.h; made when first asked for
  bool recording = false;                      // the stream is being captured
  std::uint64_t recorded = 0;                  // hash of what was enqueued since then, or ever
  bool recorded_blas = false;                  // products of cuBLAS, since then, among it

  /// Where a CRF kernel writes down an annotation that it refuses: page-locked memory of the host, so that looking
  /// there after a wait costs nothing. Made when first asked for.
  CrfFault* fault();
  CrfFault* fault_memory = nullptr;
  /// To be called when the device has been waited for. Throws std::invalid_argument when something was refused.
  void raise_fault();

  /// BIB_OVERLAP=1: a kernel's blocks may start while the last ones of the kernel before it run, and wait there
  /// (programmatic dependent launch, sm_90).
  bool overlap = false;
  bool after_kernel = false;  // what was enqueued last, in this recording or outside of any, is a kernel

  /// To be told of all that is enqueued: graphs are kept by what they consist of.
  void note(const void* what, bool is_kernel = false) {
    recorded = (recorded ^ reinterpret_cast<std::uintptr_t>(what)) * 0x9E3779B97F4A7C15u;
    after_kernel = is_kernel;
  }
};

namespace device {

/// Throws std::runtime_error "what: why" unless the call succeeded.
void check(cudaError_t status, const char* what);

/// Makes a GPU the thread's current one, so that a context works from any thread. It stays that: going back to what the
/// thread had, device 0 by default, would make CUDA set up a context there (cudaSetDevice does since 12.0).
inline cudaError_t use_device(int index) noexcept {
  int now = -1;
  const cudaError_t asked = cudaGetDevice(&now);
  return asked == cudaSuccess && now == index ? asked : cudaSetDevice(index);
}

/// Whether load4() and store4() may be used from there on.
inline bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

struct Grid {
  dim3 blocks = dim3(1), threads = dim3(256);
  std::size_t shared = 0;  // bytes of dynamic shared memory
  unsigned cluster = 1;    // blocks along x that run together
};

/// Threads of one block for `n` items, one per thread, and as many blocks as keep the device busy; kernels stride.
inline Grid grid_for(const CudaState& state, std::int64_t n, unsigned threads = 256) {
  const std::int64_t blocks = (n + threads - 1) / threads, most = std::int64_t{state.multiprocessors} * 16;
  return {.blocks = dim3(static_cast<unsigned>(std::min(blocks, most))), .threads = dim3(threads)};
}

/// Lets the kernel ask for so much dynamic shared memory. What it may is only ever raised: graphs that wait for their
/// launch and other contexts of the process may need what they asked for before. `device` is the current one.
void allow_shared(int device, const void* kernel, std::size_t bytes, const char* name);

/// Lets the kernel run in clusters of more than 8 blocks, which not every GPU has.
void allow_cluster(int device, const void* kernel, unsigned blocks, const char* name);

/// How many clusters of the grid's size run at once, each on multiprocessors of one GPC; 0 where none does. A block
/// without a cluster counts as one that has a multiprocessor to itself.
int clusters_at_once(const CudaState& state, const void* kernel, const Grid& grid);

/// Enqueues kernel<<<grid>>>(arguments...); nothing where the grid is empty. The name is for the error message.
template <class... P, class... A>
void launch(CudaState& state, std::string_view name, void (*kernel)(P...), const Grid& grid, A... arguments) {
  if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
  check(use_device(state.device), name.data());
  allow_shared(state.device, reinterpret_cast<const void*>(kernel), grid.shared, name.data());
  allow_cluster(state.device, reinterpret_cast<const void*>(kernel), grid.cluster, name.data());
  const bool overlaps = state.overlap && state.after_kernel;
  // A graph's kernels keep their clusters when it is updated.
  state.note(reinterpret_cast<const char*>(kernel) + grid.cluster, true);
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute attributes[2] = {};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared;
  config.stream = state.stream;
  config.attrs = attributes;
  if (grid.cluster > 1) {
    cudaLaunchAttribute& cluster = attributes[config.numAttrs++];
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {grid.cluster, 1, 1};
  }
  if (overlaps) {
    cudaLaunchAttribute& early = attributes[config.numAttrs++];
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
  }
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...), name.data());
}
template <class... P, class... A>
void launch(Context& ctx, std::string_view name, void (*kernel)(P...), const Grid& grid, A... arguments) {
  launch(ctx.cuda(), name, kernel, grid, arguments...);
}

}  // namespace device
}  // namespace bib
