// Step memory: allocation is a pointer bump, release is a rewind. Pointers never move while the arena lives.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "bib/view.h"

namespace bib {

/// Raw device memory, aligned to 256 bytes, of GPU `device_index` where the device is one. Throws std::runtime_error
/// naming the amount asked for when there is none.
void* allocate_bytes(Device device, int device_index, std::size_t bytes);
void free_bytes(Device device, void* p) noexcept;

class Arena {
 public:
  explicit Arena(Device device, int device_index = 0) : device_(device), device_index_(device_index) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  struct Mark {
    std::size_t block = 0, used = 0;
  };

  /// Uninitialised memory for a tensor of this shape, aligned to 64 bytes, valid until rewound past.
  template <class T, int R>
  View<T, R> make(std::array<int, R> shape) {
    View<T, R> v{.data = nullptr, .shape = shape, .device = device_};
    v.data = static_cast<T*>(take(sizeof(T) * static_cast<std::size_t>(v.size())));
    return v;
  }

  Mark mark() const { return {current_, blocks_.empty() ? 0 : blocks_[current_].used}; }
  void rewind(Mark to) noexcept;
  /// Rewinds everything; several blocks are merged into one, so that a steady state needs one block. Where there is no
  /// memory for that one any more the arena is left empty.
  void reset() noexcept;

  std::size_t bytes_reserved() const;

 private:
  struct Block {
    char* data;
    std::size_t size, used;
  };
  void* take(std::size_t bytes);

  Device device_;
  int device_index_;
  std::vector<Block> blocks_;
  std::size_t current_ = 0;
};

/// Scratch inside an op: everything taken from the arena during its life is given back at its end.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.rewind(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace bib
