// What a reader may never leave behind, whatever it was given: ranges beyond their text, what cannot be written again.
#pragma once
#include <cstdlib>
#include <sstream>

#include "train/corpus.h"

namespace fuzz {

inline void require(bool holds) {
  if (!holds) std::abort();
}

inline void check(const bib::Document& document) {
  const auto inside = [&](const bib::ByteRange& range) {
    return range.begin < range.end && range.end <= document.text.size();
  };
  std::size_t begin = 0;
  for (const bib::Span& span : document.spans) {
    require(inside(span) && span.begin >= begin && !span.label.empty());
    begin = span.begin;
  }
  std::size_t end = 0;
  for (const bib::ByteRange& token : document.tokens) {
    require(inside(token) && token.begin >= end);
    end = token.end;
  }
  require(document.tags.empty() || document.tags.size() == document.tokens.size());
}

inline void round_trip(const bib::Corpus& corpus) {
  std::ostringstream json;
  bib::write_corpus(json, corpus.documents, {.format = "jsonl"});
  const bib::Corpus again = bib::read_corpus_text("again", json.str(), {.format = "jsonl"});
  require(again.documents.size() == corpus.documents.size());
  for (std::size_t i = 0; i < again.documents.size(); ++i) {
    require(again.documents[i].text == corpus.documents[i].text);
    require(again.documents[i].spans == corpus.documents[i].spans);
    require(again.documents[i].labels == corpus.documents[i].labels);
  }
}

}  // namespace fuzz
