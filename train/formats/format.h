// What a format implements. Formats are listed in registry.cpp; each is one short file.
#pragma once
#include <algorithm>
#include <functional>
#include <utility>

#include "train/corpus.h"

namespace bib::formats {

struct Line {
  std::string_view text;   // without its line end
  std::size_t number = 0;  // from 1
};

/// Calls `use(line)` for every line of `text`; a missing final newline makes no difference.
template <class Use>
void for_each_line(std::string_view text, Use use) {
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    use(Line{line, ++number});
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

/// The beginning of a file, for detection: whole lines, the last one possibly cut.
struct Sample {
  std::string_view path, text;
  std::vector<std::string_view> lines;   // at most 1,000, without line ends
  std::vector<std::string_view> filled;  // those that are not blank
};

/// A file being read: its text (UTF-8, no byte order mark) and where the result goes.
struct Source {
  std::string_view text;
  const ReadOptions& options;
  Corpus& corpus;

  void report(Severity severity, std::size_t line, std::size_t column, std::string message) const {
    corpus.diagnostics.push_back({severity, corpus.path, line, column, std::move(message)});
  }
  void error(const Line& line, std::size_t byte, std::string message) const;
  void warn(const Line& line, std::size_t byte, std::string message) const;
};

/// The column, from 1 and in code points, of a byte of a line.
std::size_t column_at(std::string_view line, std::size_t byte);

/// Where documents go when written, and what could not be.
struct Sink {
  std::ostream& to;
  const WriteOptions& options;
  const std::string& source;
  std::vector<Diagnostic>& diagnostics;

  void warn(const Document& document, std::string message) const {
    diagnostics.push_back({Severity::warning, source, document.line, 0, std::move(message)});
  }
  /// The document cannot be written: throws DataError.
  [[noreturn]] void refuse(const Document& document, const std::string& why) const;
  /// Refuses a text that its line would not hold: one with a line end, or with a part of one where the line ends.
  void refuse_line_ends(const Document& document) const;
  /// The spans a format without nesting writes; warns about the rest.
  std::vector<Span> flat_spans(const Document& document) const;
};

/// How sure detection is: nothing, a guess, the right structure, an unmistakable mark.
enum Likelihood { no = 0, fallback = 1, possible = 2, likely = 3, certain = 4 };

struct Format {
  std::string_view name, what;
  bool ner, tc;
  Likelihood (*detect)(const Sample&);
  void (*read)(const Source&);
  void (*write)(const Sink&, std::span<const Document>);  // null: read only
  bool ids = false, weights = false;                      // whether what is written has a place for them
};

std::span<const Format> all();
/// The name in the list for a format's other names: inline for bib-ner, jsonl for prodigy.
std::string_view canonical_name(std::string_view name);

// One line per format, defined in the file named.
extern const Format inline_ner, tc_list, conll, parallel, brat, nikl, jsonl, doccano, spacy, csv, tsv, fasttext,
    label_first, plain;

// --- shared by formats ---

/// Sorts spans by begin, longest first; equal ones keep their order.
void sort_spans(std::vector<Span>& spans);

/// The substring of a range.
inline std::string_view slice(std::string_view text, ByteRange range) {
  return text.substr(range.begin, range.end - range.begin);
}
/// For messages: a long text is cut, and control characters, which would end the line or steer the terminal, escaped.
std::string in_quotes(std::string_view text);
inline std::string count_of(std::size_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

}  // namespace bib::formats
