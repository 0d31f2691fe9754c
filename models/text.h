// Text as units with byte ranges in the original: decoding never fails and never loses a byte.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bib/document.h"

namespace bib {

/// How offsets are counted. Internally everything is in bytes.
enum class OffsetUnit { codepoint, utf16, byte };

struct CodePoint {
  char32_t value = 0;  // U+FFFD for an invalid byte
  ByteRange bytes;
};

/// Every code point; each byte that is not part of valid UTF-8 becomes one U+FFFD of one byte.
std::vector<CodePoint> decode(std::string_view text);

void append_utf8(std::string& to, char32_t c);

/// One user-visible character: a code point with the combining marks that follow it; decomposed Hangul (L V T) is one
/// syllable. `value` is the first code point of its NFC form: the composed one, or the base where none exists. Marks do
/// not join white space, controls or invalid bytes. Ranges tile the text.
std::vector<CodePoint> characters(std::string_view text);

/// Words: maximal runs without white space. Ranges exclude the white space.
std::vector<ByteRange> words(std::string_view text);

/// The range of a text without the white space that it begins and ends with.
ByteRange trimmed(std::string_view text, ByteRange range);

/// Hangul syllable U+AC00..U+D7A3 as indices of its jamo: lead 0..18, vowel 0..20, tail 0..27 (0 = none).
struct Jamo {
  int lead = -1, vowel = -1, tail = -1;  // all -1: not a Hangul syllable
};
Jamo jamo(char32_t syllable);

bool is_space(char32_t c);
/// Every code point in lower case; text that is not UTF-8 stays as it is.
std::string lower_case(std::string_view text);

/// The text in NFC. What is not UTF-8 stays as it is, and so does a text with more than 30 marks in a row, which
/// Unicode's stream-safe format has not.
std::string composed(std::string_view text);

bool is_valid_utf8(std::string_view text);
/// The text with U+FFFD for each byte that is not part of valid UTF-8: as many code points as decode() finds.
std::string valid_utf8(std::string_view text);
/// The first byte at or after `from` (a code point's start) that is not part of valid UTF-8; npos if there is none.
std::size_t find_invalid_utf8(std::string_view text, std::size_t from = 0);

/// Byte offsets to another unit and back. Build once per text; O(1) or O(log n) per offset.
class OffsetMap {
 public:
  OffsetMap(std::string_view text, OffsetUnit unit);
  std::size_t from_byte(std::size_t byte) const;  // a byte inside a code point counts as its start
  std::size_t to_byte(std::size_t offset) const;  // clamps to the text's end; half a surrogate pair: its start
  std::size_t length() const;                     // of the text, in the unit
 private:
  OffsetUnit unit_;
  std::size_t bytes_ = 0;
  std::vector<std::uint32_t> starts_;  // byte at which each unit begins
};

}  // namespace bib
