// What is in a corpus, and what may be wrong with it beyond its format: sizes, labels, duplicates, leakage.
#pragma once
#include <map>
#include <set>
#include <string>
#include <unordered_map>

#include "train/corpus.h"

namespace bib {

struct LabelCount {
  std::string label;
  std::size_t count = 0;
  double share = 0;   // of all labels of its kind
  bool rare = false;  // fewer than rare_label: hardly enough to learn from
};
inline constexpr std::size_t rare_label = 10;

/// The figures of one file. Its findings are in `diagnostics`, as those of reading are.
struct Survey {
  std::size_t documents = 0, empty = 0, annotated = 0;
  std::size_t characters = 0, words = 0, tokens = 0, longest = 0;  // `longest` in characters
  std::size_t spans = 0, nested = 0;                               // nested: left out where only the outermost count
  std::size_t inside_words = 0;                                    // of the outermost: their ends are not ends of words
  std::size_t inside_characters = 0;                               // of the outermost: no unit ends there; listed
  std::size_t inside_tokens = 0;                                   // of the outermost: not ends of the file's tokens
  std::vector<LabelCount> entities, classes;                       // falling count, then name
  std::size_t duplicates = 0, conflicts = 0;  // texts seen before in the file; of those, with other annotation
  std::map<std::string, std::size_t> shared;  // earlier file -> documents whose text it also holds
  std::vector<Diagnostic> diagnostics;
};

/// Looks at files one after the other, each also against those before it.
class Surveyor {
 public:
  /// Also reports labels that are not among these: those of a model.
  void know(std::vector<std::string> labels, std::string whose);
  Survey look(const Corpus& corpus);

 private:
  struct File {
    std::string path;
    std::unordered_map<std::string, std::size_t> texts;  // text -> index of its first document
  };
  void count(const Corpus& corpus, Survey& survey) const;
  void find_duplicates(const Corpus& corpus, File& file, Survey& survey) const;
  void find_unseen(const Corpus& corpus, Survey& survey);

  std::vector<File> files_;
  std::set<std::string> known_;
  std::string whose_;  // who knows them: a model or the first file
};

}  // namespace bib
