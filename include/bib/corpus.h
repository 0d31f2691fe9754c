// Reading corpora, for programs that train.
#pragma once
#include <string>
#include <vector>

#include "bib/config.h"
#include "bib/document.h"

namespace bib {

/// The documents of a corpus file ("-": standard input), in any format that `bib convert` reads; "auto" finds it out.
/// Throws DataError "file:line:column: what" for a file that cannot be used.
std::vector<Document> read_documents(const std::string& path, Task task, const std::string& format = "auto");

}  // namespace bib
