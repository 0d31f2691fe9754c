// Text units: ranges tile any bytes, offsets go there and back, and tags of units give back the spans.
#include <cstdint>
#include <cstdlib>

#include "models/tags.h"
#include "models/text.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void require_tiles(const std::vector<bib::CodePoint>& units, std::size_t size) {
  std::size_t at = 0;
  for (const bib::CodePoint& unit : units) {
    require(unit.bytes.begin == at && unit.bytes.end > at);
    at = unit.bytes.end;
  }
  require(at == size);
}

void tag_and_back(const std::vector<bib::CodePoint>& units, std::string_view bytes) {
  std::vector<bib::ByteRange> ranges;
  for (const bib::CodePoint& unit : units) ranges.push_back(unit.bytes);
  std::vector<bib::Span> spans;
  for (std::size_t i = 0; i + 1 < bytes.size() && i < 64; i += 2) {
    const std::size_t begin = static_cast<unsigned char>(bytes[i]),
                      length = static_cast<unsigned char>(bytes[i + 1]) % 8;
    if (begin + length > bytes.size() || length == 0) continue;
    spans.push_back({{begin, begin + length}, length % 2 ? "A" : "B"});
  }
  const bib::FlatSpans flat = bib::flatten(spans, bib::Nested::innermost);
  require(flat.kept.size() + flat.dropped.size() == spans.size());
  for (const bib::Align align : {bib::Align::strict, bib::Align::expand, bib::Align::contract}) {
    const bib::TagSet set({"A", "B"}, align == bib::Align::strict ? bib::Scheme::bioes : bib::Scheme::iob1);
    const bib::TaggedUnits tagged = bib::tag_units(ranges, flat.kept, set, align);
    const std::size_t lost = tagged.misaligned.size() + tagged.overlapping.size() + tagged.unknown.size();
    const auto back = bib::untag_units(ranges, tagged.tags, set);
    require(back.size() + lost == flat.kept.size());
    for (const bib::Span& span : back) require(span.begin < span.end && span.end <= bytes.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::vector<bib::CodePoint> points = bib::decode(text), units = bib::characters(text);
  require_tiles(points, size);
  require_tiles(units, size);
  std::string again;
  for (const bib::CodePoint& c : points) bib::append_utf8(again, c.value);
  require(bib::is_valid_utf8(text) == (again == text));
  require(bib::is_valid_utf8(again));
  for (const bib::ByteRange& word : bib::words(text)) require(word.begin < word.end && word.end <= size);
  for (const auto unit : {bib::OffsetUnit::codepoint, bib::OffsetUnit::utf16, bib::OffsetUnit::byte}) {
    const bib::OffsetMap map(text, unit);
    for (const bib::CodePoint& c : points) require(map.to_byte(map.from_byte(c.bytes.begin)) == c.bytes.begin);
    require(map.to_byte(map.length()) == size);
  }
  tag_and_back(units, text);
  return 0;
}
