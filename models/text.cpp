#include "models/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace bib {
namespace {

constexpr char32_t replacement = 0xFFFD;

struct Decoded {
  char32_t value = replacement;
  std::size_t length = 1;
  bool valid = false;
};

/// One code point at `at` (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing past U+10FFFF).
inline Decoded decode_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> std::uint32_t { return static_cast<unsigned char>(text[at + i]); };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const std::uint32_t lead = byte(0);
  const std::size_t left = text.size() - at;
  if (lead < 0x80) return {lead, 1, true};
  if (lead >= 0xE0 && lead < 0xF0) {  // first of the long forms: all of Hangul is here
    if (left < 3 || !follows(1) || !follows(2)) return {};
    const std::uint32_t c = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    if (c < 0x800 || (c >= 0xD800 && c < 0xE000)) return {};
    return {c, 3, true};
  }
  if (lead >= 0xC2 && lead < 0xE0) {
    if (left < 2 || !follows(1)) return {};
    return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2, true};
  }
  if (lead >= 0xF0 && lead < 0xF5) {
    if (left < 4 || !follows(1) || !follows(2) || !follows(3)) return {};
    const std::uint32_t c = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    if (c < 0x10000 || c > 0x10FFFF) return {};
    return {c, 4, true};
  }
  return {};
}

/// Length of the run of ASCII that begins at `at`, eight bytes a step.
std::size_t ascii_run(std::string_view text, std::size_t at) {
  std::size_t end = at;
  for (std::uint64_t eight; end + 8 <= text.size(); end += 8) {
    std::memcpy(&eight, text.data() + end, 8);
    if (eight & 0x8080808080808080u) break;
  }
  while (end < text.size() && static_cast<unsigned char>(text[end]) < 0x80) ++end;
  return end - at;
}

/// Exact for valid UTF-8; a lower bound otherwise.
std::size_t count_code_points(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// Hangul composition (Unicode 15, section 3.12): syllable = base + (lead * 21 + vowel) * 28 + tail.
constexpr char32_t hangul_first = 0xAC00, hangul_last = 0xD7A3, lead_first = 0x1100, vowel_first = 0x1161,
                   tail_none = 0x11A7;
constexpr int leads = 19, vowels = 21, tails = 28;

constexpr bool is_syllable(char32_t c) { return c >= hangul_first && c <= hangul_last; }
constexpr bool is_modern_lead(char32_t c) { return c >= lead_first && c < lead_first + leads; }
constexpr bool is_modern_vowel(char32_t c) { return c >= vowel_first && c < vowel_first + vowels; }
constexpr bool is_modern_tail(char32_t c) { return c > tail_none && c < tail_none + tails; }
// With the jamo of older Korean, which no syllable code point covers.
constexpr bool is_lead(char32_t c) { return (c >= 0x1100 && c <= 0x115F) || (c >= 0xA960 && c <= 0xA97C); }
constexpr bool is_vowel(char32_t c) { return (c >= 0x1160 && c <= 0x11A7) || (c >= 0xD7B0 && c <= 0xD7C6); }
constexpr bool is_tail(char32_t c) { return (c >= 0x11A8 && c <= 0x11FF) || (c >= 0xD7CB && c <= 0xD7FB); }

/// Code points of the blocks that fill Korean, English and Chinese text and chat: neither marks nor subject to
/// normalisation.
constexpr bool is_common(char32_t c) {
  return c < 0x300 || is_syllable(c) || (c >= 0x3400 && c < 0xA000) || (c >= 0x3130 && c < 0x3400) ||
         (c >= 0x2010 && c < 0x20D0) || (c >= 0x3000 && c < 0x302A) || (c >= 0xFF00 && c < 0xFFF0) ||
         (c >= 0x1F000 && c < 0x1FB00);
}

bool is_mark(char32_t c) {
  if (is_common(c)) return false;
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
}

/// A mark joins the character before it unless that is white space, a control or an invalid byte.
bool takes_marks(char32_t c) { return c > 0x20 && c != 0x7F && c != replacement && !is_space(c); }

/// The first code point of the NFC form of `points`. Only the first few matter, and utf8proc's reordering is
/// quadratic in the number of marks, so the input is cut where Unicode's stream-safe format cuts it.
char32_t compose(const CodePoint* points, std::size_t count) {
  constexpr std::size_t longest = 32;
  std::array<utf8proc_int32_t, 4 * longest> buffer;
  std::size_t used = 0;
  int last_class = 0;
  for (std::size_t i = 0; i < std::min(count, longest); ++i) {
    const utf8proc_ssize_t n =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(points[i].value), buffer.data() + used,
                                static_cast<utf8proc_ssize_t>(buffer.size() - used), UTF8PROC_DECOMPOSE, &last_class);
    if (n < 0 || used + static_cast<std::size_t>(n) > buffer.size()) return points[0].value;
    used += static_cast<std::size_t>(n);
  }
  // Canonical order: stable within a combining class, starters stay.
  const auto combining = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (std::size_t i = 1; i < used; ++i)
    for (std::size_t j = i; j > 0 && combining(buffer[j]) != 0 && combining(buffer[j - 1]) > combining(buffer[j]); --j)
      std::swap(buffer[j - 1], buffer[j]);
  const auto n = utf8proc_normalize_utf32(buffer.data(), static_cast<utf8proc_ssize_t>(used),
                                          static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  return n > 0 ? static_cast<char32_t>(buffer[0]) : points[0].value;
}

/// Number of code points, from `at`, of one Hangul syllable written in jamo; its composed value where there is one.
std::size_t hangul_cluster(const std::vector<CodePoint>& points, std::size_t at, char32_t& value) {
  const auto is = [&](std::size_t i, bool (*kind)(char32_t)) { return i < points.size() && kind(points[i].value); };
  const char32_t c = points[at].value;
  if (is_syllable(c)) {
    if ((c - hangul_first) % tails != 0 || !is(at + 1, [](char32_t x) { return is_tail(x); })) return 1;
    if (is_modern_tail(points[at + 1].value)) value = c + (points[at + 1].value - tail_none);
    return 2;
  }
  if (!is_lead(c) || !is(at + 1, [](char32_t x) { return is_vowel(x); })) return 1;
  const char32_t vowel = points[at + 1].value;
  const bool composes = is_modern_lead(c) && is_modern_vowel(vowel);
  if (composes) value = hangul_first + ((c - lead_first) * vowels + (vowel - vowel_first)) * tails;
  if (!is(at + 2, [](char32_t x) { return is_tail(x); })) return 2;
  if (composes && is_modern_tail(points[at + 2].value)) value += points[at + 2].value - tail_none;
  return 3;
}

}  // namespace

std::vector<CodePoint> decode(std::string_view text) {
  std::vector<CodePoint> points;
  points.reserve(count_code_points(text));
  for (std::size_t at = 0; at < text.size();) {
    const Decoded one = decode_at(text, at);
    points.push_back({one.value, {at, at + one.length}});
    at += one.length;
  }
  return points;
}

void append_utf8(std::string& to, char32_t c) {
  const auto put = [&](std::uint32_t byte) { to.push_back(static_cast<char>(byte)); };
  if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) c = replacement;
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::vector<CodePoint> characters(std::string_view text) {
  std::vector<CodePoint> points = decode(text);
  std::size_t out = 0;  // clusters never outnumber code points, so the answer is written over the input
  for (std::size_t at = 0; at < points.size();) {
    CodePoint character = points[at];
    std::size_t count = 1;
    bool rare = !is_common(character.value);
    if (rare || is_syllable(character.value)) count = hangul_cluster(points, at, character.value);
    if (takes_marks(points[at].value))
      while (at + count < points.size() && is_mark(points[at + count].value)) ++count, rare = true;
    if (rare && !is_syllable(character.value)) character.value = compose(&points[at], count);
    character.bytes.end = points[at + count - 1].bytes.end;
    points[out++] = character;
    at += count;
  }
  points.resize(out);
  return points;
}

std::vector<ByteRange> words(std::string_view text) {
  std::vector<ByteRange> ranges;
  bool inside = false;
  for (std::size_t at = 0; at < text.size();) {
    const Decoded one = decode_at(text, at);
    const bool space = is_space(one.value);
    if (!space && !inside) ranges.push_back({at, at});
    if (!space) ranges.back().end = at + one.length;
    inside = !space;
    at += one.length;
  }
  return ranges;
}

ByteRange trimmed(std::string_view text, ByteRange range) {
  const std::vector<ByteRange> inside = words(text.substr(range.begin, range.end - range.begin));
  if (inside.empty()) return {range.begin, range.begin};
  return {range.begin + inside.front().begin, range.begin + inside.back().end};
}

Jamo jamo(char32_t syllable) {
  if (!is_syllable(syllable)) return {};
  const int index = static_cast<int>(syllable - hangul_first);
  return {index / (vowels * tails), index / tails % vowels, index % tails};
}

bool is_space(char32_t c) {  // Unicode's White_Space
  if (c <= 0x20) return c == 0x20 || (c >= 0x09 && c <= 0x0D);
  if (c < 0x1680) return c == 0x85 || c == 0xA0;
  return c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

std::size_t find_invalid_utf8(std::string_view text, std::size_t from) {
  for (std::size_t at = from; at < text.size();) {
    at += ascii_run(text, at);
    while (at < text.size() && static_cast<unsigned char>(text[at]) >= 0x80) {
      const Decoded one = decode_at(text, at);
      if (!one.valid) return at;
      at += one.length;
    }
  }
  return std::string_view::npos;
}

std::string lower_case(std::string_view word) {
  std::string out;
  const auto* p = reinterpret_cast<const utf8proc_uint8_t*>(word.data());
  auto left = static_cast<utf8proc_ssize_t>(word.size());
  while (left > 0) {
    utf8proc_int32_t c = 0;
    const utf8proc_ssize_t n = utf8proc_iterate(p, left, &c);
    if (n <= 0) return std::string(word);  // not UTF-8: no case to change
    utf8proc_uint8_t encoded[4];
    const utf8proc_ssize_t m = utf8proc_encode_char(utf8proc_tolower(c), encoded);
    out.append(reinterpret_cast<const char*>(encoded), static_cast<std::size_t>(m));
    p += n;
    left -= n;
  }
  return out;
}

std::string composed(std::string_view text) {
  bool common = true;
  int marks = 0, most_marks = 0;  // utf8proc's reordering is quadratic in them
  for (std::size_t at = 0; at < text.size();) {
    const Decoded one = decode_at(text, at);
    common &= is_common(one.value);
    marks = is_mark(one.value) ? marks + 1 : 0;
    most_marks = std::max(most_marks, marks);
    at += one.length;
  }
  if (common || most_marks > 30) return std::string(text);
  utf8proc_uint8_t* out = nullptr;
  const utf8proc_ssize_t n =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &out, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const auto release = [](void* p) { std::free(p); };
  const std::unique_ptr<void, decltype(release)> owner(out, release);
  return n < 0 ? std::string(text) : std::string(reinterpret_cast<const char*>(out), static_cast<std::size_t>(n));
}

bool is_valid_utf8(std::string_view text) { return find_invalid_utf8(text) == std::string_view::npos; }

std::string valid_utf8(std::string_view text) {
  if (is_valid_utf8(text)) return std::string(text);
  std::string out;
  for (const CodePoint& c : decode(text)) append_utf8(out, c.value);
  return out;
}

OffsetMap::OffsetMap(std::string_view text, OffsetUnit unit) : unit_(unit), bytes_(text.size()) {
  if (unit_ != OffsetUnit::byte && ascii_run(text, 0) == text.size()) unit_ = OffsetUnit::byte;  // the units coincide
  if (unit_ == OffsetUnit::byte) return;
  starts_.reserve(count_code_points(text));
  for (std::size_t at = 0; at < text.size();) {
    const Decoded one = decode_at(text, at);
    starts_.push_back(static_cast<std::uint32_t>(at));
    if (unit_ == OffsetUnit::utf16 && one.value > 0xFFFF) starts_.push_back(static_cast<std::uint32_t>(at));
    at += one.length;
  }
}

std::size_t OffsetMap::from_byte(std::size_t byte) const {
  if (unit_ == OffsetUnit::byte) return std::min(byte, bytes_);
  if (byte >= bytes_) return starts_.size();
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), byte);
  return static_cast<std::size_t>(std::lower_bound(starts_.begin(), after, *(after - 1)) - starts_.begin());
}

std::size_t OffsetMap::to_byte(std::size_t offset) const {
  if (unit_ == OffsetUnit::byte) return std::min(offset, bytes_);
  return offset < starts_.size() ? starts_[offset] : bytes_;
}

std::size_t OffsetMap::length() const { return unit_ == OffsetUnit::byte ? bytes_ : starts_.size(); }

}  // namespace bib
