// Device memory, arena growth and argument messages.
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>

#include "bib/arena.h"
#include "bib/cuda_backend.h"

namespace bib {

namespace {
constexpr std::size_t alignment = 256;      // of a block: what cudaMalloc gives
constexpr std::size_t slot_alignment = 64;  // of a tensor: one cache line, one AVX-512 register
constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::size_t smallest_block = huge_page;

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }
}  // namespace

void* allocate_bytes(Device device, int device_index, std::size_t bytes) {
  if (device == Device::cuda) return cuda_allocate(device_index, bytes);
  // Large blocks on huge pages where the system lends them: packed weights and step memory are read in long strides,
  // which with 4 KiB pages miss the TLB and stop the prefetcher at every page.
  const bool large = bytes >= huge_page;
  bytes = round_up(bytes ? bytes : 1, large ? huge_page : alignment);
  void* p = std::aligned_alloc(large ? huge_page : alignment, bytes);
  if (p && large) madvise(p, bytes, MADV_HUGEPAGE);
  if (!p) throw std::runtime_error("out of memory: " + std::to_string(bytes >> 20) + " MiB asked for");
  return p;
}

void free_bytes(Device device, void* p) noexcept {
  if (device == Device::cuda) {
    cuda_free(p);
  } else {
    std::free(p);
  }
}

Arena::~Arena() {
  for (Block& block : blocks_) free_bytes(device_, block.data);
}

void* Arena::take(std::size_t bytes) {
  bytes = round_up(bytes, slot_alignment);
  std::size_t at = current_;
  while (at < blocks_.size() && blocks_[at].size - blocks_[at].used < bytes) {
    if (++at < blocks_.size()) blocks_[at].used = 0;
  }
  if (at == blocks_.size()) {
    const std::size_t last = blocks_.empty() ? smallest_block : blocks_.back().size;
    const std::size_t size = round_up(std::max(bytes, last * 3 / 2), alignment);
    blocks_.push_back({static_cast<char*>(allocate_bytes(device_, device_index_, size)), size, 0});
  }
  current_ = at;  // not before there is such a block
  Block& block = blocks_[at];
  void* p = block.data + block.used;
  block.used += bytes;
  return p;
}

void Arena::rewind(Mark to) noexcept {
  current_ = to.block;
  if (current_ < blocks_.size()) blocks_[current_].used = to.used;
}

void Arena::reset() noexcept {
  if (blocks_.size() > 1) {
    const std::size_t total = bytes_reserved();
    for (Block& block : blocks_) free_bytes(device_, block.data);
    blocks_.clear();
    try {
      blocks_.push_back({static_cast<char*>(allocate_bytes(device_, device_index_, total)), total, 0});
    } catch (const std::exception&) {  // another program took it: whoever asks next is told, or needs less
    }
  }
  rewind({});
}

std::size_t Arena::bytes_reserved() const {
  std::size_t total = 0;
  for (const Block& block : blocks_) total += block.size;
  return total;
}

std::string shape_text(const int* shape, int rank) {
  std::string text = "[";
  for (int i = 0; i < rank; ++i) text += (i ? "," : "") + std::to_string(shape[i]);
  return text + "]";
}

namespace {
[[noreturn]] void refuse_value(std::string_view op, std::string_view operand, const std::string& index, int value,
                               int least, int most) {
  throw std::invalid_argument(std::string(op) + ": " + std::string(operand) + index + " is " + std::to_string(value) +
                              ", expected " + std::to_string(least) + ".." + std::to_string(most));
}
}  // namespace

void expect_values(std::string_view op, std::string_view operand, const int* values, const int* shape, int rank,
                   int least, int most) {
  std::int64_t n = 1;
  for (int i = 0; i < rank; ++i) n *= shape[i];
  bool ok = true;
  for (std::int64_t i = 0; i < n; ++i) ok &= (values[i] >= least) & (values[i] <= most);  // no early end: vectorised
  if (ok) [[likely]]
    return;
  const std::int64_t found = std::find_if(values, values + n, [&](int v) { return v < least || v > most; }) - values;
  std::int64_t rest = found;
  std::vector<int> index(static_cast<std::size_t>(rank));
  for (int i = rank; i-- > 0; rest /= shape[i]) index[static_cast<std::size_t>(i)] = static_cast<int>(rest % shape[i]);
  refuse_value(op, operand, shape_text(index.data(), rank), values[found], least, most);
}

void expect_values_within(std::string_view op, std::string_view operand, const int* values, const int* lengths, int T,
                          int B, int least, int most) {
  for (int t = 0; t < T; ++t)
    for (int b = 0; b < B; ++b, ++values) {
      if (t >= lengths[b] || (*values >= least && *values <= most)) [[likely]]
        continue;
      const int index[] = {t, b};
      refuse_value(op, operand, shape_text(index, 2), *values, least, most);
    }
}

}  // namespace bib
