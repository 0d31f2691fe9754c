// Context: what an op needs to run on one device, by one thread at a time; models are const and shared. With a GPU it
// works from any thread, and leaves its own device as that thread's current one in CUDA.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bib/arena.h"
#include "bib/expect.h"
#include "bib/view.h"

namespace bib {

/// strict: fp32 throughout. fast: fp16, bf16 or TF32 products with fp32 accumulation on CUDA; when predicting on the
/// CPU, products of 16-bit integers in the LSTM. int8: those of 8-bit integers there; on CUDA the same as fast.
enum class Math : std::uint8_t { strict, fast, int8 };

/// BIB_CUDA is set by CMake for the library and everything that links it: 1 when kernels/ is compiled in.
#ifndef BIB_CUDA
#error "take bib's compiler flags from find_package(bib) or pkg-config: they hold BIB_CUDA, as the library was built"
#endif
inline constexpr bool has_cuda = BIB_CUDA;

struct CudaState;  // stream, cuBLAS handle; defined in kernels/
void destroy_cuda_state(CudaState*) noexcept;
struct CudaStateDeleter {
  void operator()(CudaState* p) const noexcept { destroy_cuda_state(p); }
};

class Team;  // the context's threads; defined in cpu/
struct TeamDeleter {
  void operator()(Team* p) const noexcept;
};

struct ContextOptions {
  Device device = Device::cpu;
  int device_index = 0;
  int threads = 0;  // 0: as many as this process may use (affinity and cgroup quota)
  Math math = Math::strict;
};

class Context {
 public:
  /// Throws DeviceError when the device is missing or the library was built without it, and std::invalid_argument for
  /// a negative number of threads.
  explicit Context(ContextOptions options = {});

  Device device() const { return options_.device; }
  int device_index() const { return options_.device_index; }
  int threads() const { return options_.threads; }
  Math math() const { return options_.math; }
  Arena& arena() { return arena_; }
  CudaState& cuda() { return *cuda_; }
  /// Made when first asked for.
  Team& team();
  /// One of the contexts that each_apart() (bib/apart.h) works with: of one thread. Made when first asked for; keeps
  /// its arena.
  Context& single(int i);

  /// Whether what run() enqueued may still be under way when it returns.
  bool asynchronous() const { return options_.device == Device::cuda; }
  /// Blocks until everything enqueued on the device is done; reports its errors. Nothing to do on the CPU.
  void wait();
  /// BIB_CAREFUL=1: check lengths and indices on a GPU too, and wait after every op, so that its errors surface there.
  bool careful() const { return careful_; }
  /// Whether an OwnProducts lives.
  bool own_products() const { return own_products_; }

 private:
  friend class OwnProducts;
  ContextOptions options_;
  bool careful_ = false, own_products_ = false;
  std::unique_ptr<CudaState, CudaStateDeleter> cuda_;
  std::unique_ptr<Team, TeamDeleter> team_;
  std::vector<std::unique_ptr<Context>> singles_;
  Arena arena_;
};

/// While it lives, a GPU's dense products are left to bib's own kernels however large they are, unless BIB_GPU_BLAS
/// asks for cuBLAS: to open it takes longer than it saves in what is over soon.
class OwnProducts {
 public:
  explicit OwnProducts(Context& ctx) : ctx_(ctx), before_(std::exchange(ctx.own_products_, true)) {}
  ~OwnProducts() { ctx_.own_products_ = before_; }
  OwnProducts(const OwnProducts&) = delete;
  OwnProducts& operator=(const OwnProducts&) = delete;

 private:
  Context& ctx_;
  bool before_;
};

/// Threads this process may use: CPU affinity bounded by the cgroup CPU quota, at least 1.
int available_threads();

/// What a machine offers. `cuda` is false with the reason in `why` when there is no usable GPU.
struct DeviceInfo {
  bool cuda = false;
  std::string why;
  std::string name;
  int compute_major = 0, compute_minor = 0;
  std::size_t memory_total = 0, memory_free = 0;
};
DeviceInfo cuda_info(int device_index = 0);

/// The CPU kernels' instruction set: "base" (x86-64-v2), "avx2" or "avx512", on ARM "neon" (BIB_CPU_ISA overrides).
const char* cpu_isa_name();
/// What the CPU's dense products run with: "bib", or "openblas" where BIB_CPU_BLAS asks for it. Throws
/// std::invalid_argument where it asks for something else, or OpenBLAS cannot be opened.
const char* cpu_blas_name();

/// Memory on the context's device, for free_bytes().
inline void* allocate_bytes(const Context& ctx, std::size_t bytes) {
  return allocate_bytes(ctx.device(), ctx.device_index(), bytes);
}

/// Copies in stream order; host memory may be reused when this returns. Sizes must agree.
void copy_bytes(Context& ctx, void* to, Device to_device, const void* from, Device from_device, std::size_t bytes);
void zero_bytes(Context& ctx, void* p, std::size_t bytes);

template <class T, int R>
void zero(Context& ctx, View<T, R> v) {
  zero_bytes(ctx, v.data, sizeof(T) * static_cast<std::size_t>(v.size()));
}

template <class T, int R>
void copy(Context& ctx, View<T, R> to, View<const T, R> from) {
  expect(to.shape == from.shape, "copy: shapes differ");
  copy_bytes(ctx, to.data, to.device, from.data, from.device, sizeof(T) * static_cast<std::size_t>(to.size()));
}

/// A place on the device that will hold these bytes before any op that is recorded (bib/together.h) runs; null where
/// nothing is being recorded, or there is no room.
void* stage_bytes(Context& ctx, const void* host, std::size_t bytes);

/// Host values as a tensor on the context's device: in its arena, or for as long as bib/together.h says.
template <class T, int R>
View<T, R> upload(Context& ctx, std::span<const T> host, std::array<int, R> shape) {
  View<T, R> v{.data = static_cast<T*>(stage_bytes(ctx, host.data(), host.size_bytes())),
               .shape = shape,
               .device = ctx.device()};
  const bool staged = v.data != nullptr;
  if (!staged) v = ctx.arena().make<T, R>(shape);
  expect(static_cast<std::int64_t>(host.size()) == v.size(), "upload: size and shape differ");
  if (!staged) copy_bytes(ctx, v.data, v.device, host.data(), Device::cpu, host.size_bytes());
  return v;
}

/// A tensor's values on the host (waits for the device).
template <class T, int R>
std::vector<std::remove_const_t<T>> download(Context& ctx, View<T, R> v) {
  std::vector<std::remove_const_t<T>> host(static_cast<std::size_t>(v.size()));
  copy_bytes(ctx, host.data(), Device::cpu, v.data, v.device, host.size() * sizeof(T));
  ctx.wait();
  return host;
}

}  // namespace bib
