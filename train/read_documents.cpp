// The public face of the corpus readers.
#include "bib/corpus.h"
#include "train/corpus.h"

namespace bib {

std::vector<Document> read_documents(const std::string& path, Task task, const std::string& format) {
  return read_corpus(path, {.format = format, .task = task}).documents;
}

}  // namespace bib
