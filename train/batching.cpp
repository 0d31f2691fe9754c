#include "train/batching.h"

#include <algorithm>

namespace bib {

std::vector<Group> group_by_length(std::span<const int> lengths, int documents, std::int64_t units) {
  Group order(lengths.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return lengths[a] > lengths[b]; });
  std::vector<Group> groups;
  std::int64_t longest = 0;
  for (std::size_t i : order) {
    const std::int64_t in_group = groups.empty() ? 0 : static_cast<std::int64_t>(groups.back().size());
    if (in_group == 0 || in_group >= documents || (in_group + 1) * longest > units) {
      groups.emplace_back();
      longest = std::max(1, lengths[i]);
    }
    groups.back().push_back(i);
  }
  return groups;
}

std::vector<Group> batches_for_prediction(const Context& ctx, std::span<const int> lengths) {
  return ctx.device() == Device::cuda ? group_by_length(lengths, 64, 8192) : group_by_length(lengths, 30, 1536);
}

Group permutation(std::size_t n, RandomKey key) {
  Group order(n);
  for (std::size_t i = 0; i < n; ++i) order[i] = i;
  for (std::size_t i = n; i > 1; --i) {
    // 64 random bits scaled to 0..i-1; the bias is below 2^-32.
    const std::uint64_t word = (std::uint64_t{random_word(key, 2 * i)} << 32) | random_word(key, 2 * i + 1);
    std::swap(order[i - 1], order[static_cast<std::size_t>(word % i)]);
  }
  return order;
}

std::vector<Group> shuffled_batches(std::span<const int> lengths, int documents, RandomKey key) {
  const Group order = permutation(lengths.size(), key);
  const std::size_t batch = static_cast<std::size_t>(documents), window = batch * 64;
  std::vector<Group> batches;
  for (std::size_t begin = 0; begin < order.size(); begin += window) {
    Group part(order.begin() + static_cast<std::ptrdiff_t>(begin),
               order.begin() + static_cast<std::ptrdiff_t>(std::min(begin + window, order.size())));
    std::stable_sort(part.begin(), part.end(), [&](std::size_t a, std::size_t b) { return lengths[a] < lengths[b]; });
    for (std::size_t i = 0; i < part.size(); i += batch) {
      batches.emplace_back(part.begin() + static_cast<std::ptrdiff_t>(i),
                           part.begin() + static_cast<std::ptrdiff_t>(std::min(i + batch, part.size())));
    }
  }
  ++key.stream;
  std::vector<Group> shuffled;
  for (std::size_t i : permutation(batches.size(), key)) shuffled.push_back(std::move(batches[i]));
  return shuffled;
}

}  // namespace bib
