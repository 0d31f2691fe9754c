// The list of formats, and what they share.
#include <algorithm>
#include <cstdio>
#include <tuple>

#include "train/formats/format.h"

namespace bib::formats {

std::span<const Format> all() {
  static const Format list[] = {inline_ner, tc_list, conll, parallel, brat,     nikl,        jsonl,
                                doccano,    spacy,   csv,   tsv,      fasttext, label_first, plain};
  return list;
}

std::string_view canonical_name(std::string_view name) {
  // What people call them.
  static constexpr std::pair<std::string_view, std::string_view> aliases[] = {
      {"bib-ner", "inline"}, {"bib-tc", "list"},        {"klue", "conll"},        {"kmou", "conll"}, {"json", "jsonl"},
      {"prodigy", "jsonl"},  {"label-studio", "jsonl"}, {"labelstudio", "jsonl"}, {"modu", "nikl"},  {"plain", "text"},
      {"txt", "text"}};
  for (const auto& [alias, meant] : aliases)
    if (alias == name) return meant;
  return name;
}

}  // namespace bib::formats

namespace bib {

std::vector<std::string> idle_options(const ReadOptions& o, std::span<const std::string> read) {
  using Formats = std::vector<std::string>;
  static const Formats tables{"csv", "tsv"}, columns{"conll"},
      records{"jsonl", "doccano", "spacy", "nikl", "csv", "tsv"}, offsets{"jsonl", "doccano", "spacy", "nikl", "brat"},
      prefixes{"fasttext"};
  const std::tuple<const char*, bool, const Formats&> layout[] = {
      {"offsets", o.offsets.has_value(), offsets},
      {"text_column", !o.text_column.empty(), records},
      {"label_column", !o.label_column.empty(), records},
      {"id_column", !o.id_column.empty(), records},
      {"delimiter", o.delimiter != 0, tables},
      {"quoting", o.quoting != Quoting::automatic, tables},
      {"token_column", !o.token_column.empty(), columns},
      {"tag_column", !o.tag_column.empty(), columns},
      {"label_prefix", o.label_prefix != ReadOptions{}.label_prefix, prefixes}};
  std::vector<std::string> idle;
  for (const auto& [name, given, looking] : layout)
    if (given && std::find_first_of(read.begin(), read.end(), looking.begin(), looking.end()) == read.end())
      idle.push_back(name);
  return idle;
}

}  // namespace bib

namespace bib::formats {

std::size_t column_at(std::string_view line, std::size_t byte) {
  return 1 + static_cast<std::size_t>(
                 std::count_if(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(std::min(byte, line.size())),
                               [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

void Source::error(const Line& line, std::size_t byte, std::string message) const {
  report(Severity::error, line.number, column_at(line.text, byte), std::move(message));
}

void Source::warn(const Line& line, std::size_t byte, std::string message) const {
  report(Severity::warning, line.number, column_at(line.text, byte), std::move(message));
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t most = 240;  // bytes
  std::size_t shown = text.size();
  if (shown > most) {
    for (shown = most; (static_cast<unsigned char>(text[shown]) & 0xC0) == 0x80 && shown > most - 3;) --shown;
  }
  std::string out = "'";
  for (const char c : text.substr(0, shown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7F) {
      out += c;
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else {
      char code[8];
      std::snprintf(code, sizeof code, "\\x%02X", byte);
      out += code;
    }
  }
  return out + (shown < text.size() ? "...'" : "'");
}

void Sink::refuse(const Document& document, const std::string& why) const {
  throw DataError(to_text({Severity::error, source, document.line, 0,
                           "cannot be written as " + options.format + ": " + why + "; jsonl can hold it"}));
}

void Sink::refuse_line_ends(const Document& document) const {
  if (document.text.find('\n') != std::string::npos) refuse(document, "the text holds a line end");
  if (document.text.ends_with('\r'))
    refuse(document, "the text ends with a carriage return, which would read as part of the line end");
}

std::vector<Span> Sink::flat_spans(const Document& document) const {
  FlatSpans flat = flatten(document.spans, options.nested == Nested::all ? Nested::outermost : options.nested);
  for (const Span& span : flat.dropped)
    warn(document, "left out " + in_quotes(slice(document.text, span)) + " " + span.label +
                       ": it overlaps another annotation and " + options.format + " cannot nest");
  return std::move(flat.kept);
}

void sort_spans(std::vector<Span>& spans) {
  std::stable_sort(spans.begin(), spans.end(),
                   [](const Span& a, const Span& b) { return a.begin != b.begin ? a.begin < b.begin : a.end > b.end; });
}

}  // namespace bib::formats
