// Result files: one token a line, tags in columns, blank lines between sentences, as the shared tasks exchange them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "bib/document.h"

namespace bib {

/// Reads `content` of the file `name` (for messages). Columns are separated by tabs where a line has a tab, by blanks
/// otherwise; a blank line or -DOCSTART- ends a sentence; CRLF, a byte order mark and a missing last newline are fine.
/// The first column is the token, and the tag is taken `from_end` columns before the last one: 0 for the last column,
/// 1 for the gold tags of a file that holds gold and predicted tags. Token i of a document is at line `line` + i.
/// Throws DataError on a line with fewer than two columns or with another number of columns than the first line's.
std::vector<Document> read_tag_columns(std::string_view content, const std::string& name, std::size_t from_end = 0);

/// The number of columns of the first token line; 0 when there is none.
std::size_t count_tag_columns(std::string_view content);

}  // namespace bib
