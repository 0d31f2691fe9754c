// Device, memory, copies and errors: what include/bib/cuda_backend.h promises.
#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "bib/cuda_backend.h"
#include "bib/ops/crf.h"
#include "kernels/asked.h"
#include "kernels/blas.h"
#include "kernels/device.h"
#include "kernels/graph.h"
#include "kernels/launch.h"

namespace bib {

namespace device {
void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const std::string why = cudaGetErrorString(status);
  cudaGetLastError();  // taken notice of
  throw std::runtime_error(std::string(what) + " failed on the GPU: " + why);
}

void allow_shared(int device, const void* kernel, std::size_t bytes, const char* name) {
  // Without asking, a kernel may have 48 KiB less what its fixed arrays take, up to 12 of them.
  if (bytes <= 32 * 1024) return;
  static std::mutex one_at_a_time;
  static std::map<std::pair<int, const void*>, std::size_t> allowed;
  const std::lock_guard lock(one_at_a_time);
  std::size_t& most = allowed[{device, kernel}];
  if (bytes <= most) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)), name);
  most = bytes;
}

void allow_cluster(int device, const void* kernel, unsigned blocks, const char* name) {
  if (blocks <= 8) return;
  static std::mutex one_at_a_time;
  static std::set<std::pair<int, const void*>> allowed;
  const std::lock_guard lock(one_at_a_time);
  if (allowed.contains({device, kernel})) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1), name);
  allowed.insert({device, kernel});
}

int clusters_at_once(const CudaState& state, const void* kernel, const Grid& grid) {
  if (grid.cluster == 1) return state.multiprocessors;
  static std::mutex one_at_a_time;
  static std::map<std::tuple<int, const void*, unsigned, std::size_t>, int> known;
  const std::lock_guard lock(one_at_a_time);
  const auto [found, is_new] = known.try_emplace({state.device, kernel, grid.cluster, grid.shared}, 0);
  if (!is_new) return found->second;
  check(use_device(state.device), "choosing the device");
  allow_shared(state.device, kernel, grid.shared, "asking for clusters");
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {grid.cluster, 1, 1};
  const cudaLaunchConfig_t config{.gridDim = dim3(grid.cluster),
                                  .blockDim = grid.threads,
                                  .dynamicSmemBytes = grid.shared,
                                  .attrs = &cluster,
                                  .numAttrs = 1};
  cudaError_t status = cudaSuccess;
  if (grid.cluster > 8) status = cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  if (status == cudaSuccess) status = cudaOccupancyMaxActiveClusters(&found->second, kernel, &config);
  // An error: the device has no room for one, or takes none of so many blocks.
  if (status != cudaSuccess) {
    found->second = 0;
    cudaGetLastError();
  }
  return found->second;
}
}  // namespace device

namespace {

std::string mebibytes(std::size_t bytes) { return std::to_string((bytes + (1u << 20) - 1) >> 20) + " MiB"; }

int attribute(cudaDeviceAttr which, int index) {
  int value = 0;
  device::check(cudaDeviceGetAttribute(&value, which, index), "asking for a device attribute");
  return value;
}

__global__ void any_kernel() {}

template <class T>
__global__ void set_to_zero(T* p, std::int64_t n) {
  device::after_previous();
  for (std::int64_t i = device::global_thread(); i < n; i += device::grid_threads()) p[i] = T{};
}

/// Which GPU's memory is which: it may be freed by a thread that has not used that GPU, and asking CUDA from there
/// would open another one.
class Owners {
 public:
  void add(void* p, int device) {
    const std::lock_guard lock(mutex_);
    devices_[p] = device;
  }
  int forget(void* p) {
    const std::lock_guard lock(mutex_);
    const auto found = devices_.find(p);
    if (found == devices_.end()) return 0;
    const int device = found->second;
    devices_.erase(found);
    return device;
  }

 private:
  std::mutex mutex_;
  std::map<void*, int> devices_;
};
Owners& owners() {
  static Owners& all = *new Owners;  // never destroyed: other statics free memory at exit
  return all;
}

/// The compute capability that the kernels were compiled for, times 10: at most that of the current device, which also
/// runs what was made for older ones. 0 where it cannot run them.
int compiled_for() {
  cudaFuncAttributes found{};
  if (cudaFuncGetAttributes(&found, reinterpret_cast<const void*>(any_kernel)) == cudaSuccess) return found.ptxVersion;
  cudaGetLastError();
  return 0;
}

}  // namespace

DeviceInfo cuda_info(int index) {
  DeviceInfo info;
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) {
    cudaGetLastError();
    info.why = status == cudaErrorInsufficientDriver ? "no NVIDIA driver, or one too old for this bib"
                                                     : std::string(cudaGetErrorString(status));
    return info;
  }
  if (index < 0 || index >= count) {
    info.why = count == 0 ? "no NVIDIA GPU"
                          : "there is no GPU " + std::to_string(index) + ", only 0.." + std::to_string(count - 1);
    return info;
  }
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, index) != cudaSuccess || device::use_device(index) != cudaSuccess ||
      cudaMemGetInfo(&info.memory_free, &info.memory_total) != cudaSuccess) {
    info.why = cudaGetErrorString(cudaGetLastError());
    return info;
  }
  if (compiled_for() == 0) {
    const std::string architecture = std::to_string(properties.major) + std::to_string(properties.minor);
    info.why = std::string(properties.name) + " is sm_" + architecture +
               ", and this bib has no kernels for it: build it with -DCMAKE_CUDA_ARCHITECTURES=" + architecture;
    return info;
  }
  info.name = properties.name;
  info.compute_major = properties.major;
  info.compute_minor = properties.minor;
  info.cuda = true;
  return info;
}

CudaState* make_cuda_state(int index, Math math) {
  if (const DeviceInfo info = cuda_info(index); !info.cuda)
    throw DeviceError("cuda:" + std::to_string(index) + ": " + info.why);
  auto state = std::make_unique<CudaState>();
  state->device = index;
  state->math = math;
  device::check(device::use_device(index), "choosing the device");
  state->multiprocessors = attribute(cudaDevAttrMultiProcessorCount, index);
  const int major = attribute(cudaDevAttrComputeCapabilityMajor, index);
  state->compute_major = std::min(major, compiled_for() / 10);
  state->preferred_clusters = major >= 10;
  state->reads_pageable = attribute(cudaDevAttrPageableMemoryAccess, index) != 0;
  state->overlap = device::asked_for("BIB_OVERLAP", "0", "1") && state->compute_major >= 9;
  constexpr int fixed = 5 * 1024;  // left to the kernels' fixed arrays
  state->shared_memory = static_cast<std::size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, index) - fixed);
  device::check(cudaStreamCreateWithFlags(&state->stream, cudaStreamNonBlocking), "making a stream");
  return state.release();
}

cublasHandle_t CudaState::blas_handle(const device::Blas& blas) {
  const auto check = [](cublasStatus_t status) {
    if (status != CUBLAS_STATUS_SUCCESS)
      throw std::runtime_error("cuBLAS cannot start on this GPU: status " + std::to_string(status));
  };
  if (blas_ready) return handle;
  if (!handle) check(blas.create(&handle));
  check(blas.set_stream(handle, stream));
  // One of our own, of the size NVIDIA names for sm_90: cuBLAS would allocate one inside of a graph.
  constexpr std::size_t workspace = std::size_t{32} << 20;
  if (!blas_workspace) blas_workspace = cuda_allocate(device, workspace);
  check(blas.set_workspace(handle, blas_workspace, workspace));
  // Parts of a sum are added in fp32 where the result is rounded to fp16, too: those of few rows would be cut.
  const int products = math == Math::fast ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH;
  check(blas.set_math(handle, static_cast<cublasMath_t>(products | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)));
  blas_ready = true;
  return handle;
}

CrfFault* CudaState::fault() {
  if (!fault_memory) {
    device::check(device::use_device(device), "choosing the device");
    void* p = nullptr;
    device::check(cudaHostAlloc(&p, sizeof(CrfFault), cudaHostAllocMapped), "allocating page-locked memory");
    fault_memory = new (p) CrfFault;
  }
  return fault_memory;
}

void CudaState::raise_fault() {
  if (!fault_memory || *const_cast<const volatile int*>(&fault_memory->kind) == CrfFault::none) return;
  const CrfFault fault = *fault_memory;
  *const_cast<volatile int*>(&fault_memory->kind) = CrfFault::none;
  *const_cast<volatile int*>(&fault_memory->claimed) = 0;  // last: a later step may be about to write another
  fault.refuse(CrfLoss::name);
}

void destroy_cuda_state(CudaState* state) noexcept {
  if (!state) return;
  device::use_device(state->device);
  cudaStreamSynchronize(state->stream);
  state->recorder.reset();
  if (state->handle) device::blas()->destroy(state->handle);
  cuda_free(state->blas_workspace);
  if (state->fault_memory) cudaFreeHost(state->fault_memory);
  cudaStreamDestroy(state->stream);
  delete state;
}

void* cuda_allocate(int device_index, std::size_t bytes) {
  device::check(device::use_device(device_index), "choosing the device");
  void* p = nullptr;
  const cudaError_t status = cudaMalloc(&p, bytes ? bytes : 1);
  if (status != cudaErrorMemoryAllocation) {
    device::check(status, "allocating device memory");
    owners().add(p, device_index);
    return p;
  }
  cudaGetLastError();
  std::size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  throw OutOfDeviceMemory("out of device memory: " + mebibytes(bytes) + " asked for, " + mebibytes(free) + " of " +
                          mebibytes(total) + " free; use a smaller batch or the CPU (--device cpu)");
}

void cuda_free(void* p) noexcept {
  if (!p) return;
  device::use_device(owners().forget(p));
  cudaFree(p);
}

// Pageable host memory that is staged has been read when cudaMemcpyAsync returns. Where the device reads it by itself
// (Grace, HMM) it may be read whenever the copy's turn comes.
void cuda_copy(CudaState& state, void* to, Device to_device, const void* from, Device from_device, std::size_t bytes) {
  const cudaMemcpyKind kind = to_device == Device::cpu     ? cudaMemcpyDeviceToHost
                              : from_device == Device::cpu ? cudaMemcpyHostToDevice
                                                           : cudaMemcpyDeviceToDevice;
  if (state.recording && kind == cudaMemcpyDeviceToHost)
    throw std::logic_error("a download while ops are being recorded: fetch it after together()");
  if (state.recording && kind == cudaMemcpyHostToDevice) from = device::kept_for_graph(state, from, bytes);
  state.note(reinterpret_cast<const void*>(&cuda_copy));
  device::check(device::use_device(state.device), "choosing the device");
  device::check(cudaMemcpyAsync(to, from, bytes, kind, state.stream), "copying");
  if (state.reads_pageable && !state.recording && kind != cudaMemcpyDeviceToDevice)
    device::check(cudaStreamSynchronize(state.stream), "waiting for a copy");
}

void cuda_zero(CudaState& state, void* p, std::size_t bytes) {
  device::check(device::use_device(state.device), "choosing the device");
  if (!state.recording) {
    state.note(reinterpret_cast<const void*>(&cuda_zero));
    return device::check(cudaMemsetAsync(p, 0, bytes, state.stream), "zeroing");
  }
  // A graph that sets another number of bytes than before may not be updated, one whose kernel has another grid is.
  if (bytes == 0) return;
  const auto misaligned = (reinterpret_cast<std::uintptr_t>(p) | bytes) % sizeof(uint4);
  const auto zero = [&]<class T>(T* to) {
    const std::int64_t n = static_cast<std::int64_t>(bytes / sizeof(T));
    device::launch(state, "zeroing", set_to_zero<T>, device::grid_for(state, n), to, n);
  };
  misaligned ? zero(static_cast<unsigned char*>(p)) : zero(static_cast<uint4*>(p));
}

void cuda_wait(CudaState& state) {
  if (state.recording) throw std::logic_error("waiting while ops are being recorded: wait after together()");
  device::check(device::use_device(state.device), "choosing the device");
  device::check(cudaStreamSynchronize(state.stream), "waiting for the device");
  state.raise_fault();
}

std::uint64_t cuda_enqueued(const CudaState& state) { return state.recorded; }

double cuda_seconds(CudaState& state, const std::function<void()>& work) {
  device::check(device::use_device(state.device), "choosing the device");
  struct Event {
    cudaEvent_t event = nullptr;
    Event() { device::check(cudaEventCreateWithFlags(&event, cudaEventDefault), "making an event"); }
    ~Event() { cudaEventDestroy(event); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
  } begin, end;
  const auto record = [&](const Event& e) {
    device::check(cudaEventRecord(e.event, state.stream), "recording an event");
    state.after_kernel = false;  // a kernel behind an event starts when that has happened
  };
  record(begin);
  work();
  record(end);
  cuda_wait(state);
  float milliseconds = 0;
  device::check(cudaEventElapsedTime(&milliseconds, begin.event, end.event), "reading an event");
  return static_cast<double>(milliseconds) * 1e-3;
}

}  // namespace bib
