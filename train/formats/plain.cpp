// Plain text: one document a line, blank lines included, no annotation.
#include <ostream>

#include "train/formats/format.h"

namespace bib::formats {
namespace {

Likelihood detect(const Sample&) { return fallback; }

void read(const Source& source) {
  for_each_line(source.text, [&](const Line& line) {
    source.corpus.documents.push_back({.text = std::string(line.text), .line = line.number});
  });
}

void write(const Sink& sink, std::span<const Document> documents) {
  for (const Document& document : documents) {
    sink.refuse_line_ends(document);
    sink.to << document.text << '\n';
  }
}

}  // namespace

const Format plain{"text", "plain text, one document a line", true, true, detect, read, write};

}  // namespace bib::formats
