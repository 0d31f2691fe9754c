#include "models/tags.h"

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>

#include "bib/expect.h"

namespace bib {
namespace {

constexpr std::string_view scheme_names[] = {"iob1", "iob2", "bioes", "bilou"};

/// The letters of a scheme in tag order, as this file names them and as the scheme writes them.
struct Letters {
  std::string_view meaning, written;
};
constexpr Letters letters_of(Scheme scheme) {
  switch (scheme) {
    case Scheme::bioes: return {"BIES", "BIES"};
    case Scheme::bilou: return {"BIES", "BILU"};
    default: return {"BI", "BI"};
  }
}

bool longer(const Span& a, const Span& b) { return a.end - a.begin > b.end - b.begin; }

}  // namespace

std::string_view scheme_name(Scheme scheme) { return scheme_names[static_cast<int>(scheme)]; }

bool may_follow(Scheme scheme, char from, char to, bool same) {
  if (scheme == Scheme::iob1) return to != 'B' || (from != 'O' && same);
  if (scheme == Scheme::iob2) return to != 'I' || (from != 'O' && same);
  const bool open = from == 'B' || from == 'I', goes_on = to == 'I' || to == 'E';
  return open == goes_on && (!open || same);
}

bool continues_entity(char from, char to, bool same) {
  return from != 'O' && from != 'E' && from != 'S' && (to == 'I' || to == 'E') && same;
}

TagSet::TagSet(std::vector<std::string> labels, Scheme scheme) : scheme_(scheme), labels_(std::move(labels)) {
  std::set<std::string_view> seen;
  for (const std::string& label : labels_) {
    expect(!label.empty(), "tag set: a label is empty");
    expect(seen.insert(label).second, "tag set: label " + label + " occurs twice");
  }
}

char TagSet::letter(int tag) const {
  return tag <= 0 ? 'O' : letters_of(scheme_).meaning[static_cast<std::size_t>((tag - 1) % per_label())];
}

int TagSet::tag(int label, char letter) const {
  return 1 + label * per_label() + static_cast<int>(letters_of(scheme_).meaning.find(letter));
}

std::string TagSet::name(int tag) const {
  expect(tag >= 0 && tag < size(), "tag set: no tag " + std::to_string(tag));
  if (tag == 0) return "O";
  const char written = letters_of(scheme_).written[static_cast<std::size_t>((tag - 1) % per_label())];
  return std::string(1, written) + "-" + labels_[static_cast<std::size_t>(label_index(tag))];
}

std::optional<int> TagSet::label_of(std::string_view label) const {
  const auto found = std::find(labels_.begin(), labels_.end(), label);
  if (found == labels_.end()) return std::nullopt;
  return static_cast<int>(found - labels_.begin());
}

bool TagSet::may_begin(int tag) const { return may_follow(0, tag); }
bool TagSet::may_end(int tag) const { return may_follow(tag, 0); }

bool TagSet::may_follow(int from, int to) const {
  return bib::may_follow(scheme_, letter(from), letter(to), label_index(from) == label_index(to));
}

int TagSet::extend(int tag) const { return per_label() == 2 && tag > 0 ? this->tag(label_index(tag), 'I') : -1; }

int TagSet::touching(int tag) const { return scheme_ == Scheme::iob1 ? this->tag(label_index(tag), 'B') : tag; }

std::vector<int> TagSet::encode(int count, std::span<const UnitSpan> spans) const {
  std::vector<int> tags(static_cast<std::size_t>(count), 0);
  UnitSpan before{0, 0, -1};
  for (const UnitSpan& span : spans) {
    expect(span.begin >= before.end && span.begin < span.end && span.end <= count,
           "tag set: spans are empty, overlap, are not sorted or pass the end");
    expect(span.label >= 0 && span.label < static_cast<int>(labels_.size()), "tag set: no such label index");
    const auto put = [&](int at, char letter) { tags[static_cast<std::size_t>(at)] = tag(span.label, letter); };
    for (int i = span.begin; i < span.end; ++i) put(i, 'I');
    const bool touches = before.label == span.label && before.end == span.begin;
    if (scheme_ != Scheme::iob1 || touches) put(span.begin, 'B');
    if (per_label() == 4) put(span.end - 1, span.end - span.begin == 1 ? 'S' : 'E');
    before = span;
  }
  return tags;
}

std::vector<UnitSpan> TagSet::decode(std::span<const int> tags) const {
  std::vector<UnitSpan> spans;
  char before = 'O';
  int label_before = -1;
  for (int i = 0; i < static_cast<int>(tags.size()); ++i) {
    const int given = tags[static_cast<std::size_t>(i)], tag = given < size() ? std::max(given, 0) : 0;
    const char now = letter(tag);
    const int label = label_index(tag);
    if (continues_entity(before, now, label == label_before))
      spans.back().end = i + 1;
    else if (now != 'O')
      spans.push_back({i, i + 1, label});
    before = now;
    label_before = label;
  }
  return spans;
}

std::vector<std::string> span_labels(std::span<const Document> documents) {
  std::set<std::string> labels;
  for (const Document& document : documents)
    for (const Span& span : document.spans) labels.insert(span.label);
  return {labels.begin(), labels.end()};
}

FlatSpans flatten(std::vector<Span> spans, Nested nested) {
  FlatSpans flat;
  const auto by_place = [](const Span& a, const Span& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  };
  std::stable_sort(spans.begin(), spans.end(), by_place);
  if (nested == Nested::all) {
    flat.kept = std::move(spans);
    return flat;
  }
  if (nested == Nested::innermost) {  // a span that contains a later one goes; in this order it comes before it
    std::size_t nearest_end = static_cast<std::size_t>(-1);
    std::vector<Span> leaves;
    for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
      (nearest_end <= span->end ? flat.dropped : leaves).push_back(*span);
      nearest_end = std::min(nearest_end, span->end);
    }
    spans.assign(leaves.rbegin(), leaves.rend());
  }
  std::stable_sort(spans.begin(), spans.end(), longer);
  std::map<std::size_t, std::size_t> taken;  // begin -> end of the spans kept
  for (Span& span : spans) {
    const auto after = taken.lower_bound(span.begin);
    const bool free = (after == taken.end() || after->first >= span.end) &&
                      (after == taken.begin() || std::prev(after)->second <= span.begin);
    if (free) taken[span.begin] = span.end;
    (free ? flat.kept : flat.dropped).push_back(std::move(span));
  }
  std::stable_sort(flat.kept.begin(), flat.kept.end(), by_place);
  std::stable_sort(flat.dropped.begin(), flat.dropped.end(), by_place);
  return flat;
}

TaggedUnits tag_units(std::span<const ByteRange> units, std::span<const Span> spans, const TagSet& tags, Align align) {
  TaggedUnits out;
  std::vector<UnitSpan> placed;
  std::vector<bool> hidden(units.size(), false);
  std::size_t free_from = 0;  // first unit no span has taken
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const Span& span = spans[i];
    // Units that the span touches: [first, past).
    const auto ends_before = [](const ByteRange& unit, std::size_t at) { return unit.end <= at; };
    const auto begins_before = [](const ByteRange& unit, std::size_t at) { return unit.begin < at; };
    auto first = std::lower_bound(units.begin(), units.end(), span.begin, ends_before) - units.begin();
    auto past = std::lower_bound(units.begin(), units.end(), span.end, begins_before) - units.begin();
    const auto touched_first = first, touched_past = past;
    const auto unit = [&](std::ptrdiff_t at) { return units[static_cast<std::size_t>(at)]; };
    const auto drop = [&](std::vector<std::size_t>& reason) {
      reason.push_back(i);
      for (auto at = std::max<std::ptrdiff_t>(touched_first, static_cast<std::ptrdiff_t>(free_from)); at < touched_past;
           ++at)
        hidden[static_cast<std::size_t>(at)] = true;
    };
    const bool aligned = first < past && unit(first).begin == span.begin && unit(past - 1).end == span.end;
    if (!aligned && align == Align::contract && first < past) {
      if (unit(first).begin < span.begin) ++first;
      if (first < past && unit(past - 1).end > span.end) --past;
    }
    const std::optional<int> label = tags.label_of(span.label);
    if (!label) {
      drop(out.unknown);
    } else if (first >= past || (!aligned && align == Align::strict)) {
      drop(out.misaligned);
    } else if (static_cast<std::size_t>(first) < free_from) {
      drop(out.overlapping);
    } else {
      if (!aligned) out.moved.push_back(i);
      placed.push_back({static_cast<int>(first), static_cast<int>(past), *label});
      free_from = static_cast<std::size_t>(past);
      std::fill(hidden.begin() + first, hidden.begin() + past, false);
    }
  }
  out.tags = tags.encode(static_cast<int>(units.size()), placed);
  for (std::size_t at = 0; at < hidden.size(); ++at)
    if (hidden[at] && out.tags[at] == 0) out.tags[at] = -1;
  return out;
}

std::vector<Span> untag_units(std::span<const ByteRange> units, std::span<const int> tags, const TagSet& set) {
  expect(units.size() == tags.size(), "untag_units: as many tags as units");
  std::vector<Span> spans;
  for (const UnitSpan& span : set.decode(tags)) {
    const std::size_t begin = units[static_cast<std::size_t>(span.begin)].begin,
                      end = units[static_cast<std::size_t>(span.end - 1)].end;
    spans.push_back({{begin, end}, set.labels()[static_cast<std::size_t>(span.label)]});
  }
  return spans;
}

FileTag parse_tag(std::string_view tag, std::string_view label_before) {
  if (tag == "O" || tag == "o" || tag == "-") return {};
  const auto letter = [](char c) -> char {
    switch (c) {
      case 'B':
      case 'I':
      case 'E':
      case 'S': return c;
      case 'L': return 'E';
      case 'U': return 'S';
      default: return 0;
    }
  };
  const auto joint = [](char c) { return c == '-' || c == '_'; };
  if (tag.size() == 1) {
    const char only = letter(tag[0]);
    return {only, only == 'I' || only == 'E' ? label_before : std::string_view{}};
  }
  if (tag.size() < 3) return {0, {}};
  if (joint(tag[1]) && letter(tag[0])) return {letter(tag[0]), tag.substr(2)};
  if (joint(tag[tag.size() - 2]) && letter(tag.back())) return {letter(tag.back()), tag.substr(0, tag.size() - 2)};
  return {0, {}};
}

}  // namespace bib
