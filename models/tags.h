// Entities as tags of units and back: tag sets, legal transitions for the CRF, alignment of spans to units.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bib/config.h"
#include "bib/document.h"

namespace bib {

std::string_view scheme_name(Scheme scheme);

/// The rules by letter: O, B, I, E (also BILOU's L) or S (U). May `to` follow `from` under the scheme? `same` says
/// whether both carry the same label. The text's ends count as O.
bool may_follow(Scheme scheme, char from, char to, bool same);
/// Does `to` go on with the entity of `from`? Total, as conlleval and seqeval's default mode read malformed tags.
bool continues_entity(char from, char to, bool same);

/// A span over units: [begin, end), and the index of its label.
struct UnitSpan {
  int begin = 0, end = 0, label = 0;
  bool operator==(const UnitSpan&) const = default;
};

/// The tags of one label set under one scheme. Tag 0 is O; the tags of label l follow those of label l - 1, in the
/// order of the scheme's letters. A label's index is its place in `labels`.
class TagSet {
 public:
  TagSet() = default;
  TagSet(std::vector<std::string> labels, Scheme scheme);

  Scheme scheme() const { return scheme_; }
  const std::vector<std::string>& labels() const { return labels_; }
  int size() const { return 1 + per_label() * static_cast<int>(labels_.size()); }
  std::string name(int tag) const;  // "B-PS"
  std::optional<int> label_of(std::string_view label) const;

  // What a well-formed sequence may do: the CRF gets -infinity where these are false.
  bool may_begin(int tag) const;
  bool may_follow(int from, int to) const;
  bool may_end(int tag) const;
  /// The tag that would continue an entity after `tag`, -1 if none: CrfSpanProbability's `extend`.
  int extend(int tag) const;
  /// The tag in place of `tag`, the first of an entity, where the entity before it has the same label and touches it:
  /// another one under iob1 alone.
  int touching(int tag) const;

  /// Tags of `count` units. Spans are sorted, not empty and do not overlap, or std::invalid_argument.
  std::vector<int> encode(int count, std::span<const UnitSpan> spans) const;
  /// Spans of a tag sequence, malformed or not (continues_entity); a tag of -1 or past size() is O.
  std::vector<UnitSpan> decode(std::span<const int> tags) const;

 private:
  int per_label() const { return scheme_ == Scheme::iob1 || scheme_ == Scheme::iob2 ? 2 : 4; }
  int label_index(int tag) const { return tag <= 0 ? -1 : (tag - 1) / per_label(); }
  char letter(int tag) const;  // O, B, I, E or S whatever the scheme calls them
  int tag(int label, char letter) const;

  Scheme scheme_ = Scheme::iob2;
  std::vector<std::string> labels_;
};

/// The labels of every span, sorted: what a TagSet is built from.
std::vector<std::string> span_labels(std::span<const Document> documents);

/// One span per place, for tags. `outermost` keeps the span that contains the others, `innermost` the contained one; of
/// spans that cross, both keep the longer, and of equal ones outermost the first and innermost the last.
enum class Nested { all, outermost, innermost };
struct FlatSpans {
  std::vector<Span> kept;     // sorted, without overlap (all of them for Nested::all)
  std::vector<Span> dropped;  // what has to be reported
};
FlatSpans flatten(std::vector<Span> spans, Nested nested);

/// What to do with a span whose ends do not meet the units' ends: drop it, widen it to the units it touches, or narrow
/// it to the units it contains.
enum class Align { strict, expand, contract };

/// The tags of units, and what did not fit: indices into the spans given.
struct TaggedUnits {
  std::vector<int> tags;                 // -1 (not annotated, see CrfLoss) at units that a dropped span touches
  std::vector<std::size_t> moved;        // misaligned, expanded or contracted
  std::vector<std::size_t> misaligned;   // misaligned and dropped
  std::vector<std::size_t> overlapping;  // dropped: shares a unit with an earlier one
  std::vector<std::size_t> unknown;      // dropped: the tag set lacks its label
};
TaggedUnits tag_units(std::span<const ByteRange> units, std::span<const Span> spans, const TagSet& tags, Align align);

/// The entities of tagged units, in bytes of the text.
std::vector<Span> untag_units(std::span<const ByteRange> units, std::span<const int> tags, const TagSet& set);

/// A tag as files write it: B-PS, B_PS, PS-B, LOC_B, O or -; a bare I or E (2016klp's) has the label of the tag before.
struct FileTag {
  char letter = 'O';       // O, B, I, E or S (L reads as E, U as S); 0 if it is no tag
  std::string_view label;  // empty for O, and for a bare letter that nothing before names
};
FileTag parse_tag(std::string_view tag, std::string_view label_before = {});

}  // namespace bib
