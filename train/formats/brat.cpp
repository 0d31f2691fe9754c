// BRAT: a text and, beside it under the same name, its annotation in .ann: `T1<TAB>Disease 10 23<TAB>breast cancer`.
// Offsets count code points of the text as it is in the file, line ends included. The pair is one document.
#include <algorithm>
#include <charconv>
#include <filesystem>

#include "train/formats/files.h"

namespace bib::formats {
namespace {

bool is_entity(std::string_view line) {
  return line.size() > 1 && line[0] == 'T' && line[1] >= '0' && line[1] <= '9' &&
         line.find('\t') != std::string_view::npos;
}

Likelihood detect(const Sample& sample) {
  const std::filesystem::path path(sample.path);
  std::error_code ignored;
  if (path.extension() == ".txt" &&
      std::filesystem::exists(std::filesystem::path(path).replace_extension(".ann"), ignored))
    return certain;
  const bool entities = std::any_of(sample.filled.begin(), sample.filled.end(), is_entity);
  return path.extension() == ".ann" && (entities || sample.filled.empty()) ? certain : no;
}

bool parse(std::string_view text, std::size_t& number) {
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
  return end.ec == std::errc() && end.ptr == text.data() + text.size();
}

/// `Disease 10 23`, or `Disease 10 15;20 23` for a span in pieces.
void read_entity(const Source& source, const Line& line, const OffsetMap& offsets, Document& document) {
  const std::size_t first = line.text.find('\t'), second = std::min(line.text.find('\t', first + 1), line.text.size());
  const std::string_view middle = line.text.substr(first + 1, second - first - 1);
  const std::size_t blank = middle.find(' '), last = middle.rfind(' ');
  if (middle.find(';') != std::string_view::npos)
    return source.warn(line, first + 1, "an annotation in pieces: left out");
  std::size_t begin = 0, end = 0;
  if (blank == 0 || blank == std::string_view::npos || blank == last ||
      !parse(middle.substr(blank + 1, last - blank - 1), begin) || !parse(middle.substr(last + 1), end))
    return source.error(line, first + 1, "expected a label, a start and an end");
  if (begin >= end || end > offsets.length())
    return source.error(line, first + 1,
                        "span " + std::to_string(begin) + ".." + std::to_string(end) +
                            " is not in the text, which ends at " + std::to_string(offsets.length()));
  const Span span{{offsets.to_byte(begin), offsets.to_byte(end)}, std::string(middle.substr(0, blank))};
  std::string found(slice(document.text, span)), said(line.text.substr(std::min(second + 1, line.text.size())));
  for (std::string* text : {&found, &said})
    std::replace_if(
        text->begin(), text->end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  if (!said.empty() && found != said)
    return source.error(
        line, second + 1,
        "the text there is " + in_quotes(found) + ", not " + in_quotes(said) + "; were its line ends changed?");
  document.spans.push_back(span);
}

void read(const Source& source) {
  const std::filesystem::path path(source.corpus.path);
  const bool given_text = path.extension() != ".ann";
  const std::string other_path = std::filesystem::path(path).replace_extension(given_text ? ".ann" : ".txt").string();
  std::string other = read_file(other_path);
  if (!other.empty()) to_utf8(other, source.options, source.corpus);
  // Findings are about the annotation's lines, so they carry its name.
  if (given_text) source.corpus.path = other_path;
  Document document{
      .text = given_text ? std::string(source.text) : other, .id = path.stem().string(), .annotated = true, .line = 1};
  const OffsetMap offsets(document.text, source.options.offsets.value_or(OffsetUnit::codepoint));
  std::size_t skipped = 0;
  for_each_line(given_text ? std::string_view(other) : source.text, [&](const Line& line) {
    if (line.text.empty()) return;
    if (is_entity(line.text)) return read_entity(source, line, offsets, document);
    if (std::string_view("REAMN#*").find(line.text[0]) == std::string_view::npos)
      return source.error(line, 0, "not a line of BRAT annotation");
    ++skipped;
  });
  if (skipped > 0)
    source.report(Severity::note, 0, 0,
                  count_of(skipped, "line") +
                      " that annotate no entity (relations, events, "
                      "attributes, notes) left out");
  sort_spans(document.spans);
  source.corpus.path = path.string();
  source.corpus.documents.push_back(std::move(document));
}

}  // namespace

const Format brat{"brat", "BRAT, a .txt and an .ann of the same name", true, false, detect, read, nullptr};

}  // namespace bib::formats
