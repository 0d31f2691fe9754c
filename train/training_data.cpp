#include "train/training_data.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string_view>
#include <unordered_set>

#include "bib/error.h"
#include "models/mapped_file.h"
#include "models/number.h"
#include "models/text.h"
#include "train/batching.h"
#include "train/learner.h"

namespace bib {
namespace {

constexpr std::uint32_t split_stream = 2010;

std::string hex(std::uint64_t h) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(h));
  return text;
}

std::string_view name_of(const Span& span) { return span.label; }
std::string_view name_of(const std::string& label) { return label; }

}  // namespace

std::string hash_of(const std::vector<Document>& documents) {
  std::uint64_t h = XXH3_64bits("bib", 3);
  const auto add = [&](std::string_view s) { h = XXH3_64bits_withSeed(s.data(), s.size(), h); };
  for (const Document& d : documents) {
    add(d.text);
    for (const Span& s : d.spans) add(std::to_string(s.begin) + ' ' + std::to_string(s.end) + ' ' + s.label);
    for (const std::string& label : d.labels) add(label);
    add(fixed_text(static_cast<double>(d.weight), 6));
  }
  return hex(h);
}

std::string hash_of_vectors(const Config& config) {
  if (config.vectors.empty()) return {};
  const MappedFile file = map_file(config.vectors, MapMode::sequential);
  return hex(XXH3_64bits(file.bytes.data(), file.bytes.size()));
}

void settle(std::vector<Document>& documents) {
  for (Document& d : documents) {
    d.annotated = d.annotated || !d.spans.empty() || !d.labels.empty();
    const auto refuse = [&](const std::string& what) {
      throw DataError("training data: error: " + place_of(d, documents) + " " + what);
    };
    const auto is_range = [&](const ByteRange& r) { return r.begin < r.end && r.end <= d.text.size(); };
    const auto shown = [&](const ByteRange& r) {
      return std::to_string(r.begin) + ".." + std::to_string(r.end) + ", which is no range of its text of " +
             std::to_string(d.text.size()) + " bytes";
    };
    for (const Span& span : d.spans) {
      if (!is_range(span)) refuse("has a span " + shown(span));
      if (span.label.empty()) refuse("has a span without a label");
    }
    for (const ByteRange& token : d.tokens)
      if (!is_range(token)) refuse("has a token " + shown(token));
    if (std::find(d.labels.begin(), d.labels.end(), "") != d.labels.end()) refuse("has a class without a name");
    const auto storable = [](const auto& label) { return is_valid_utf8(name_of(label)); };  // the model holds them
    if (!std::all_of(d.spans.begin(), d.spans.end(), storable) ||
        !std::all_of(d.labels.begin(), d.labels.end(), storable))
      refuse("has a label that is no UTF-8");
    if (!(d.weight >= 0 && std::isfinite(d.weight))) refuse("has a weight that is negative or no number");
  }
}

std::vector<Document> split_dev(std::vector<Document>& train, const Config& config) {
  const auto wanted = std::llround(static_cast<double>(train.size()) * (1.0 - static_cast<double>(config.train_rate)));
  const std::size_t count = std::min(train.size() - 1, static_cast<std::size_t>(wanted));
  std::vector<char> is_dev(train.size(), 0);
  const std::uint64_t seed = config.split_seed ? config.split_seed : config.seed;
  const Group order = permutation(train.size(), {.seed = seed, .stream = split_stream});
  for (std::size_t i = 0; i < count; ++i) is_dev[order[i]] = 1;
  std::vector<Document> dev, kept;
  for (std::size_t i = 0; i < train.size(); ++i) (is_dev[i] ? dev : kept).push_back(std::move(train[i]));
  train = std::move(kept);
  return dev;
}

std::size_t count_shared(const std::vector<Document>& dev, const std::vector<Document>& train) {
  std::unordered_set<std::string_view> learned;
  for (const Document& d : train) learned.insert(d.text);
  return static_cast<std::size_t>(
      std::count_if(dev.begin(), dev.end(), [&](const Document& d) { return learned.count(d.text) > 0; }));
}

}  // namespace bib
