// Readers of every format: the first byte chooses one, or detection. Whatever the bytes, a reader ends, throws nothing
// but DataError, and leaves ranges that lie in their texts; what it read can be written as JSON and read again.
#include <cstdint>
#include <cstdlib>
#include <sstream>

#include "train/corpus.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const bib::Document& document) {
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

void round_trip(const bib::Corpus& corpus) {
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const std::vector<bib::CorpusFormat> formats = bib::corpus_formats();
  const std::size_t choice = data[0] % (formats.size() + 1);
  bib::ReadOptions options;
  if (choice < formats.size()) options.format = formats[choice].name;
  options.allow_invalid_utf8 = data[0] >= 128;
  try {
    const std::string content(reinterpret_cast<const char*>(data) + 1, size - 1);
    const bib::Corpus corpus = bib::scan_corpus_text("fuzz", content, options);
    for (const bib::Document& document : corpus.documents) check(document);
    if (!options.allow_invalid_utf8 && !corpus.documents.empty()) round_trip(corpus);
  } catch (const bib::DataError&) {
  }
  return 0;
}
