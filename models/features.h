// What a model sees of a text: units with byte ranges, and for each unit one id per channel.
// A channel is one lookup: the syllable, a bigram, a jamo, the shape. Models embed each channel into its own columns.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bib/config.h"
#include "bib/document.h"
#include "models/model_file.h"
#include "models/vocabulary.h"

namespace bib {

/// A text ready for a model. Ids are channel-major: ids[channel * units.size() + unit].
struct EncodedText {
  std::vector<ByteRange> units;
  std::vector<int> ids;
  std::vector<std::string> words;  // unit = word with a character convolution: what it reads, else empty
};

/// Units [begin, end) of a text, and its first `length` units.
EncodedText part_of(const EncodedText& text, std::size_t begin, std::size_t end);
EncodedText truncated(EncodedText text, std::size_t length);

class Features {
 public:
  struct Channel {
    std::string name;
    int size = 0;       // number of ids
    int dim = 0;        // columns of the embedding
    bool open = false;  // ids come from a vocabulary whose id 0 is "unknown"; else a closed set
  };

  /// Counts every open channel over the texts and keeps the vocabularies, behind those of `base` where it is given:
  /// features of the same settings, as Config::min_count and max_entries may differ alone.
  static Features build(const Config& config, const std::vector<Document>& documents, const Features* base = nullptr);
  static Features load(const Config& config, std::shared_ptr<const ModelFile> file);
  void save(ModelFile& file) const;

  const std::vector<Channel>& channels() const { return channels_; }
  std::int64_t entries() const;  // of all vocabularies, without the unknown ones
  int columns() const;           // sum of dims, without the character convolution
  /// The vocabulary of an open channel; throws std::invalid_argument for a closed one.
  const Vocabulary& vocabulary(int channel) const;

  /// The channel that pretrained vectors are for, the words or the syllables; -1 without them.
  int vector_channel() const { return vector_channel_; }
  /// Whether a text can lead to this key, given lowercase, zero_digits and the unit.
  bool may_occur(std::string_view key) const;
  /// More entries for the vector channel, behind those it has.
  void extend(std::span<const std::string> keys);

  /// unit = word with a character convolution: words are also read letter by letter.
  bool spells() const { return config_.unit == Unit::word && config_.characters > 0; }
  const Vocabulary& characters() const { return characters_; }
  std::vector<int> spell(std::string_view word) const;

  /// Where time steps begin and end.
  std::vector<ByteRange> units(const Document& document) const;
  EncodedText encode(const Document& document) const;

 private:
  enum class Source;
  explicit Features(const Config& config);
  template <class F>
  void each_syllable(const Document& document, std::vector<ByteRange>& units, F&& f) const;
  template <class F>
  void each_word(const Document& document, std::vector<ByteRange>& units, F&& f) const;
  template <class F>
  void each_key(const Document& document, std::vector<ByteRange>& units, F&& f) const;

  Config config_;
  std::vector<Channel> channels_;
  std::vector<Source> sources_;           // what each channel looks at
  std::vector<Vocabulary> vocabularies_;  // one per channel, empty for a closed one
  Vocabulary characters_;
  int vector_channel_ = -1;
};

}  // namespace bib
