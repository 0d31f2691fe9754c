// Inside of the emulator: threads, warps, blocks and gangs, and what the checker knows of them.
#pragma once
#include <boost/context/detail/fcontext.hpp>
#include <map>
#include <memory>
#include <string>

#include "tests/simt/include/simt.h"

namespace simt {

inline constexpr std::size_t shared_limit = 227 * 1024, static_limit = 48 * 1024;
inline constexpr std::size_t arena_stride = 232 * 1024;  // shared memory of one block, with room for red zones
inline constexpr std::size_t redzone = 32;

struct Block;
struct Warp;

struct Copy {
  char* to;
  const char* from;
  std::size_t bytes, valid;
};

/// One CUDA thread.
struct Thread {
  enum class State { runnable, waiting, done };
  boost::context::detail::fcontext_t fiber = nullptr;
  char* stack = nullptr;
  Block* block = nullptr;
  Warp* warp = nullptr;
  uint3 index{};
  unsigned lane = 0;
  State state = State::runnable;
  bool early = false;                          // the kernel before may still run
  Site where = Site::current();                // what it waits at
  std::uint32_t released = 0, acquired = 0;    // gang barriers it has arrived at, and waited for
  std::vector<Copy> open_copies;               // cp.async issued, not committed
  std::vector<std::vector<Copy>> copy_groups;  // committed, not waited for
};

struct Barrier {
  std::uint32_t phase = 0;
  unsigned expected = 0, arrived = 0;
  Site where = Site::current();
  std::vector<Thread*> waiting;
  int votes = 0;
  Votes result{};
};

/// Lanes that meet: the first to come opens it, the last to come wakes the others.
struct Meeting {
  unsigned mask = 0, arrived = 0, unread = 0;
  const char* name = "";
  Site where = Site::current();
  std::vector<Thread*> waiting;
  alignas(16) std::byte data[32 * 64];
};

/// clock[l][k]: accesses of lane k up to this count of its synchronisations are known to lane l (vector clocks).
struct Warp {
  unsigned index = 0, lanes = 0;  // lanes: mask of those that exist
  std::array<std::array<std::uint32_t, 32>, 32> clock{};
  std::vector<std::unique_ptr<Meeting>> open;
};

/// An mbarrier. What st.async stores is there at the end of the phase, or from the first with SIMT_COPIES=early; before
/// the end nobody may touch it.
struct TransferBarrier {
  struct Store {
    char* to;
    std::size_t bytes;
    std::array<std::byte, 16> value;
  };
  unsigned count = 0, arrived = 0, phase = 0;
  std::int64_t missing = 0;   // bytes expected that have not come; below 0, come before they were expected
  std::int64_t expected = 0;  // in the last phase
  std::vector<Store> stores;
  std::vector<Thread*> waiting;
};

struct Block {
  uint3 index{};
  unsigned rank = 0, live = 0;
  bool left = false;  // a thread of it has ended
  char* shared = nullptr;
  Barrier barrier;
  std::map<std::ptrdiff_t, TransferBarrier> transfers;  // by place in shared memory
  std::vector<Warp> warps;
};

/// Blocks resident together.
struct Gang {
  std::uint32_t id = 0;
  std::vector<Block> blocks;
  std::vector<Thread> threads;
  Barrier barrier;
};

struct StaticShared {
  std::size_t offset, bytes;
};

/// What is running now; one launch at a time.
struct Running {
  const Call* call = nullptr;
  dim3 grid, block, cluster;
  bool cooperative = false;
  bool early = false;  // may start before the kernel before it has ended
  std::size_t dynamic_bytes = 0, shared_used = 0;
  std::size_t dynamic_asked = 0;  // by cudaFuncSetAttribute; 0: as much as the static arrays leave of 48 KiB
  std::size_t shared_most = 0;    // of a block of this device
  std::uint32_t launch = 0;       // counts launches
  int device = 0;
  std::map<const void*, StaticShared> statics;
  Gang* gang = nullptr;
  Thread* thread = nullptr;
  bool inside = false;  // the thread is in the emulator, not in the kernel
  std::string fault;
  boost::context::detail::fcontext_t scheduler = nullptr;
  std::vector<Thread*> woken;
};
extern Running running;

/// At the start of what kernels call. The linker may take a library function (of std::string, say) from a kernel's
/// object, where it reports its loads and stores; those that the emulator makes are none of the checker's business.
struct Inside {
  bool before = std::exchange(running.inside, true);
  ~Inside() { running.inside = before; }
};

inline constexpr std::size_t stack_bytes = 64 * 1024;

void run_launch();  // runs what `running` says
void park(Site where);
void wake(Thread* t);

std::string text_of(Site site);
std::string text_of(const Thread& t);
/// "function at file:line" of a code address, by addr2line.
std::string text_of_code(const void* pc);

// memory.cpp
struct Region {
  char *begin, *end;
  bool holds(const void* p) const { return p >= begin && p < end; }
};
Region device_region();  // all of device memory, shared memory of resident blocks behind it
Region heap_region();
void* heap_allocate(int device, std::size_t bytes);  // null when there is none
bool heap_free(void* p);
std::size_t heap_used(int device);
inline constexpr std::size_t heap_bytes = std::size_t{4} << 30;  // of all devices
/// Devices that are played (SIMT_DEVICES, else 1), each with an equal part of the heap.
int device_count();
inline std::size_t device_bytes() { return heap_bytes / static_cast<std::size_t>(device_count()); }
/// The device of an address within the heap.
int device_of(const void* p);
/// Whether it is one of the executable's own constants, or a thread-local of the host thread.
bool is_program_data(const void* p);
/// "in a block of 64 bytes at +68", for reports.
std::string describe(const void* p);
void open_shared(Block& block);  // poisons what the launch knows it uses
char* shared_arena(unsigned rank);

// checker.cpp
namespace check {
void allocated(void* p, std::size_t bytes);  // valid, not initialised
void released(void* p, std::size_t bytes);
void host_wrote(void* p, std::size_t bytes);    // initialised
void in_flight(void* p, std::size_t bytes);     // by cp.async or st.async: not to be touched until it is waited for
void arrived(void* p, std::size_t bytes);       // by st.async: anyone may read it
bool inside(const void* p, std::size_t bytes);  // of one allocation
void begin_launch();
void fresh(void* p, std::size_t bytes);  // neither valid nor touched by anyone
/// `what` is the code address of the access, for the report.
void access(const void* p, std::size_t bytes, bool write, bool atomic, const void* pc);
/// Reads and writes that the emulator makes for the current thread.
void landed(const Copy& copy, const void* pc);
}  // namespace check

}  // namespace simt
