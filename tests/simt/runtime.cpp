// The CUDA runtime as far as bib uses it, with NVIDIA's signatures: devices, memory, launches; streams.cpp has the
// rest. What is not here does not link: nothing is silently ignored.
#include "tests/simt/runtime.h"

#include <cuda_runtime_api.h>

#include <cstring>
#include <map>
#include <set>

#include "tests/simt/engine.h"

namespace simt {

std::recursive_mutex one_at_a_time;
thread_local int current_device = 0;

namespace {

std::string last_report;
thread_local cudaError_t pending = cudaSuccess;
std::map<std::pair<int, const void*>, std::size_t> dynamic_limits;  // by device and kernel
std::set<std::pair<int, const void*>> large_clusters;               // kernels that may have them
std::map<const char*, std::size_t> page_locked;
/// The GPU that is played: SIMT_DEVICE=90 (a few multiprocessors of an H100) or 75 (no clusters, 64 KiB a block).
bool old_device() {
  static const char* const device = std::getenv("SIMT_DEVICE");
  return device && std::string(device) == "75";
}
/// What the kernels were compiled for: as the GPU, or SIMT_COMPILED=80 for an older one, without clusters.
int compiled() {
  static const char* const setting = std::getenv("SIMT_COMPILED");
  return setting ? std::atoi(setting) : old_device() ? 75 : 90;
}
/// SIMT_EARLY=1: kernels are watched as if all were launched to start early.
bool all_early() {
  static const bool asked = std::getenv("SIMT_EARLY") != nullptr;
  return asked && compiled() >= 90;
}
/// SIMT_PAGEABLE=1: a GPU that reads pageable memory by itself, and does so whenever a copy's turn comes.
bool reads_pageable() {
  static const bool asked = std::getenv("SIMT_PAGEABLE") != nullptr;
  return asked;
}
/// SIMT_CLUSTERS=8: clusters of more blocks than every GPU with clusters takes are refused.
bool large_clusters_known() {
  static const char* const most = std::getenv("SIMT_CLUSTERS");
  return !most || std::atoi(most) > 8;
}
std::size_t most_shared() { return old_device() ? 64 * 1024 : shared_limit; }

/// SIMT_LARGEST: so many bytes lie together in device memory that others have taken parts of.
std::size_t largest() {
  const char* const setting = std::getenv("SIMT_LARGEST");
  return setting ? std::strtoull(setting, nullptr, 10) : device_bytes();
}

std::size_t volume(dim3 d) { return std::size_t{d.x} * d.y * d.z; }

/// Dynamic shared memory that the kernel was allowed by cudaFuncSetAttribute, or 0.
std::size_t dynamic_asked(const void* kernel) {
  const auto found = dynamic_limits.find({current_device, kernel});
  return found == dynamic_limits.end() ? 0 : found->second;
}

/// Empty, or why a GPU would refuse this launch. What static arrays a kernel has comes out when it runs (memory.cpp).
std::string refusal(const cudaLaunchConfig_t& c, const void* kernel, dim3 cluster, bool cooperative) {
  if (volume(c.gridDim) == 0 || volume(c.blockDim) == 0) return "the grid or the block is empty";
  if (c.gridDim.y > 65535 || c.gridDim.z > 65535) return "the grid is larger than 65535 in y or z";
  if (volume(c.blockDim) > 1024 || c.blockDim.z > 64) return "a block has more than 1024 threads";
  if (volume(cluster) > 1 && old_device()) return "this device has no clusters";
  if (volume(cluster) > 1 && compiled() < 90) return "this kernel was compiled without clusters, and is empty";
  if (volume(cluster) > 16) return "a cluster has more than 16 blocks";
  if (volume(cluster) > 8 && !large_clusters.contains({current_device, kernel}))
    return "a cluster of more than 8 blocks, without cudaFuncSetAttribute";
  if (c.gridDim.x % cluster.x || c.gridDim.y % cluster.y || c.gridDim.z % cluster.z)
    return "the grid is no multiple of the cluster";
  if (cooperative && volume(c.gridDim) > 64) return "a cooperative grid of more than 64 blocks is not emulated";
  if (cooperative && volume(cluster) > 1) return "a cooperative grid of clusters is not emulated";
  const std::size_t asked = dynamic_asked(kernel);
  if (c.dynamicSmemBytes > (asked ? asked : static_limit))
    return std::to_string(c.dynamicSmemBytes) + " bytes of dynamic shared memory, without cudaFuncSetAttribute";
  return "";
}

cudaError_t run_now(int device, const cudaLaunchConfig_t& c, const Call& call, dim3 cluster, bool cooperative,
                    bool early, std::size_t asked) {
  const std::uint32_t launch = running.launch;
  running = {};
  running.launch = launch;
  running.device = device;
  running.call = &call;
  running.grid = c.gridDim;
  running.block = c.blockDim;
  running.cluster = cluster;
  running.cooperative = cooperative;
  running.early = early;
  running.dynamic_bytes = c.dynamicSmemBytes;
  running.dynamic_asked = asked;
  running.shared_most = most_shared();
  run_launch();
  return running.fault.empty() ? cudaSuccess : fail(cudaErrorLaunchFailure, running.fault);
}

}  // namespace

cudaError_t keep(cudaError_t e) {
  if (e != cudaSuccess) pending = e;
  return e;
}

cudaError_t fail(cudaError_t e, const std::string& why) {
  last_report = why;
  return keep(e);
}

bool refused(const char* function) {
  const char* const asked = std::getenv("SIMT_REFUSE");
  return asked && std::string(asked) == function;
}

void host_wrote_matrix(void* p, std::size_t bytes, int m, int n, int ld) {
  for (int j = 0; j < n; ++j)
    check::host_wrote(static_cast<char*>(p) + bytes * static_cast<std::size_t>(j) * static_cast<std::size_t>(ld),
                      bytes * static_cast<std::size_t>(m));
}

cudaError_t submit(const cudaLaunchConfig_t& config, Call call) {
  dim3 cluster(1, 1, 1);
  bool cooperative = false, early = false;
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const cudaLaunchAttribute& a = config.attrs[i];
    if (a.id == cudaLaunchAttributeClusterDimension)
      cluster = dim3(a.val.clusterDim.x, a.val.clusterDim.y, a.val.clusterDim.z);
    if (a.id == cudaLaunchAttributeCooperative) cooperative = a.val.cooperative != 0;
    if (a.id == cudaLaunchAttributeProgrammaticStreamSerialization)
      early = a.val.programmaticStreamSerializationAllowed != 0;
  }
  if (early && compiled() < 90) return fail(cudaErrorInvalidValue, "an early start, which this device does not know");
  const void* const kernel = reinterpret_cast<const void*>(call.kernel);
  const std::string no = refusal(config, kernel, cluster, cooperative);
  if (!no.empty()) return fail(cudaErrorInvalidConfiguration, no);
  const int device = device_of(config.stream);
  if (device != current_device)
    return fail(cudaErrorInvalidResourceHandle, "a launch into a stream of another device than the current one");
  cudaLaunchConfig_t plain = config;
  plain.attrs = nullptr;
  plain.numAttrs = 0;
  return enqueue(config.stream,
                 [=, call = std::move(call), asked = dynamic_asked(kernel)] {
                   return run_now(device, plain, call, cluster, cooperative, early || all_early(), asked);
                 },
                 {.type = cudaGraphNodeTypeKernel, .cluster = cluster, .early = early});
}

namespace {
bool on_device(const void* p) { return heap_region().holds(p); }

bool outside(const void* p, std::size_t bytes) { return on_device(p) && !check::inside(p, bytes); }

cudaError_t copy_now(void* to, const void* from, std::size_t bytes) {
  if (outside(to, bytes) || outside(from, bytes)) return fail(cudaErrorInvalidValue, "cudaMemcpy outside its memory");
  if (on_device(to)) check::host_wrote(to, bytes);
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t fill(void* p, int value, std::size_t bytes) {
  if (!on_device(p) || outside(p, bytes)) return fail(cudaErrorInvalidValue, "cudaMemset outside its memory");
  check::host_wrote(p, bytes);
  std::memset(p, value, bytes);
  return cudaSuccess;
}

bool direction_ok(const void* to, const void* from, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return kind == cudaMemcpyDefault || (on_device(to) == to_device && on_device(from) == from_device);
}

/// Whether a graph may copy here whenever it is launched: ordinary host memory may be gone by then.
bool lasting(const void* p, std::size_t bytes) {
  if (on_device(p)) return true;
  const auto* at = static_cast<const char*>(p);
  const auto after = page_locked.upper_bound(at);
  if (after == page_locked.begin()) return false;
  const auto& [begin, size] = *std::prev(after);
  return at + bytes <= begin + size;
}
}  // namespace
}  // namespace simt

using namespace simt;

cudaError_t cudaGetDeviceCount(int* n) { return *n = device_count(), cudaSuccess; }
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= device_count()) return keep(cudaErrorInvalidDevice);
  return current_device = device, cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) { return *device = current_device, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* v) { return *v = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* v) { return *v = CUDART_VERSION, cudaSuccess; }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = old_device() ? 7 : 9; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *value = old_device() ? 5 : 0; return cudaSuccess;
    case cudaDevAttrMultiProcessorCount: *value = 32; return cudaSuccess;
    case cudaDevAttrPageableMemoryAccess: *value = reads_pageable(); return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(most_shared()); return cudaSuccess;
    default: return fail(cudaErrorInvalidValue, "device attribute not emulated");
  }
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device < 0 || device >= device_count()) return keep(cudaErrorInvalidDevice);
  std::memset(static_cast<void*>(p), 0, sizeof *p);
  std::strcpy(p->name, "emulator");
  p->major = old_device() ? 7 : 9;
  p->minor = old_device() ? 5 : 0;
  p->multiProcessorCount = 32;
  p->totalGlobalMem = device_bytes();
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = device_bytes();
  *free = device_bytes() - heap_used(current_device);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  const std::lock_guard lock(one_at_a_time);
  *p = bytes > largest() ? nullptr : heap_allocate(current_device, bytes);
  return *p ? cudaSuccess : keep(cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void* p) {
  const std::lock_guard lock(one_at_a_time);
  catch_up_all();
  if (p && heap_region().holds(p) && device_of(p) != current_device)  // CUDA would, after it has opened this one
    return fail(cudaErrorInvalidValue, "cudaFree in a thread that uses another GPU");
  return !p || heap_free(p) ? cudaSuccess : fail(cudaErrorInvalidValue, "cudaFree of what cudaMalloc did not give");
}

cudaError_t cudaMallocAsync(void** p, std::size_t bytes, cudaStream_t stream) {
  if (host_may_not(stream)) return fail(cudaErrorStreamCaptureUnsupported, "allocation while capturing");
  return cudaMalloc(p, bytes);
}

cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  return enqueue(stream, [p] {
    return heap_free(p) ? cudaSuccess : fail(cudaErrorInvalidValue, "cudaFreeAsync of what cudaMalloc did not give");
  });
}

cudaError_t cudaMallocHost(void** p, std::size_t bytes) {
  *p = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*p) return keep(cudaErrorMemoryAllocation);
  const std::lock_guard lock(one_at_a_time);
  page_locked[static_cast<const char*>(*p)] = bytes;
  return cudaSuccess;
}
/// Host memory that kernels may touch: it lies among the device's, so that the checker knows its bounds.
cudaError_t cudaHostAlloc(void** p, std::size_t bytes, unsigned flags) {
  if (flags != cudaHostAllocMapped) return fail(cudaErrorInvalidValue, "page-locked memory of a kind not emulated");
  const cudaError_t status = cudaMalloc(p, bytes);
  if (status == cudaSuccess) check::host_wrote(*p, bytes);  // the host fills it by plain stores
  return status;
}
cudaError_t cudaFreeHost(void* p) {
  const std::lock_guard lock(one_at_a_time);
  catch_up_all();
  if (heap_free(p)) return cudaSuccess;
  if (page_locked.erase(static_cast<const char*>(p)) == 0)
    return fail(cudaErrorInvalidValue, "cudaFreeHost of what cudaMallocHost did not give");
  return std::free(p), cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (!direction_ok(to, from, kind)) return fail(cudaErrorInvalidValue, "cudaMemcpy against its direction");
  if (host_may_not(stream) && !(lasting(to, bytes) && lasting(from, bytes)))
    return fail(cudaErrorStreamCaptureUnsupported, "a copy of pageable host memory while capturing");
  if (is_late(stream) && !reads_pageable()) {  // ordinary memory is read or written before this returns
    if (!lasting(to, bytes)) {
      const cudaError_t before = catch_up(stream);
      return before == cudaSuccess ? keep(copy_now(to, from, bytes)) : before;
    }
    if (!lasting(from, bytes)) {
      const auto* begin = static_cast<const char*>(from);
      return enqueue(stream,
                     [=, copy = std::vector<char>(begin, begin + bytes)] { return copy_now(to, copy.data(), bytes); });
    }
  }
  return enqueue(stream, [=] { return copy_now(to, from, bytes); }, {.type = cudaGraphNodeTypeMemcpy});
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream) {
  return enqueue(stream, [=] { return fill(p, value, bytes); }, {.type = cudaGraphNodeTypeMemset, .bytes = bytes});
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* to, const void*) {
  *to = {};
  to->ptxVersion = to->binaryVersion = compiled();
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    if (value > static_cast<int>(most_shared()))
      return fail(cudaErrorInvalidValue, "more dynamic shared memory than a block may have");
    dynamic_limits[{current_device, kernel}] = static_cast<std::size_t>(value);
  } else if (attribute == cudaFuncAttributeNonPortableClusterSizeAllowed && value == 1) {
    if (!large_clusters_known()) return fail(cudaErrorNotSupported, "this device has clusters of 8 at most");
    large_clusters.insert({current_device, kernel});
  } else {
    return fail(cudaErrorInvalidValue, "kernel attribute not emulated");
  }
  return cudaSuccess;
}

/// A block to a multiprocessor, of which 16 make up a GPC: a cluster lies within one.
cudaError_t cudaOccupancyMaxActiveClusters(int* n, const void* kernel, const cudaLaunchConfig_t* c) {
  const unsigned size = c->attrs[0].val.clusterDim.x;
  const dim3 cluster(size, 1, 1);
  if (const std::string no = refusal(*c, kernel, cluster, false); !no.empty())
    return fail(cudaErrorInvalidClusterSize, no);
  return *n = static_cast<int>(16 / size * 2), cudaSuccess;
}

cudaError_t cudaGetLastError() { return std::exchange(pending, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return pending; }
const char* cudaGetErrorName(cudaError_t e) {
  return e == cudaSuccess ? "cudaSuccess" : e == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}
const char* cudaGetErrorString(cudaError_t e) {
  if (e == cudaSuccess) return "no error";
  if (e == cudaErrorMemoryAllocation) return "out of memory";
  return last_report.empty() ? "error of the emulator" : last_report.c_str();
}
