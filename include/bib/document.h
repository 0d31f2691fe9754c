// What training, prediction and evaluation exchange: texts with annotation.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bib {

/// Part of a text, in bytes of its UTF-8: [begin, end). Bytes survive invalid UTF-8; models/text.h converts to code
/// points and UTF-16 units.
struct ByteRange {
  std::size_t begin = 0, end = 0;
  bool operator==(const ByteRange&) const = default;
  auto operator<=>(const ByteRange&) const = default;
};

/// An annotated entity.
struct Span : ByteRange {
  std::string label;
  bool operator==(const Span&) const = default;
  auto operator<=>(const Span&) const = default;
};

/// One sentence, review, headline: whatever one line or block of a corpus holds. The {} let callers name a few of the
/// members under -Wextra.
struct Document {
  std::string text{};                 // as in the file: never normalised
  std::vector<Span> spans{};          // NER, sorted by begin, then longest first; may nest
  std::vector<std::string> labels{};  // TC: one (multi-class), any number (multi-label)
  std::vector<ByteRange> tokens{};    // the file's own tokens (column formats); empty: none given
  std::vector<std::string> tags{};    // the file's own tag of each token, in its own scheme; empty: none given
  std::string id{};                   // passed through to predictions
  float weight = 1;                   // multiplies its loss
  bool annotated = false;             // false and neither spans nor labels: raw text, "no entities" is not a statement
  std::size_t line = 0;               // where it begins in its file, from 1
  std::vector<double> scores{};       // of predictions: the probability of each span or label; empty: none given
};

}  // namespace bib
