#include "models/features.h"

#include <algorithm>

#include "bib/expect.h"
#include "models/text.h"

namespace bib {
namespace {

enum class Kind { hangul, latin_lower, latin_upper, digit, han, kana, punctuation, other };
constexpr int kinds = 8;

Kind kind_of(char32_t c) {
  if (c >= 0xAC00 && c <= 0xD7A3) return Kind::hangul;
  if (c >= 'a' && c <= 'z') return Kind::latin_lower;
  if (c >= 'A' && c <= 'Z') return Kind::latin_upper;
  if (c >= '0' && c <= '9') return Kind::digit;
  if (c < 0x80) return Kind::punctuation;
  if ((c >= 0x3400 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF)) return Kind::han;
  if (c >= 0x3040 && c <= 0x30FF) return Kind::kana;
  if ((c >= 0x2000 && c <= 0x206F) || (c >= 0x3000 && c <= 0x303F) || (c >= 0xFF00 && c <= 0xFF0F)) {
    return Kind::punctuation;
  }
  return Kind::other;
}

/// Capitalisation and make-up of a word: what remains of it when the letters are forgotten.
int word_shape(std::string_view word) {
  bool upper = false, lower = false, digit = false, other = false, first_upper = false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const auto c = static_cast<unsigned char>(word[i]);
    const Kind kind = c < 0x80 ? kind_of(c) : Kind::other;
    upper |= kind == Kind::latin_upper;
    lower |= kind == Kind::latin_lower;
    digit |= kind == Kind::digit;
    other |= kind == Kind::punctuation;
    if (i == 0) first_upper = kind == Kind::latin_upper;
  }
  const int capitals = !upper ? 0 : !lower ? 1 : first_upper ? 2 : 3;
  return capitals * 8 + lower * 4 + digit * 2 + other;
}
constexpr int word_shapes = 32;

const std::string space_text = " ";

constexpr int syllable_shapes = kinds * 4;  // kind x space before x space after

void zero_digits(std::string& text) {
  for (char& c : text) {
    if (c >= '0' && c <= '9') c = '0';
  }
}

std::string lower_ascii(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool is_word_character(unsigned char c) {
  return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// A space-delimited run with its leading and trailing punctuation split off, one mark each.
void split_punctuation(std::string_view text, ByteRange run, std::vector<ByteRange>& out) {
  std::size_t begin = run.begin, end = run.end;
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  while (begin < end && !is_word_character(at(begin))) {
    out.push_back({begin, begin + 1});
    ++begin;
  }
  std::size_t tail = end;
  while (tail > begin && !is_word_character(at(tail - 1))) --tail;
  if (begin < tail) out.push_back({begin, tail});
  for (; tail < end; ++tail) out.push_back({tail, tail + 1});
}

std::string_view slice(const std::string& text, ByteRange r) {
  return std::string_view(text).substr(r.begin, r.end - r.begin);
}

}  // namespace

// Channels in the order of their columns. An open channel's key is a string; a closed channel's id is computed.
enum class Features::Source {
  syllable,
  bigram,
  trigram,
  word,
  lead,
  vowel,
  tail,
  shape,
  prefix1,
  prefix2,
  prefix3,
  suffix1,
  suffix2,
  suffix3
};

Features::Features(const Config& config) : config_(config) {
  const auto add = [&](Source source, const char* name, int dim, int closed_size) {
    if (dim == 0) return;
    sources_.push_back(source);
    channels_.push_back({.name = name, .size = closed_size, .dim = dim, .open = closed_size == 0});
  };
  if (config.unit == Unit::syllable) {
    add(Source::syllable, "syllable", config.syllable, 0);
    add(Source::bigram, "bigram", config.bigram, 0);
    add(Source::trigram, "trigram", config.trigram, 0);
    add(Source::word, "word", config.word, 0);
    add(Source::lead, "lead", config.jamo, 19 + 1);
    add(Source::vowel, "vowel", config.jamo, 21 + 1);
    add(Source::tail, "tail", config.jamo, 28 + 1);
    add(Source::shape, "shape", config.shape, syllable_shapes);
  } else {
    add(Source::word, "word", config.word, 0);
    add(Source::shape, "shape", config.shape, word_shapes);
    add(Source::prefix1, "prefix1", config.affix, 0);
    add(Source::prefix2, "prefix2", config.affix, 0);
    add(Source::prefix3, "prefix3", config.affix, 0);
    add(Source::suffix1, "suffix1", config.affix, 0);
    add(Source::suffix2, "suffix2", config.affix, 0);
    add(Source::suffix3, "suffix3", config.affix, 0);
  }
  vocabularies_.resize(channels_.size());
  if (config.vectors.empty()) return;
  const Source source = config.unit == Unit::word ? Source::word : Source::syllable;
  const auto found = std::find(sources_.begin(), sources_.end(), source);
  if (found != sources_.end()) vector_channel_ = static_cast<int>(found - sources_.begin());
}

bool Features::may_occur(std::string_view key) const {
  if (config_.zero_digits && key.find_first_of("123456789") != std::string_view::npos) return false;
  if (config_.unit == Unit::word) {
    return key.find_first_of(" \t") == std::string_view::npos && (!config_.lowercase || lower_ascii(key) == key);
  }
  const std::vector<CodePoint> all = decode(key);
  return all.size() == 1 && !is_space(all[0].value);
}

void Features::extend(std::span<const std::string> keys) {
  const auto c = static_cast<std::size_t>(vector_channel_);
  vocabularies_.at(c) = vocabularies_.at(c).extended(keys);
  channels_[c].size = vocabularies_[c].size();
}

std::int64_t Features::entries() const {
  std::int64_t sum = characters_.size() - 1;
  for (const Vocabulary& vocabulary : vocabularies_) sum += vocabulary.size() - 1;
  return sum;
}

int Features::columns() const {
  int sum = 0;
  for (const Channel& channel : channels_) sum += channel.dim;
  return sum;
}

const Vocabulary& Features::vocabulary(int channel) const {
  expect(channels_.at(static_cast<std::size_t>(channel)).open, "features: a closed channel has no vocabulary");
  return vocabularies_[static_cast<std::size_t>(channel)];
}

std::vector<ByteRange> Features::units(const Document& document) const {
  std::vector<ByteRange> out;
  if (config_.unit == Unit::word) {
    for (const ByteRange& token : document.tokens)
      if (token.begin >= token.end || token.end > document.text.size())
        throw std::invalid_argument("document: token " + std::to_string(token.begin) + ".." +
                                    std::to_string(token.end) + " is no range of its text of " +
                                    std::to_string(document.text.size()) + " bytes");
    if (!document.tokens.empty()) return document.tokens;
    for (ByteRange run : words(document.text)) split_punctuation(document.text, run, out);
  } else {
    for (const CodePoint& c : bib::characters(document.text)) {
      if (!is_space(c.value)) out.push_back(c.bytes);
    }
  }
  return out;
}

/// Calls f(channel, unit, key, id) for every channel of every unit: an open channel gets a key (id -1), a closed one an
/// id (empty key).
template <class F>
void Features::each_syllable(const Document& document, std::vector<ByteRange>& units, F&& f) const {
  const std::vector<CodePoint> all = bib::characters(document.text);
  struct Syllable {
    char32_t value;
    std::string text;  // composed, so that decomposed Hangul finds the same entries
    bool space_before, space_after;
    ByteRange word;
  };
  std::vector<Syllable> syllables;
  bool space = true;
  for (const CodePoint& c : all) {
    if (is_space(c.value)) {
      space = true;
      if (!syllables.empty()) syllables.back().space_after = true;
      continue;
    }
    Syllable s{.value = c.value, .text = {}, .space_before = space, .space_after = false, .word = c.bytes};
    append_utf8(s.text, config_.zero_digits && c.value >= '0' && c.value <= '9' ? U'0' : c.value);
    syllables.push_back(std::move(s));
    units.push_back(c.bytes);
    space = false;
  }
  if (!syllables.empty()) syllables.back().space_after = true;
  for (std::size_t begin = 0; begin < syllables.size();) {  // the word around each syllable
    std::size_t end = begin + 1;
    while (end < syllables.size() && !syllables[end].space_before) ++end;
    for (std::size_t i = begin; i < end; ++i) syllables[i].word = {units[begin].begin, units[end - 1].end};
    begin = end;
  }
  std::string key;
  const int n = static_cast<int>(syllables.size());
  for (int i = 0; i < n; ++i) {
    const Syllable& s = syllables[static_cast<std::size_t>(i)];
    // A space counts as a neighbour: "다|" at a word's end differs from "다음".
    const std::string& left = s.space_before ? space_text : syllables[static_cast<std::size_t>(i) - 1].text;
    const std::string& right = s.space_after ? space_text : syllables[static_cast<std::size_t>(i) + 1].text;
    const Jamo j = jamo(s.value);
    for (int channel = 0; channel < static_cast<int>(channels_.size()); ++channel) {
      int id = -1;
      key.clear();
      switch (sources_[static_cast<std::size_t>(channel)]) {
        case Source::syllable: key = s.text; break;
        case Source::bigram: key.append(s.text).append(right); break;
        case Source::trigram: key.append(left).append(s.text).append(right); break;
        case Source::word: key = slice(document.text, s.word); break;
        case Source::lead: id = j.lead + 1; break;
        case Source::vowel: id = j.vowel + 1; break;
        case Source::tail: id = j.tail + 1; break;
        case Source::shape: id = static_cast<int>(kind_of(s.value)) * 4 + s.space_before * 2 + s.space_after; break;
        default: break;
      }
      f(channel, i, std::string_view(key), id);
    }
  }
}

template <class F>
void Features::each_word(const Document& document, std::vector<ByteRange>& units, F&& f) const {
  units = this->units(document);
  for (int i = 0; i < static_cast<int>(units.size()); ++i) {
    const std::string raw(slice(document.text, units[static_cast<std::size_t>(i)]));
    std::string word = config_.lowercase ? lower_ascii(raw) : raw;
    if (config_.zero_digits) zero_digits(word);
    std::vector<CodePoint> letters;
    if (config_.affix) letters = decode(word);
    const auto affix = [&](std::size_t length, bool prefix) {
      const std::size_t n = std::min(length, letters.size());
      if (n == 0) return std::string();
      return prefix ? word.substr(0, letters[n - 1].bytes.end) : word.substr(letters[letters.size() - n].bytes.begin);
    };
    std::string key;
    for (int channel = 0; channel < static_cast<int>(channels_.size()); ++channel) {
      int id = -1;
      key.clear();
      switch (sources_[static_cast<std::size_t>(channel)]) {
        case Source::word: key = word; break;
        case Source::shape: id = word_shape(raw); break;
        case Source::prefix1: key = affix(1, true); break;
        case Source::prefix2: key = affix(2, true); break;
        case Source::prefix3: key = affix(3, true); break;
        case Source::suffix1: key = affix(1, false); break;
        case Source::suffix2: key = affix(2, false); break;
        case Source::suffix3: key = affix(3, false); break;
        default: break;
      }
      f(channel, i, std::string_view(key), id);
    }
  }
}

template <class F>
void Features::each_key(const Document& document, std::vector<ByteRange>& units, F&& f) const {
  if (config_.unit == Unit::syllable) {
    each_syllable(document, units, f);
  } else {
    each_word(document, units, f);
  }
}

Features Features::build(const Config& config, const std::vector<Document>& documents, const Features* base) {
  Features features(config);
  std::vector<WordCounts> counts(features.channels_.size());
  WordCounts letters;
  std::string letter;
  for (const Document& document : documents) {
    std::vector<ByteRange> units;
    features.each_key(document, units, [&](int channel, int, std::string_view key, int id) {
      if (id < 0) counts[static_cast<std::size_t>(channel)].add(key);
    });
    if (!features.spells()) continue;
    for (ByteRange unit : units) {
      for (const CodePoint& c : decode(slice(document.text, unit))) {
        letter.clear();
        append_utf8(letter, c.value);
        letters.add(letter);
      }
    }
  }
  const VocabularyLimits limits{.min_count = config.min_count, .max_size = config.max_entries};
  for (std::size_t c = 0; c < counts.size(); ++c) {
    if (!features.channels_[c].open) continue;
    features.vocabularies_[c] = base ? counts[c].build_on(base->vocabularies_.at(c), limits) : counts[c].build(limits);
    features.channels_[c].size = features.vocabularies_[c].size();
  }
  features.characters_ = base ? letters.build_on(base->characters_, limits) : letters.build(limits);
  return features;
}

void Features::save(ModelFile& file) const {
  for (std::size_t c = 0; c < channels_.size(); ++c) {
    if (channels_[c].open) vocabularies_[c].save(file, "vocabulary." + channels_[c].name);
  }
  if (spells()) characters_.save(file, "vocabulary.characters");
}

Features Features::load(const Config& config, std::shared_ptr<const ModelFile> file) {
  Features features(config);
  for (std::size_t c = 0; c < features.channels_.size(); ++c) {
    Channel& channel = features.channels_[c];
    if (!channel.open) continue;
    features.vocabularies_[c] = Vocabulary::load(file, "vocabulary." + channel.name);
    channel.size = features.vocabularies_[c].size();
  }
  if (features.spells()) features.characters_ = Vocabulary::load(file, "vocabulary.characters");
  return features;
}

std::vector<int> Features::spell(std::string_view word) const {
  std::vector<int> ids;
  for (const CodePoint& c : decode(word))
    ids.push_back(characters_.id(word.substr(c.bytes.begin, c.bytes.end - c.bytes.begin)));
  return ids;
}

EncodedText Features::encode(const Document& document) const {
  EncodedText out;
  std::vector<int> unit_major;  // as each_key visits; turned below
  each_key(document, out.units, [&](int channel, int, std::string_view key, int id) {
    const Vocabulary& vocabulary = vocabularies_[static_cast<std::size_t>(channel)];
    if (id < 0) id = vocabulary.id(key);
    // As a word of the training data without a vector of its own began with its lower case's, an unseen one reads that.
    if (id == unknown_id && channel == vector_channel_) id = vocabulary.id(lower_case(key));
    unit_major.push_back(id);
  });
  const std::size_t n = out.units.size(), channels = channels_.size();
  out.ids.resize(n * channels);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t c = 0; c < channels; ++c) out.ids[c * n + i] = unit_major[i * channels + c];
  }
  if (spells()) {
    for (ByteRange unit : out.units) out.words.emplace_back(slice(document.text, unit));
  }
  return out;
}

EncodedText part_of(const EncodedText& text, std::size_t begin, std::size_t end) {
  const std::size_t n = text.units.size(), channels = n ? text.ids.size() / n : 0;
  const auto cut = [&](const auto& v, std::size_t offset) {
    return std::vector(v.begin() + static_cast<std::ptrdiff_t>(offset + begin),
                       v.begin() + static_cast<std::ptrdiff_t>(offset + end));
  };
  EncodedText part{.units = cut(text.units, 0)};
  for (std::size_t c = 0; c < channels; ++c) {
    const std::vector<int> ids = cut(text.ids, c * n);
    part.ids.insert(part.ids.end(), ids.begin(), ids.end());
  }
  if (!text.words.empty()) part.words = cut(text.words, 0);
  return part;
}

EncodedText truncated(EncodedText text, std::size_t length) {
  return text.units.size() <= length ? std::move(text) : part_of(text, 0, length);
}

}  // namespace bib
