// Shorthand for tests of corpus readers.
#pragma once
#include <string>
#include <vector>

#include "train/corpus.h"

namespace bib {

/// "서울/LC 손바닥/AM": the spans of a document in its own text.
inline std::string spans_of(const Document& document) {
  std::string list;
  for (const Span& span : document.spans)
    list += (list.empty() ? "" : " ") + document.text.substr(span.begin, span.end - span.begin) + "/" + span.label;
  return list;
}

inline Corpus read(const std::string& text, const std::string& format = "auto") {
  return read_corpus_text("t", text, {.format = format});
}

inline std::vector<std::string> messages(const Corpus& corpus, Severity severity) {
  std::vector<std::string> list;
  for (const Diagnostic& d : corpus.diagnostics)
    if (d.severity == severity) list.push_back(to_text(d));
  return list;
}

inline std::string error_of(const std::string& text, const ReadOptions& options = {}) {
  try {
    read_corpus_text("t", text, options);
  } catch (const DataError& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace bib
