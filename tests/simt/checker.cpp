// The checker. Kernels are compiled with -fsanitize=thread, and this file stands in for its run-time library: every
// load and store of a kernel comes through access(). It looks for memory that is not there, not yet written, still
// being copied or on the host, and for races.
//
// Order of two accesses a, b (b is now), from the outside in:
//   different launches          ordered: streams run in order
//   different gangs             never
//   one gang                    b's thread has waited for the gang barrier at which a's arrived next
//   one block                   a block barrier lies between (all threads take part, so counting phases is exact)
//   one warp                    vector clocks of its lanes, joined by the lanes that meet
// A word's state: its last writer, and its readers since. Readers are summed up: who read last, and over how much of
// the hierarchy readers that a later writer may not be ordered with are spread. The sum loses nothing, because a
// writer inside of that spread is unordered with at least one of them. The last writer's own reads stand apart: it may
// write again behind them, when it waited for the others alone.
#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/simt/engine.h"

namespace simt::check {
namespace {

struct Stamp {
  std::uint32_t launch, gang, released, phase, clock, code;
  std::uint16_t block;
  std::uint8_t warp, lane;
};
static_assert(sizeof(Stamp) == 28);

enum Spread : std::uint8_t { one, lanes, warps, blocks, gangs };

struct Cell {
  Stamp write, read;
  std::uint32_t lane_clocks;  // index into lane_clock_pool, where the spread is `lanes`
  Spread spread;
  bool atomic_write, atomic_read, split : 1, own_read : 1;
};
static_assert(sizeof(Cell) == 64);

/// When the last writer of a word last read it.
struct OwnRead {
  std::uint32_t released, phase, clock, code;
};

// Per 4-byte word one Cell and one byte of flags: bit i says that byte i may be touched, bit 4+i that it was written.
// Words that are accessed by parts get a Cell per byte, in `parts`.
template <class T>
T* shadow_of_region() {
  const Region r = device_region();
  const std::size_t words = static_cast<std::size_t>(r.end - r.begin) / 4;
  void* p =
      mmap(nullptr, words * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) std::abort();
  return static_cast<T*>(p);
}

char* const region_begin = device_region().begin;
char* const region_end = device_region().end;
char* const shared_begin = heap_region().end;
Cell* const cells = shadow_of_region<Cell>();
OwnRead* const own_reads = shadow_of_region<OwnRead>();  // of cells that say so
std::uint8_t* const flags = shadow_of_region<std::uint8_t>();
std::uint8_t* const flying = shadow_of_region<std::uint8_t>();  // 1: a cp.async writes here

std::vector<std::array<std::uint32_t, 32>> lane_clock_pool;
std::vector<std::uint32_t> free_lane_clocks;
struct Part {
  Cell cell;
  OwnRead own;
};
std::map<std::size_t, std::array<Part, 4>> parts;  // by word

std::size_t word_of(const void* p) { return static_cast<std::size_t>(static_cast<const char*>(p) - region_begin) / 4; }

template <class F>
void for_bytes(void* p, std::size_t bytes, F&& f) {
  const auto* at = static_cast<const char*>(p);
  for (std::size_t i = 0; i < bytes;) {
    const std::size_t word = word_of(at + i), first = (reinterpret_cast<std::uintptr_t>(at + i)) % 4;
    const std::size_t n = std::min(bytes - i, 4 - first);
    f(word, static_cast<std::uint8_t>(((1u << n) - 1) << first));
    i += n;
  }
}

/// Zeros, and of what lies in whole pages the memory back. `p` has n elements.
template <class T>
void give_back(T* p, std::size_t n) {
  constexpr std::size_t page = 4096;
  const auto begin = reinterpret_cast<std::uintptr_t>(p), end = begin + n * sizeof(T);
  const auto inner = (begin + page - 1) / page * page, inner_end = end / page * page;
  std::memset(static_cast<void*>(p), 0, inner - begin);
  madvise(reinterpret_cast<void*>(inner), inner_end - inner, MADV_DONTNEED);
  std::memset(reinterpret_cast<void*>(inner_end), 0, end - inner_end);
}

void forget(void* p, std::size_t bytes) {
  const std::size_t first = word_of(p), n = (bytes + 3) / 4;
  constexpr std::size_t large = 1 << 16;
  if (n >= large) {
    give_back(cells + first, n);
    give_back(own_reads + first, n);
  } else {
    std::memset(static_cast<void*>(cells + first), 0, n * sizeof(Cell));
  }
  parts.erase(parts.lower_bound(first), parts.lower_bound(first + n));
}

Stamp stamp_now(std::uint32_t code) {
  const Thread& t = *running.thread;
  return {.launch = running.launch,
          .gang = running.gang->id,
          .released = t.released,
          .phase = t.block->barrier.phase,
          .clock = t.warp->clock[t.lane][t.lane],
          .code = code,
          .block = static_cast<std::uint16_t>(t.block->rank),
          .warp = static_cast<std::uint8_t>(t.warp->index),
          .lane = static_cast<std::uint8_t>(t.lane)};
}

/// Whether a, an access of this gang, comes before everything the current thread does from now on, as far as gang and
/// block barriers tell: -1 not, 1 yes, 0 only its warp can tell.
int barriers_between(const Stamp& a, const Thread& me) {
  if (me.acquired > a.released) return 1;
  if (a.block != me.block->rank) return -1;
  if (a.phase != me.block->barrier.phase) return 1;
  return a.warp == me.warp->index ? 0 : -1;
}

bool ordered(const Stamp& a, const Thread& me) {
  if (a.launch != running.launch) return true;
  if (a.gang != running.gang->id) return false;
  const int known = barriers_between(a, me);
  if (known != 0) return known > 0;
  return me.warp->clock[me.lane][a.lane] >= a.clock || a.lane == me.lane;
}

bool readers_ordered(const Cell& cell, const Thread& me) {
  const Stamp& a = cell.read;
  if (a.launch != running.launch) return true;
  if (cell.spread == gangs || a.gang != running.gang->id) return false;
  if (me.acquired > a.released) return true;
  if (cell.spread == blocks || a.block != me.block->rank) return false;
  if (a.phase != me.block->barrier.phase) return true;
  if (cell.spread == warps || a.warp != me.warp->index) return false;
  if (cell.spread == one) return ordered(a, me);
  const auto& clock = lane_clock_pool[cell.lane_clocks];
  for (unsigned l = 0; l < 32; ++l)
    if (l != me.lane && clock[l] > me.warp->clock[me.lane][l]) return false;
  return true;
}

std::uint32_t new_lane_clocks() {
  if (free_lane_clocks.empty()) {
    lane_clock_pool.emplace_back();
    return static_cast<std::uint32_t>(lane_clock_pool.size() - 1);
  }
  const std::uint32_t i = free_lane_clocks.back();
  free_lane_clocks.pop_back();
  lane_clock_pool[i] = {};
  return i;
}

void add_reader(Cell& cell, const Thread& me, const Stamp& now, bool atomic) {
  const Stamp a = cell.read;
  const auto drop_lanes = [&] {
    if (cell.spread == lanes && a.launch == now.launch) free_lane_clocks.push_back(cell.lane_clocks);
  };
  const auto alone = [&] {
    drop_lanes();
    cell.read = now;
    cell.spread = one;
    cell.atomic_read = atomic;
  };
  const auto widen = [&](Spread to) {
    if (to > lanes) drop_lanes();
    cell.spread = std::max(cell.spread, to);
    cell.read = now;
    cell.read.released = std::max(a.released, now.released);
    cell.atomic_read = cell.atomic_read && atomic;
  };
  if (a.launch != now.launch) return alone();
  if (cell.spread == gangs) return;
  if (a.gang != now.gang) return widen(gangs);
  if (me.acquired > a.released) return alone();
  if (cell.spread == blocks || a.block != now.block) return widen(blocks);
  if (a.phase != now.phase) return alone();
  if (cell.spread == warps || a.warp != now.warp) return widen(warps);
  if (cell.spread == one && (a.lane == now.lane || ordered(a, me))) return alone();
  if (cell.spread == one) {
    cell.lane_clocks = new_lane_clocks();
    lane_clock_pool[cell.lane_clocks][a.lane] = a.clock;
  }
  lane_clock_pool[cell.lane_clocks][now.lane] = now.clock;
  widen(lanes);
}

char* code_base() {
  static char* const base = [] {
    Dl_info info{};
    dladdr(reinterpret_cast<void*>(&code_base), &info);
    return static_cast<char*>(info.dli_fbase);
  }();
  return base;
}

std::string text_of(const Stamp& s) {
  return text_of_code(code_base() + s.code) + ", block " + std::to_string(s.block) + " of gang " +
         std::to_string(s.gang) + ", thread " + std::to_string(s.warp * 32 + s.lane);
}

[[noreturn]] void report(const std::string& what, const void* p, const void* pc, const Stamp* other) {
  std::string text = what + " " + describe(p) + "\n  by " + text_of_code(pc);
  if (other) text += "\n  and " + text_of(*other);
  fault(text, Site::current());
}

bool same_thread(const Stamp& a, const Stamp& b) {
  return a.launch == b.launch && a.gang == b.gang && a.block == b.block && a.warp == b.warp && a.lane == b.lane;
}

void check_cell(Cell& cell, OwnRead& own, const void* p, bool write, bool atomic, const void* pc, const Stamp& now) {
  const Thread& me = *running.thread;
  if (!write && !atomic && same_thread(cell.write, now)) {
    own = {now.released, now.phase, now.clock, now.code};
    cell.own_read = true;
    return;
  }
  if (write && cell.own_read) {
    Stamp read = cell.write;
    read.released = own.released, read.phase = own.phase, read.clock = own.clock, read.code = own.code;
    if (!ordered(read, me)) report("race: write of what another thread reads", p, pc, &read);
  }
  const bool both_atomic = atomic && cell.atomic_write;
  if (cell.write.launch && !both_atomic && !ordered(cell.write, me))
    report(write ? "race: two writes" : "race: read of what another thread writes", p, pc, &cell.write);
  if (write && cell.read.launch && !(atomic && cell.atomic_read) && !readers_ordered(cell, me))
    report("race: write of what another thread reads", p, pc, &cell.read);
  if (write) {
    cell.write = now;
    cell.atomic_write = atomic;
    cell.own_read = false;
  } else {
    add_reader(cell, me, now, atomic);
  }
}

void check_word(std::size_t word, std::uint8_t mask, const void* p, bool write, bool atomic, const void* pc,
                const Stamp& now) {
  if ((flags[word] & mask) != mask) report(write ? "write outside" : "read outside", p, pc, nullptr);
  if (flying[word]) report("touches the target of a cp.async or st.async that is not waited for,", p, pc, nullptr);
  if (write) {
    flags[word] |= static_cast<std::uint8_t>(mask << 4);
  } else if ((flags[word] >> 4 & mask) != mask) {
    report("read of memory never written,", p, pc, nullptr);
  }
  Cell& cell = cells[word];
  if (mask == 0xF && !cell.split) return check_cell(cell, own_reads[word], p, write, atomic, pc, now);
  if (!cell.split) {
    const Part part{cell, own_reads[word]};
    parts[word] = {part, part, part, part};
    cell.split = true;
  }
  auto& four = parts[word];
  for (int i = 0; i < 4; ++i)
    if (mask >> i & 1)
      check_cell(four[static_cast<std::size_t>(i)].cell, four[static_cast<std::size_t>(i)].own, p, write, atomic, pc,
                 now);
}

}  // namespace

void allocated(void* p, std::size_t bytes) {
  forget(p, bytes);
  for_bytes(p, bytes, [](std::size_t word, std::uint8_t mask) {
    flags[word] = static_cast<std::uint8_t>((flags[word] | mask) & ~(mask << 4));
    flying[word] = 0;
  });
}

void released(void* p, std::size_t bytes) { fresh(p, bytes); }

void fresh(void* p, std::size_t bytes) {
  forget(p, bytes);
  std::memset(flags + word_of(p), 0, (bytes + 3) / 4);
  std::memset(flying + word_of(p), 0, (bytes + 3) / 4);
}

void host_wrote(void* p, std::size_t bytes) {
  for_bytes(p, bytes, [](std::size_t word, std::uint8_t mask) { flags[word] |= static_cast<std::uint8_t>(mask << 4); });
}

bool inside(const void* p, std::size_t bytes) {
  bool ok = true;
  for_bytes(const_cast<void*>(p), bytes,
            [&](std::size_t word, std::uint8_t mask) { ok &= (flags[word] & mask) == mask; });
  return ok;
}

void in_flight(void* p, std::size_t bytes) { std::memset(flying + word_of(p), 1, bytes / 4); }

void arrived(void* p, std::size_t bytes) {
  forget(p, bytes);
  std::memset(flying + word_of(p), 0, bytes / 4);
  host_wrote(p, bytes);
}

void begin_launch() {
  ++running.launch;
  lane_clock_pool.clear();
  free_lane_clocks.clear();
}

void access(const void* p, std::size_t bytes, bool write, bool atomic, const void* pc) {
  const Thread* me = running.thread;
  if (!me) return;
  const auto* at = static_cast<const char*>(p);
  if (at >= me->stack && at < me->stack + stack_bytes) return;
  if (at < region_begin || at >= region_end) {
    if (write || !is_program_data(p)) fault("touches host memory\n  by " + text_of_code(pc), Site::current());
    return;
  }
  if (at < shared_begin) {
    if (me->early) report("touches memory before the kernel before has ended,", p, pc, nullptr);
    if (device_of(at) != running.device)
      report("touches the memory of device " + std::to_string(device_of(at)) + " on device " +
                 std::to_string(running.device) + ",",
             p, pc, nullptr);
  } else {
    const auto rank = static_cast<std::size_t>(at - shared_begin) / arena_stride;
    if (rank >= running.gang->blocks.size()) report("touches shared memory of no resident block,", p, pc, nullptr);
    if (rank != me->block->rank && running.gang->blocks[rank].left)
      report("touches the shared memory of a block that has begun to end,", p, pc, nullptr);
  }
  const Stamp now = stamp_now(static_cast<std::uint32_t>(static_cast<const char*>(pc) - code_base()));
  for_bytes(const_cast<void*>(p), bytes,
            [&](std::size_t word, std::uint8_t mask) { check_word(word, mask, at, write, atomic, pc, now); });
}

void landed(const Copy& copy, const void* pc) {
  std::memset(flying + word_of(copy.to), 0, copy.bytes / 4);
  access(copy.to, copy.bytes, true, false, pc);
}

}  // namespace simt::check

namespace simt {
namespace {
void from_kernel(const void* p, std::size_t bytes, bool write, const void* pc) {
  if (!running.thread || running.inside) return;
  const Inside inside;
  check::access(p, bytes, write, false, pc);
}
}  // namespace

void copy(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }

void atomic_access(const void* p, std::size_t bytes) {
  const Inside inside;
  check::access(p, bytes, false, true, __builtin_return_address(0));
  check::access(p, bytes, true, true, __builtin_return_address(0));
}
}  // namespace simt

// What g++ -fsanitize=thread calls.
#define HERE __builtin_return_address(0)
#define ACCESS(n)                                                                  \
  void __tsan_read##n(void* p) { simt::from_kernel(p, n, false, HERE); }           \
  void __tsan_write##n(void* p) { simt::from_kernel(p, n, true, HERE); }           \
  void __tsan_unaligned_read##n(void* p) { simt::from_kernel(p, n, false, HERE); } \
  void __tsan_unaligned_write##n(void* p) { simt::from_kernel(p, n, true, HERE); } \
  void __tsan_volatile_read##n(void* p) { simt::from_kernel(p, n, false, HERE); }  \
  void __tsan_volatile_write##n(void* p) { simt::from_kernel(p, n, true, HERE); }
#define ATOMIC(bits, T)                                                                                             \
  T __tsan_atomic##bits##_load(const volatile T* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }           \
  void __tsan_atomic##bits##_store(volatile T* p, T v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }           \
  T __tsan_atomic##bits##_exchange(volatile T* p, T v, int) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_add(volatile T* p, T v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_sub(volatile T* p, T v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); } \
  bool __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* old, T v, int, int) {                        \
    return __atomic_compare_exchange_n(p, old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                       \
  }
extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_atomic_thread_fence(int) {}
void __tsan_read_range(void* p, std::size_t n) { simt::from_kernel(p, n, false, HERE); }
void __tsan_write_range(void* p, std::size_t n) { simt::from_kernel(p, n, true, HERE); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
ATOMIC(8, std::uint8_t)
ATOMIC(16, std::uint16_t)
ATOMIC(32, std::uint32_t)
ATOMIC(64, std::uint64_t)
}
