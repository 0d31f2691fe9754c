// Vocabularies: text or code point to the row of an embedding table. Id 0 is the unknown word; padding is -1 and never
// stored. Order, and so every id, is fixed by the data: falling count, then bytes; what is built on another vocabulary
// stands behind it.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bib {

struct ModelFile;

struct VocabularyLimits {
  int min_count = 1;
  int max_size = 0;  // entries besides the unknown one; 0: no limit
};

inline constexpr int unknown_id = 0;

/// Strings to ids. Immutable; copies share memory. Its parts are stored as tensors, hash table included, so that a
/// model with it is used where it is mapped: nothing is built at load.
class Vocabulary {
 public:
  Vocabulary();  // knows only the unknown word

  int size() const { return static_cast<int>(counts_.size()); }  // with the unknown word
  int id(std::string_view text) const;                           // unknown_id when it is not there
  std::string_view operator[](int id) const {
    return {
        bytes_ + offsets_[static_cast<std::size_t>(id)],
        static_cast<std::size_t>(offsets_[static_cast<std::size_t>(id) + 1] - offsets_[static_cast<std::size_t>(id)])};
  }
  /// Occurrences counted when it was built; of id 0: those of everything left out.
  int count(int id) const { return counts_[static_cast<std::size_t>(id)]; }

  /// The same entries with the same ids, then those of `words` that are new, with count 0.
  Vocabulary extended(std::span<const std::string> words) const;

  /// As tensors `name`.bytes, .offsets, .counts and .slots, borrowed from this vocabulary.
  void save(ModelFile& file, const std::string& name) const;
  /// Throws ModelError when the tensors do not form a vocabulary.
  static Vocabulary load(std::shared_ptr<const ModelFile> file, const std::string& name);

 private:
  friend class WordCounts;
  using Entries = std::span<const std::pair<std::string_view, std::int64_t>>;  // without the unknown word
  static Vocabulary freeze(Entries entries, std::int64_t unknown_count);
  struct Empty {};
  explicit Vocabulary(Empty) {}
  std::shared_ptr<const void> owner_;               // of what the rest points into
  const char* bytes_ = nullptr;                     // all texts, one after the other
  std::span<const std::int32_t> offsets_, counts_;  // [V+1] [V]
  std::span<const std::int32_t> slots_;             // [2^k] id or -1; linear probing from XXH3-64(text) mod 2^k
};

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};

/// Counts words, then freezes them as a Vocabulary.
class WordCounts {
 public:
  void add(std::string_view word, std::int64_t times = 1);
  Vocabulary build(VocabularyLimits limits = {}) const;
  /// The base's entries with their ids, whatever the limits, then the new ones that pass them; max_size counts both.
  Vocabulary build_on(const Vocabulary& base, VocabularyLimits limits = {}) const;

 private:
  std::unordered_map<std::string, std::int64_t, StringHash, std::equal_to<>> counts_;
};

/// Code points to ids: one lookup in a table of pages, no hashing. For syllables and characters.
class CodepointVocabulary {
 public:
  CodepointVocabulary();
  int size() const { return static_cast<int>(codepoints_.size()); }
  int id(char32_t c) const { return c < 0x110000 ? pages_[page_of_[c >> 8] * 256u + (c & 255)] : unknown_id; }
  char32_t operator[](int id) const { return static_cast<char32_t>(codepoints_[static_cast<std::size_t>(id)]); }
  int count(int id) const { return counts_[static_cast<std::size_t>(id)]; }

  void save(ModelFile& file, const std::string& name) const;  // tensors `name`.codepoints and .counts
  static CodepointVocabulary load(const ModelFile& file, const std::string& name);

 private:
  friend class CodepointCounts;
  void index();
  std::vector<std::int32_t> codepoints_, counts_;  // [V]  codepoints_[0] is -1: the unknown one
  std::vector<std::uint16_t> page_of_;             // [0x1100]  page 0 is all unknown
  std::vector<std::int32_t> pages_;                // [P,256]  ids
};

class CodepointCounts {
 public:
  void add(char32_t c, std::int64_t times = 1) { counts_[c] += times; }
  CodepointVocabulary build(VocabularyLimits limits = {}) const;

 private:
  std::unordered_map<char32_t, std::int64_t> counts_;
};

/// What a model may answer: a fixed order of names. Stored readably, as a JSON array in the metadata.
class Labels {
 public:
  Labels() = default;
  /// Throws std::invalid_argument for a name that is empty or given twice. Names are UTF-8.
  explicit Labels(std::vector<std::string> names);

  int size() const { return static_cast<int>(names_.size()); }
  int id(std::string_view name) const;  // -1 when it is not there
  const std::string& operator[](int id) const { return names_[static_cast<std::size_t>(id)]; }
  const std::vector<std::string>& names() const { return names_; }

  void save(ModelFile& file, const std::string& key) const;
  static Labels load(const ModelFile& file, const std::string& key);

 private:
  std::vector<std::string> names_;
  std::unordered_map<std::string, int, StringHash, std::equal_to<>> ids_;
};

}  // namespace bib
