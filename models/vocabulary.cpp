// Building, storing and searching vocabularies.
#include "models/vocabulary.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "bib/expect.h"
#include "models/model_file.h"

namespace bib {

namespace {

constexpr std::int64_t largest_count = std::numeric_limits<std::int32_t>::max();

std::int32_t clamp_count(std::int64_t n) { return static_cast<std::int32_t>(std::min(n, largest_count)); }

/// XXH3 is specified bit for bit, so slots computed here are valid on every machine.
std::size_t home_slot(std::string_view text, std::size_t slots) {
  return static_cast<std::size_t>(XXH3_64bits(text.data(), text.size())) & (slots - 1);
}

/// At most half full, so that a search is one or two steps.
std::size_t slots_for(std::size_t entries) {
  std::size_t slots = 2;
  while (slots < 2 * entries) slots *= 2;
  return slots;
}

struct OwnedVocabulary {
  std::vector<char> bytes;
  std::vector<std::int32_t> offsets, counts, slots;
};

/// Entries that pass the limits, most frequent first; what is left out is added to `dropped`.
template <class Key, class Counts>
std::vector<std::pair<Key, std::int64_t>> select(const Counts& counts, VocabularyLimits limits, std::int64_t& dropped) {
  std::vector<std::pair<Key, std::int64_t>> kept;
  for (const auto& [key, count] : counts) {
    if (count >= limits.min_count) {
      kept.emplace_back(key, count);
    } else {
      dropped += count;
    }
  }
  std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  while (limits.max_size > 0 && kept.size() > static_cast<std::size_t>(limits.max_size)) {
    dropped += kept.back().second;
    kept.pop_back();
  }
  return kept;
}

}  // namespace

Vocabulary::Vocabulary() : Vocabulary(WordCounts{}.build()) {}

int Vocabulary::id(std::string_view text) const {
  for (std::size_t slot = home_slot(text, slots_.size());; slot = (slot + 1) & (slots_.size() - 1)) {
    const std::int32_t candidate = slots_[slot];
    if (candidate < 0) return unknown_id;
    if ((*this)[candidate] == text) return candidate;
  }
}

void Vocabulary::save(ModelFile& file, const std::string& name) const {
  const auto add = [&](const char* part, std::span<const std::int32_t> values) {
    file.add(name + part,
             View<const std::int32_t, 1>{.data = values.data(), .shape = {static_cast<int>(values.size())}});
  };
  file.add(name + ".bytes", View<const std::uint8_t, 1>{.data = reinterpret_cast<const std::uint8_t*>(bytes_),
                                                        .shape = {offsets_.back()}});
  add(".offsets", offsets_);
  add(".counts", counts_);
  add(".slots", slots_);
  file.memory.push_back(owner_);
}

Vocabulary Vocabulary::load(std::shared_ptr<const ModelFile> file, const std::string& name) {
  const auto check = [&](bool condition) {
    if (!condition) file->fail("vocabulary '" + name + "' is inconsistent; copy or train the model again");
  };
  const std::span<const std::uint8_t> bytes = file->get_span<std::uint8_t>(name + ".bytes");
  Vocabulary v{Empty{}};
  v.bytes_ = reinterpret_cast<const char*>(bytes.data());
  v.offsets_ = file->get_span<std::int32_t>(name + ".offsets");
  v.counts_ = file->get_span<std::int32_t>(name + ".counts");
  v.slots_ = file->get_span<std::int32_t>(name + ".slots");

  const std::size_t V = v.counts_.size(), S = v.slots_.size();
  check(V >= 1 && v.offsets_.size() == V + 1 && S >= 2 && (S & (S - 1)) == 0);
  check(v.offsets_[0] == 0 && v.offsets_[1] == 0 && v.offsets_[V] == static_cast<std::int64_t>(bytes.size()));
  check(std::is_sorted(v.offsets_.begin(), v.offsets_.end()));
  // A slot that is empty ends every search; ids inside the range make every search safe.
  check(std::find(v.slots_.begin(), v.slots_.end(), -1) != v.slots_.end());
  for (const std::int32_t id : v.slots_) check(id >= -1 && id != 0 && id < static_cast<std::int64_t>(V));
  v.owner_ = std::move(file);
  return v;
}

void WordCounts::add(std::string_view word, std::int64_t times) {
  if (word.empty()) return;  // the empty text stands for the unknown word
  const auto found = counts_.find(word);
  if (found == counts_.end()) {
    counts_.emplace(word, times);
  } else {
    found->second += times;
  }
}

Vocabulary WordCounts::build(VocabularyLimits limits) const {
  std::int64_t dropped = 0;
  const auto kept = select<std::string_view>(counts_, limits, dropped);
  return Vocabulary::freeze(kept, dropped);
}

Vocabulary WordCounts::build_on(const Vocabulary& base, VocabularyLimits limits) const {
  std::vector<std::pair<std::string_view, std::int64_t>> entries;
  for (int i = 1; i < base.size(); ++i) {
    const auto found = counts_.find(base[i]);
    entries.emplace_back(base[i], base.count(i) + (found == counts_.end() ? 0 : found->second));
  }
  std::unordered_map<std::string_view, std::int64_t> unseen;
  for (const auto& [word, count] : counts_)
    if (base.id(word) == unknown_id) unseen.emplace(word, count);
  std::int64_t dropped = base.count(unknown_id);
  for (const auto& entry : select<std::string_view>(unseen, {.min_count = limits.min_count}, dropped)) {
    if (limits.max_size > 0 && entries.size() >= static_cast<std::size_t>(limits.max_size))
      dropped += entry.second;
    else
      entries.push_back(entry);
  }
  return Vocabulary::freeze(entries, dropped);
}

Vocabulary Vocabulary::extended(std::span<const std::string> words) const {
  std::vector<std::pair<std::string_view, std::int64_t>> entries;
  for (int i = 1; i < size(); ++i) entries.emplace_back((*this)[i], count(i));
  std::unordered_set<std::string_view> added;
  for (const std::string& word : words)
    if (!word.empty() && id(word) == unknown_id && added.insert(word).second) entries.emplace_back(word, 0);
  return freeze(entries, count(unknown_id));
}

Vocabulary Vocabulary::freeze(Entries entries, std::int64_t unknown_count) {
  auto owned = std::make_shared<OwnedVocabulary>();
  owned->offsets = {0, 0};
  owned->counts = {clamp_count(unknown_count)};
  owned->slots.assign(slots_for(entries.size() + 1), -1);
  for (const auto& [word, count] : entries) {
    const auto id = static_cast<std::int32_t>(owned->counts.size());
    owned->bytes.insert(owned->bytes.end(), word.begin(), word.end());
    expect(owned->bytes.size() <= static_cast<std::size_t>(largest_count), "vocabulary: more than 2 GiB of text");
    owned->offsets.push_back(static_cast<std::int32_t>(owned->bytes.size()));
    owned->counts.push_back(clamp_count(count));
    std::size_t slot = home_slot(word, owned->slots.size());
    while (owned->slots[slot] >= 0) slot = (slot + 1) & (owned->slots.size() - 1);
    owned->slots[slot] = id;
  }
  Vocabulary v{Empty{}};
  v.bytes_ = owned->bytes.data();
  v.offsets_ = owned->offsets;
  v.counts_ = owned->counts;
  v.slots_ = owned->slots;
  v.owner_ = std::move(owned);
  return v;
}

CodepointVocabulary::CodepointVocabulary() : codepoints_{-1}, counts_{0} { index(); }

void CodepointVocabulary::index() {
  page_of_.assign(0x1100, 0);
  pages_.assign(256, unknown_id);
  for (int id = 1; id < size(); ++id) {
    const char32_t c = (*this)[id];
    std::uint16_t& page = page_of_[c >> 8];
    if (page == 0) {
      page = static_cast<std::uint16_t>(pages_.size() / 256);
      pages_.resize(pages_.size() + 256, unknown_id);
    }
    pages_[page * 256u + (c & 255)] = id;
  }
}

void CodepointVocabulary::save(ModelFile& file, const std::string& name) const {
  file.add(name + ".codepoints", codepoints_, {size()});
  file.add(name + ".counts", counts_, {size()});
}

CodepointVocabulary CodepointVocabulary::load(const ModelFile& file, const std::string& name) {
  const auto codepoints = file.get_span<std::int32_t>(name + ".codepoints");
  const auto counts = file.get_span<std::int32_t>(name + ".counts");
  bool good = !codepoints.empty() && codepoints[0] == -1 && counts.size() == codepoints.size();
  for (std::size_t i = 1; i < codepoints.size(); ++i) good = good && codepoints[i] >= 0 && codepoints[i] < 0x110000;
  if (!good) file.fail("vocabulary '" + name + "' is inconsistent; copy or train the model again");
  CodepointVocabulary v;
  v.codepoints_.assign(codepoints.begin(), codepoints.end());
  v.counts_.assign(counts.begin(), counts.end());
  v.index();
  return v;
}

CodepointVocabulary CodepointCounts::build(VocabularyLimits limits) const {
  std::int64_t dropped = 0;
  CodepointVocabulary v;
  for (const auto& [c, count] : select<char32_t>(counts_, limits, dropped)) {
    if (c >= 0x110000) continue;
    v.codepoints_.push_back(static_cast<std::int32_t>(c));
    v.counts_.push_back(clamp_count(count));
  }
  v.counts_[0] = clamp_count(dropped);
  v.index();
  return v;
}

Labels::Labels(std::vector<std::string> names) : names_(std::move(names)) {
  for (int id = 0; id < size(); ++id) {
    expect(!(*this)[id].empty(), "labels: a name is empty");
    expect(ids_.emplace((*this)[id], id).second, "labels: '" + (*this)[id] + "' is given twice");
  }
}

int Labels::id(std::string_view name) const {
  const auto found = ids_.find(name);
  return found == ids_.end() ? -1 : found->second;
}

void Labels::save(ModelFile& file, const std::string& key) const {
  try {
    file.metadata[key] = nlohmann::json(names_).dump();
  } catch (const nlohmann::json::type_error&) {
    throw std::invalid_argument("labels: a name is not valid UTF-8");
  }
}

Labels Labels::load(const ModelFile& file, const std::string& key) {
  const nlohmann::json json = nlohmann::json::parse(file.text(key), nullptr, false);
  std::vector<std::string> names;
  bool good = json.is_array();
  for (const auto& name : json) {
    good = good && name.is_string();
    if (good) names.push_back(name.get<std::string>());
  }
  if (!good) file.fail("'" + key + "' is not a list of labels; copy or train the model again");
  try {
    return Labels(std::move(names));
  } catch (const std::invalid_argument& error) {
    file.fail("'" + key + "': " + error.what());
  }
}

}  // namespace bib
