// From the tags of a file, in whatever scheme and however malformed, to spans.
#pragma once
#include "train/formats/format.h"

namespace bib::formats {

/// Collects what a whole file's tags say of its scheme while it turns them into spans, sentence by sentence.
class TagDecoder {
 public:
  explicit TagDecoder(const Source& source) : source_(source) {}

  /// Adds the spans of one layer of tags to `document`, whose tokens they belong to. lines[i] is where tag i stands.
  void decode(Document& document, std::span<const std::string_view> tags, std::span<const Line> lines);

  /// After the last sentence: finds the scheme and warns of every tag that breaks it.
  void finish();

 private:
  struct Step {
    char letter;
    bool same, first;
    Line line;
  };
  Scheme found_scheme() const;

  const Source& source_;
  std::vector<Step> steps_;
  std::uint32_t letters_ = 0;
  bool starts_with_i_ = false, starts_with_b_ = false;
};

}  // namespace bib::formats
