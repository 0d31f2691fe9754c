// Corpora: reading any of the formats in train/formats, with every problem as file:line:column, and writing them.
#pragma once
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bib/document.h"
#include "bib/error.h"
#include "models/tags.h"
#include "models/text.h"

namespace bib {

enum class Severity { note, warning, error };

/// One finding about a file. `line` and `column` count from 1, columns in code points; 0 means the whole file or line.
struct Diagnostic {
  Severity severity = Severity::error;
  std::string file;
  std::size_t line = 0, column = 0;
  std::string message;
};
std::string to_text(const Diagnostic& diagnostic);  // "train.conll:85124:1: error: 1 column, expected 2"

enum class Quoting { automatic, none, csv };

/// How to read. Everything left alone is found out from the file. Columns are a header's name or a number: 1 is the
/// first, -1 the last.
struct ReadOptions {
  std::string format = "auto";             // a name of corpus_formats()
  std::optional<Task> task;                // what the corpus is for: narrows what "auto" considers
  std::string encoding = "utf-8";          // any name iconv knows: latin1, cp949, utf-16, ...
  bool allow_invalid_utf8 = false;         // keep invalid bytes in the text instead of refusing the file
  std::optional<OffsetUnit> offsets;       // of span offsets in JSON; unset: code points, for Label Studio UTF-16
  Nested nested = Nested::all;             // which of nested spans to keep; dropped ones are counted in a note
  std::string token_column, tag_column;    // of column formats
  std::optional<Scheme> scheme;            // of column formats: tags that break it are warnings
  std::string text_column, label_column;   // of tables and JSON; label_column: "a,b,c" for one 0/1 column a label
  std::string id_column;                   // of tables and JSON
  char delimiter = 0;                      // of tables; 0: found out
  Quoting quoting = Quoting::automatic;    // of tables
  std::optional<bool> header;              // of tables
  std::string label_prefix = "__label__";  // of fastText
};

struct Corpus {
  std::string path, format;
  std::vector<Document> documents;
  std::vector<Diagnostic> diagnostics;  // in the order of the file
  std::optional<Scheme> scheme;         // of column formats

  std::size_t count(Severity severity) const;
};

/// Throws DataError with the first errors and their number, if there are any.
void refuse_errors(const Corpus& corpus);

/// Reads a file ("-" is standard input) or a folder of BRAT's pairs, notes and warnings kept in `diagnostics`. Throws
/// DataError for a file that cannot be read or used: the message holds the first errors and their number.
Corpus read_corpus(const std::string& path, const ReadOptions& options = {});
/// The same for text in memory; `name` stands for the path in messages.
Corpus read_corpus_text(const std::string& name, std::string content, const ReadOptions& options = {});
/// As read_corpus, but errors inside the file are left in `diagnostics`, beside what could be read.
Corpus scan_corpus(const std::string& path, const ReadOptions& options = {});
Corpus scan_corpus_text(const std::string& name, std::string content, const ReadOptions& options = {});

/// The options that are given and that reading these formats does not look at, by their names in ReadOptions.
std::vector<std::string> idle_options(const ReadOptions& options, std::span<const std::string> formats);

/// The format that the beginning of a file unmistakably has; empty where it may be any or plain text.
std::string_view likely_format(const std::string& path, std::string_view begin);

enum class TokenUnit { given, word, character };  // given: the file's own tokens, or words where it has none

struct WriteOptions {
  std::string format;
  Scheme scheme = Scheme::iob2;
  Nested nested = Nested::outermost;  // where the format cannot nest
  Align align = Align::strict;        // where the format has tokens
  TokenUnit unit = TokenUnit::given;
  OffsetUnit offsets = OffsetUnit::codepoint;
  std::string label_prefix = "__label__";
};

/// Writes documents and returns what was changed or left out. A document that the format cannot hold is a DataError
/// that names its line and the formats that can.
std::vector<Diagnostic> write_corpus(std::ostream& to, std::span<const Document> documents, const WriteOptions& options,
                                     const std::string& source = "input");

struct CorpusFormat {
  std::string_view name, what;
  bool ner, tc, writes;
};
std::vector<CorpusFormat> corpus_formats();

}  // namespace bib
