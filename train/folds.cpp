#include "train/folds.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "bib/error.h"
#include "train/batching.h"

namespace bib {
namespace {

constexpr std::uint32_t fold_stream = 2020;

/// The documents of one text.
struct TextGroup {
  Group documents;
  std::set<std::string> labels;
};

std::vector<TextGroup> groups_of(const std::vector<Document>& documents) {
  std::vector<TextGroup> groups;
  std::unordered_map<std::string_view, std::size_t> index;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const Document& d = documents[i];
    const auto [at, added] = index.try_emplace(d.text, groups.size());
    if (added) groups.emplace_back();
    TextGroup& group = groups[at->second];
    group.documents.push_back(i);
    group.labels.insert(d.labels.begin(), d.labels.end());
    for (const Span& span : d.spans) group.labels.insert(span.label);
  }
  return groups;
}

/// Where a label stands.
struct Spread {
  std::size_t texts = 0;
  std::vector<std::size_t> in_fold;
};

}  // namespace

Folds draw_folds(const std::vector<Document>& documents, int folds, const Config& config) {
  const std::vector<TextGroup> groups = groups_of(documents);
  const auto count = static_cast<std::size_t>(folds);
  if (groups.size() < count)
    throw DataError("training data: error: " + std::to_string(groups.size()) +
                    (groups.size() == 1 ? " different text is" : " different texts are") + " too few for " +
                    std::to_string(folds) + " folds" + (groups.size() > 1 ? "; ask for fewer folds" : ""));
  std::map<std::string, Spread> labels;
  for (const TextGroup& group : groups)
    for (const std::string& label : group.labels) ++labels[label].texts;
  Folds drawn{.of_document = std::vector<int>(documents.size()), .unseen = {}};
  for (auto& [label, spread] : labels) spread.in_fold.resize(count);
  const auto rarest = [&](const TextGroup& group) {
    const Spread* best = nullptr;
    for (const std::string& label : group.labels)
      if (const Spread& spread = labels[label]; !best || spread.texts < best->texts) best = &spread;
    return best;
  };
  const auto rarity = [&](std::size_t g) {
    const Spread* label = rarest(groups[g]);
    return label ? label->texts : std::numeric_limits<std::size_t>::max();
  };
  Group order =
      permutation(groups.size(), {.seed = config.split_seed ? config.split_seed : config.seed, .stream = fold_stream});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return rarity(a) < rarity(b); });
  std::vector<std::size_t> sizes(count);
  for (const std::size_t g : order) {
    const Spread* label = rarest(groups[g]);
    std::size_t fold = 0;
    for (std::size_t f = 1; f < count; ++f) {
      const auto filled = [&](std::size_t i) { return std::pair(label ? label->in_fold[i] : 0, sizes[i]); };
      if (filled(f) < filled(fold)) fold = f;
    }
    for (const std::string& name : groups[g].labels) ++labels[name].in_fold[fold];
    for (const std::size_t d : groups[g].documents) drawn.of_document[d] = static_cast<int>(fold);
    sizes[fold] += groups[g].documents.size();
  }
  for (const auto& [label, spread] : labels)
    if (*std::max_element(spread.in_fold.begin(), spread.in_fold.end()) == spread.texts) drawn.unseen.push_back(label);
  return drawn;
}

}  // namespace bib
