// Which documents go through the model together: sorted by length, so that little is padded.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "bib/context.h"
#include "bib/random.h"

namespace bib {

using Group = std::vector<std::size_t>;  // indices of documents

/// For prediction: longest first, at most `units` time steps (padding counted) and `documents` documents in a group.
std::vector<Group> group_by_length(std::span<const int> lengths, int documents, std::int64_t units);

/// The same with the sizes that suit the context's device: a GPU is filled, a CPU core's batch stays in its cache, and
/// its memory is touched for the first time only once.
std::vector<Group> batches_for_prediction(const Context& ctx, std::span<const int> lengths);

/// For one epoch of training: shuffled by (key), then sorted by length within windows of 64 batches, cut into batches,
/// and the batches shuffled. Depends on the key and the lengths alone.
std::vector<Group> shuffled_batches(std::span<const int> lengths, int documents, RandomKey key);

/// A permutation of 0..n-1 (Fisher-Yates).
Group permutation(std::size_t n, RandomKey key);

}  // namespace bib
