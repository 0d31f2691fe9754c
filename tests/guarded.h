// Test memory on any device, with guard words on both sides that must survive every op.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "bib/context.h"

namespace bib::test {

class Guarded {
 public:
  /// shift: by how many bytes, whole words, the data begins behind where allocate_bytes would have it begin.
  Guarded(Context& ctx, std::size_t bytes, std::size_t shift = 0) : ctx_(ctx), before_(guard + shift), bytes_(bytes) {
    base_ = static_cast<std::byte*>(allocate_bytes(ctx, before_ + bytes + guard));
    const std::vector<std::uint32_t> all((before_ + bytes + guard) / sizeof pattern, pattern);
    copy_bytes(ctx_, base_, ctx_.device(), all.data(), Device::cpu, all.size() * sizeof pattern);
    ctx_.wait();
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { free_bytes(ctx_.device(), base_); }

  void* data() const { return base_ + before_; }

  bool intact() const {
    std::vector<std::uint32_t> sides((before_ + guard) / sizeof pattern);
    copy_bytes(ctx_, sides.data(), Device::cpu, base_, ctx_.device(), before_);
    copy_bytes(ctx_, sides.data() + before_ / sizeof pattern, Device::cpu, base_ + before_ + bytes_, ctx_.device(),
               guard);
    ctx_.wait();
    return std::all_of(sides.begin(), sides.end(), [](std::uint32_t word) { return word == pattern; });
  }

 private:
  static constexpr std::size_t guard = 256;             // keeps the data aligned as allocate_bytes aligns
  static constexpr std::uint32_t pattern = 0x7FF5A5A5;  // NaN as float and as double, and no plausible index
  Context& ctx_;
  std::size_t before_, bytes_;
  std::byte* base_;
};

}  // namespace bib::test
