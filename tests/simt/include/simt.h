// The emulator as kernels see it: one fiber per CUDA thread, switched only where threads wait for each other.
// What the scheduler promises: blocks that may synchronise (a block, a cluster, or the whole grid of a cooperative
// launch) are resident together as a gang, on one OS thread, in an order that depends on the options alone.
#pragma once
#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace simt {

using Site = std::source_location;  // of the call in the kernel, for reports and for the rule that all meet at one line

/// How threads and blocks take turns, and when a cp.async lands. Defaults come from SIMT_ORDER (forward, reverse or a
/// number, the seed of a random order) and SIMT_COPIES (late or early).
struct Options {
  enum class Order { forward, reverse, random } order = Order::forward;
  std::uint64_t seed = 1;
  bool late_copies = true;
};
Options options();
void set_options(const Options&);

/// A kernel call with its arguments as bytes, so that every thread can be given its own copy.
struct Call {
  void (*kernel)() = nullptr;
  void (*invoke)(void (*kernel)(), void* arguments) = nullptr;
  std::vector<std::byte> arguments;
};
cudaError_t submit(const cudaLaunchConfig_t& config, Call call);

/// Stops the launch with this text as its error.
[[noreturn]] void fault(const std::string& what, Site site);
[[noreturn]] void fault(const char* who, const char* what, Site site);  // for kernels: builds no string there

/// What a launch that may start early has to wait by, before it touches memory of the device.
void after_previous();

// Waiting.
void block_barrier(Site site);
struct Votes {
  int count;
  bool any, all;
};
Votes block_vote(bool vote, Site site);
void gang_arrive(Site site);  // of a cluster, or of the grid of a cooperative launch
void gang_wait(Site site);
void yield(Site site);

/// mbarrier in shared memory: a phase ends with `count` arrivals and when as many bytes have come as were expected.
void mbarrier_init(void* barrier, unsigned count, Site site);
void mbarrier_expect(void* barrier, unsigned bytes, Site site);  // and arrives
void mbarrier_wait(void* barrier, unsigned parity, Site site);   // for the end of a phase of this parity
/// st.async: 8 or 16 bytes to the same place in block `rank` of the cluster, counted by its barrier at that place.
void store_async(void* mine, const void* value, std::size_t bytes, unsigned rank, void* barrier, Site site);

/// Every lane of the mask gives `bytes` bytes and gets those of all lanes, `all[lane * bytes]`. What lanes did to
/// memory before is ordered before what they do after, unless `ordering` says that this instruction promises none.
enum class Ordering { memory, none };
void exchange(unsigned mask, const void* mine, std::size_t bytes, void* all, const char* name, Site site,
              Ordering ordering = Ordering::memory);
template <class T>
std::array<T, 32> exchange(unsigned mask, const T& mine, const char* name, Site site) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 64);
  std::array<T, 32> all;
  exchange(mask, &mine, sizeof(T), all.data(), name, site);
  return all;
}

// Tensor cores, and the approximation beside them (kernels/mma.h).
float tanh_approx(float x);
unsigned pair_of(float low, float high, bool fp16);  // else bf16
float fp16_value(unsigned bits);                     // of the low half
void mma(float (&d)[4], std::array<unsigned, 4> a, std::array<unsigned, 2> b, bool fp16, Site site);
void load_matrices(unsigned (&to)[4], const void* row, bool transposed, Site site);

// Memory.
void* static_shared(const void* key, std::size_t bytes, std::size_t alignment);
void* dynamic_shared();
void* peer_shared(const void* mine, unsigned rank, Site site);
unsigned block_rank();  // in the cluster
unsigned cluster_blocks();
/// Tells the checker of an atomic access; the caller then reads and writes with copy(), which it does not see.
void atomic_access(const void* p, std::size_t bytes);
void copy(void* to, const void* from, std::size_t bytes);

/// cp.async: `bytes` is 4, 8 or 16; past `valid` bytes zeros are written.
void copy_async(void* to, const void* from, std::size_t bytes, std::size_t valid, Site site);
void copy_commit();
void copy_wait(int groups_left);

/// Faults unless p is a multiple of `alignment`: vector loads of a GPU trap where a CPU does not.
void expect_aligned(const void* p, std::size_t alignment, Site site);

}  // namespace simt

/// As in NVIDIA's cuda_runtime.h.
template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A&&... args) {
  static_assert((std::is_trivially_copyable_v<P> && ...), "a kernel's arguments are copied as bytes");
  using Arguments = std::tuple<P...>;
  static_assert(sizeof(Arguments) <= 4096, "a kernel's arguments are 4 KiB at most");
  const Arguments arguments(static_cast<P>(std::forward<A>(args))...);
  simt::Call call;
  call.kernel = reinterpret_cast<void (*)()>(kernel);
  const auto* bytes = reinterpret_cast<const std::byte*>(&arguments);
  call.arguments.assign(bytes, bytes + sizeof arguments);
  call.invoke = [](void (*k)(), void* a) {
    std::apply(reinterpret_cast<void (*)(P...)>(k), *static_cast<Arguments*>(a));
  };
  return simt::submit(*config, std::move(call));
}
