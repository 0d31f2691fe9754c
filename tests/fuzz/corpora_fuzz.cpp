// Readers of every format: the first byte chooses one, or detection. Whatever the bytes, a reader ends, throws nothing
// but DataError, and leaves ranges that lie in their texts; what it read can be written as JSON and read again.
#include <cstdint>

#include "tests/fuzz/check_corpus.h"

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
    for (const bib::Document& document : corpus.documents) fuzz::check(document);
    if (!options.allow_invalid_utf8 && !corpus.documents.empty()) fuzz::round_trip(corpus);
  } catch (const bib::DataError&) {
  }
  return 0;
}
