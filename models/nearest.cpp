#include "models/nearest.h"

#include <algorithm>
#include <vector>

namespace bib {
namespace {

/// Levenshtein distance, one row at a time.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest(std::string_view name, std::span<const std::string> candidates) {
  std::string best;
  std::size_t least = std::max<std::size_t>(3, name.size() / 2);
  for (const std::string& candidate : candidates) {
    const bool begun = name.size() > 2 && candidate.starts_with(name);
    const std::size_t distance = begun ? 1 : edit_distance(name, candidate);
    if (distance >= least || distance >= std::max(name.size(), candidate.size())) continue;
    least = distance;
    best = candidate;
  }
  return best;
}

}  // namespace bib
