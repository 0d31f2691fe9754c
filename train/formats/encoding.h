// From whatever a file's bytes are to UTF-8.
#pragma once
#include <string>

#include "train/corpus.h"

namespace bib::formats {

/// Turns a file's content into UTF-8 without a byte order mark, as options.encoding says. Reports marks and Windows
/// line ends as notes, invalid bytes as errors (or, where the options allow them, as one warning).
void to_utf8(std::string& content, const ReadOptions& options, Corpus& corpus);

}  // namespace bib::formats
