// Device memory: one reserved range of addresses, so that the checker finds what it knows of a word by arithmetic.
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/simt/engine.h"

namespace simt {
namespace {

constexpr std::size_t arenas = 64;  // resident blocks with shared memory of their own
constexpr std::size_t alignment = 256;

char* base() {
  static char* const p = static_cast<char*>(mmap(nullptr, heap_bytes + arenas * arena_stride, PROT_READ | PROT_WRITE,
                                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (p == MAP_FAILED) std::abort();
  return p;
}

struct Heap {
  char *begin = nullptr, *end = nullptr;
  std::map<char*, std::size_t> blocks;  // by address, with the size asked for
  char* next = begin;                   // where to look first: freed memory is reused late
  std::size_t used = 0;
};
Heap& heap(int device) {
  static std::vector<Heap> all = [] {
    std::vector<Heap> heaps;
    for (int d = 0; d < device_count(); ++d) {
      char* const begin = base() + static_cast<std::size_t>(d) * device_bytes();
      heaps.push_back({.begin = begin, .end = begin + device_bytes(), .blocks = {}, .next = begin});
    }
    return heaps;
  }();
  return all[static_cast<std::size_t>(device)];
}

std::size_t extent(std::size_t bytes) { return (bytes + redzone + alignment - 1) / alignment * alignment; }

/// Room for `bytes` at or after `from`; null when there is none.
char* find_room(const Heap& heap, char* from, std::size_t bytes) {
  char* at = from;
  auto it = heap.blocks.lower_bound(from);
  if (it != heap.blocks.begin()) {
    const auto before = std::prev(it);
    at = std::max(at, before->first + extent(before->second));
  }
  for (; it != heap.blocks.end(); ++it) {
    if (at + extent(bytes) <= it->first) return at;
    at = it->first + extent(it->second);
  }
  return at + extent(bytes) <= heap.end ? at : nullptr;
}

}  // namespace

Region device_region() { return {base(), base() + heap_bytes + arenas * arena_stride}; }
Region heap_region() { return {base(), base() + heap_bytes}; }
std::size_t heap_used(int device) { return heap(device).used; }

int device_count() {
  static const char* const setting = std::getenv("SIMT_DEVICES");
  return setting ? std::max(1, std::atoi(setting)) : 1;
}

int device_of(const void* p) {
  return static_cast<int>(static_cast<std::size_t>(static_cast<const char*>(p) - base()) / device_bytes());
}

void* heap_allocate(int device, std::size_t bytes) {
  if (bytes > device_bytes()) return nullptr;
  Heap& of = heap(device);
  char* p = find_room(of, of.next, bytes);
  if (!p) p = find_room(of, of.begin, bytes);
  if (!p) return nullptr;
  of.blocks[p] = bytes;
  of.next = p + extent(bytes);
  of.used += bytes;
  std::memset(p, 0xFF, bytes);
  check::allocated(p, bytes);
  return p;
}

bool heap_free(void* p) {
  if (!heap_region().holds(p)) return false;
  Heap& of = heap(device_of(p));
  const auto it = of.blocks.find(static_cast<char*>(p));
  if (it == of.blocks.end()) return false;
  check::released(p, it->second);
  constexpr std::size_t page = 4096;
  const auto begin = (reinterpret_cast<std::uintptr_t>(p) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(p) + it->second) / page * page;
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  of.used -= it->second;
  of.blocks.erase(it);
  return true;
}

std::string describe(const void* address) {
  const char* p = static_cast<const char*>(address);
  if (heap_region().holds(p)) {
    const auto& blocks = heap(device_of(p)).blocks;
    auto it = blocks.upper_bound(const_cast<char*>(p));
    if (it == blocks.begin()) return "in device memory that was never allocated";
    --it;
    const std::ptrdiff_t at = p - it->first;
    return "at byte " + std::to_string(at) + " of a device allocation of " + std::to_string(it->second) + " bytes";
  }
  const std::ptrdiff_t at = p - (base() + heap_bytes);
  const std::size_t rank = static_cast<std::size_t>(at) / arena_stride,
                    offset = static_cast<std::size_t>(at) % arena_stride;
  std::string text = "at byte " + std::to_string(offset) + " of the shared memory of block " + std::to_string(rank);
  for (const auto& [key, s] : running.statics)
    if (offset >= s.offset && offset < s.offset + s.bytes + redzone)
      text += ", byte " + std::to_string(offset - s.offset) + " of a static array of " + std::to_string(s.bytes);
  if (offset < running.dynamic_bytes + redzone && running.dynamic_bytes > 0)
    text += ", of " + std::to_string(running.dynamic_bytes) + " dynamic bytes";
  return text;
}

char* shared_arena(unsigned rank) {
  if (rank >= arenas) std::abort();
  return base() + heap_bytes + rank * arena_stride;
}

void open_shared(Block& block) {
  const std::size_t known = std::max<std::size_t>(running.shared_used, running.dynamic_bytes + redzone);
  std::memset(block.shared, 0xFF, known);
  check::fresh(block.shared, known);
  if (running.dynamic_bytes) check::allocated(block.shared, running.dynamic_bytes);
  for (const auto& [key, s] : running.statics) check::allocated(block.shared + s.offset, s.bytes);
}

void* dynamic_shared() { return running.thread->block->shared; }

/// The first block to ask fixes the place; it is the same in every block of the launch.
void* static_shared(const void* key, std::size_t bytes, std::size_t align) {
  const Inside inside;
  Block& mine = *running.thread->block;
  auto it = running.statics.find(key);
  if (it == running.statics.end()) {
    const std::size_t from = std::max(running.shared_used, running.dynamic_bytes + redzone);
    const std::size_t offset = (from + std::max<std::size_t>(align, 16) - 1) / std::max<std::size_t>(align, 16) *
                               std::max<std::size_t>(align, 16);
    std::size_t fixed = bytes;
    for (const auto& [k, s] : running.statics) fixed += s.bytes;
    const std::size_t most = running.dynamic_asked ? running.shared_most : static_limit;
    if (fixed > static_limit || std::max(running.dynamic_bytes, running.dynamic_asked) + fixed > most)
      fault("shared memory: " + std::to_string(fixed) + " static and " + std::to_string(running.dynamic_bytes) +
                " dynamic bytes are more than a block may have",
            Site::current());
    it = running.statics.emplace(key, StaticShared{offset, bytes}).first;
    running.shared_used = offset + bytes + redzone;
    for (Block& block : running.gang->blocks) {
      std::memset(block.shared + offset, 0xFF, bytes + redzone);
      check::fresh(block.shared + offset, bytes + redzone);
      check::allocated(block.shared + offset, bytes);
    }
  }
  return mine.shared + it->second.offset;
}

void* peer_shared(const void* p, unsigned rank, Site site) {
  const Inside inside;
  const char* mine = static_cast<const char*>(p);
  const Block& block = *running.thread->block;
  if (mine < block.shared || mine >= block.shared + arena_stride) fault("not shared memory of this block", site);
  if (rank >= running.gang->blocks.size()) fault("the cluster has no block " + std::to_string(rank), site);
  return running.gang->blocks[rank].shared + (mine - block.shared);
}

unsigned block_rank() { return running.thread->block->rank; }
unsigned cluster_blocks() { return static_cast<unsigned>(running.gang->blocks.size()); }

void expect_aligned(const void* p, std::size_t align, Site site) {
  const Inside inside;
  if (reinterpret_cast<std::uintptr_t>(p) % align) fault("address is no multiple of " + std::to_string(align), site);
}

namespace {
void land(const Copy& copy) {
  std::memcpy(copy.to, copy.from, copy.valid);
  std::memset(copy.to + copy.valid, 0, copy.bytes - copy.valid);
}
}  // namespace

void copy_async(void* to, const void* from, std::size_t bytes, std::size_t valid, Site site) {
  const Inside inside;
  if (bytes != 4 && bytes != 8 && bytes != 16) fault("cp.async moves 4, 8 or 16 bytes", site);
  if (valid > bytes) fault("cp.async: more valid bytes than bytes", site);
  expect_aligned(to, bytes, site);
  if (valid) expect_aligned(from, bytes, site);
  const Copy copy{static_cast<char*>(to), static_cast<const char*>(from), bytes, valid};
  const Block& block = *running.thread->block;
  if (copy.to < block.shared || copy.to >= block.shared + arena_stride)
    fault("cp.async writes to shared memory of its own block only", site);
  const void* pc = __builtin_return_address(0);
  if (valid) check::access(from, valid, false, false, pc);
  check::access(to, bytes, true, false, pc);
  check::in_flight(to, bytes);
  if (!options().late_copies) land(copy);
  running.thread->open_copies.push_back(copy);
}

bool is_program_data(const void* p) {
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  static thread_local char mark;
  const auto tls = reinterpret_cast<std::uintptr_t>(&mark);
  constexpr std::uintptr_t tls_extent = 8192;
  if (at + tls_extent > tls && at < tls + tls_extent) return true;
  struct Range {
    std::uintptr_t begin = 0, end = 0;
  };
  static const std::vector<Range> ranges = [] {
    std::vector<Range> all;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* to) {
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const auto& h = info->dlpi_phdr[i];
            if (h.p_type != PT_LOAD) continue;
            const std::uintptr_t begin = info->dlpi_addr + h.p_vaddr;
            static_cast<std::vector<Range>*>(to)->push_back({begin, begin + h.p_memsz});
          }
          return 0;
        },
        &all);
    return all;
  }();
  for (const Range& r : ranges)
    if (at >= r.begin && at < r.end) return true;
  return false;
}

void copy_commit() {
  const Inside inside;
  Thread& me = *running.thread;
  me.copy_groups.push_back(std::move(me.open_copies));
  me.open_copies.clear();
}

void copy_wait(int groups_left) {
  const Inside inside;
  Thread& me = *running.thread;
  while (me.copy_groups.size() > static_cast<std::size_t>(groups_left)) {
    for (const Copy& copy : me.copy_groups.front()) {
      if (options().late_copies) land(copy);
      check::landed(copy, __builtin_return_address(0));
    }
    me.copy_groups.erase(me.copy_groups.begin());
  }
}

}  // namespace simt
