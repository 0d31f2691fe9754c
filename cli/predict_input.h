// The input of bib predict: files one after another as one stream of texts.
#pragma once
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/corpus.h"

namespace bib::cli {

/// One text, and the fields of the JSON object it came in, which are passed through as they were written: a number of
/// any length keeps its digits.
struct Record {
  struct Field {
    std::string name, value;
  };
  Document document;
  std::optional<std::vector<Field>> fields;
  std::string error;  // why the line could not be read; empty where it could
};

struct InputFlags {
  std::vector<std::string> files{"-"};
  std::string from = "auto";
  bool as_corpus = false;  // a flag says how columns or bytes are meant, so that no file is a stream of lines
  ReadOptions read;
};

/// What one file holds.
class TextSource {
 public:
  virtual ~TextSource() = default;
  /// Appends what is there until `records` holds `most`, and waits only where it was empty. False at the end.
  virtual bool take(std::vector<Record>& records, std::size_t most) = 0;
};

class PredictInput {
 public:
  /// Throws DataError where a file cannot be read, before the first is answered; warns of files that look like corpora
  /// and are read as lines.
  explicit PredictInput(const InputFlags& flags);

  /// Waits for a text, then takes what else can be had without waiting, from the next files too. Empty at the end.
  std::vector<Record> next(std::size_t most);
  /// Warns of flags that did nothing, and of lines that could not be read: what became of them, "left out". Answers may
  /// say so, too, but nobody looks at each.
  void finish(const char* unread_are) const;

 private:
  class Lines;
  class Documents;
  bool open_next(bool may_wait);

  const InputFlags& flags_;
  std::size_t opened_ = 0;            // files
  std::vector<std::string> formats_;  // of those that were read whole
  std::unique_ptr<TextSource> source_;
  std::exception_ptr failure_;  // of a file, to be thrown once the texts before it are answered
  std::size_t lines_ = 0, unread_ = 0;
  std::string first_unread_;
};

}  // namespace bib::cli
