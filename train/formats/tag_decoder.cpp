#include "train/formats/tag_decoder.h"

namespace bib::formats {

void TagDecoder::decode(Document& document, std::span<const std::string_view> tags, std::span<const Line> lines) {
  FileTag before;
  for (std::size_t i = 0; i < tags.size(); ++i) {
    FileTag now = parse_tag(tags[i], before.label);
    if (now.letter != 'O' && now.label.empty()) {
      source_.warn(lines[i], 0, "the tag " + in_quotes(tags[i]) + " has no label and continues nothing: read as O");
      now = {};
    }
    const bool bilou = now.letter != 'O' && (tags[i].front() == 'L' || tags[i].front() == 'U') && tags[i].size() > 1 &&
                       (tags[i][1] == '-' || tags[i][1] == '_');
    letters_ |= 1u << ((bilou ? 'L' : now.letter) - 'A');
    const bool same = now.label == before.label;
    if (now.letter == 'I' && !continues_entity(before.letter, 'I', same)) starts_with_i_ = true;
    if (now.letter == 'B' && !may_follow(Scheme::iob1, before.letter, 'B', same)) starts_with_b_ = true;
    if (continues_entity(before.letter, now.letter, same))
      document.spans.back().end = document.tokens[i].end;
    else if (now.letter != 'O')
      document.spans.push_back({document.tokens[i], std::string(now.label)});
    before = now;
    steps_.push_back({now.letter, same, i == 0, lines[i]});
  }
  steps_.push_back({'O', true, false, {}});  // a sentence's end counts as O
}

Scheme TagDecoder::found_scheme() const {
  const auto seen = [&](char letter) { return (letters_ >> (letter - 'A') & 1) != 0; };
  if (seen('L')) return Scheme::bilou;
  if (seen('E') || seen('S')) return Scheme::bioes;
  return starts_with_i_ && !starts_with_b_ ? Scheme::iob1 : Scheme::iob2;
}

void TagDecoder::finish() {
  const Scheme scheme = source_.options.scheme.value_or(found_scheme());
  source_.corpus.scheme = scheme;
  char before = 'O';
  Line line_before;
  for (const Step& step : steps_) {
    if (step.first) before = 'O';
    if (!may_follow(scheme, before, step.letter, step.same))
      source_.warn(step.line.number > 0 ? step.line : line_before, 0,
                   std::string("tag ") + step.letter + " after " + before + " breaks " +
                       std::string(scheme_name(scheme)) + ": read as the evaluators do");
    before = step.letter;
    line_before = step.line;
  }
}

}  // namespace bib::formats
