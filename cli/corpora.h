// Corpora that are read one after another as one, each in a format of its own.
#pragma once
#include <algorithm>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "train/corpus.h"

namespace bib::cli {

struct Corpora {
  std::vector<std::string> names{};   // of the files
  std::vector<std::size_t> begins{};  // where the documents of each begin
  std::vector<Document> documents{};
  std::vector<std::string> formats{};  // of the files

  std::string name() const { return names.size() == 1 ? names[0] : std::to_string(names.size()) + " corpora"; }
  /// "a.txt: 1 to 3, b.txt: 4 to 9": what a number among all documents means.
  std::string parts() const {
    std::string list;
    for (std::size_t i = 0; i < names.size(); ++i)
      list += (i ? ", " : "") + names[i] + ": " + std::to_string(begins[i] + 1) + " to " +
              std::to_string(begins[i] + documents_of(i).size());
    return list;
  }
  std::span<const Document> documents_of(std::size_t file) const {
    const std::size_t end = file + 1 < begins.size() ? begins[file + 1] : documents.size();
    return std::span(documents).subspan(begins[file], end - begins[file]);
  }
  const std::string& name_of(std::size_t document) const {
    const auto next = std::upper_bound(begins.begin(), begins.end(), document);
    return names[static_cast<std::size_t>(next - begins.begin()) - 1];
  }
};

/// read_one(path) gives one, as a Corpus.
template <class Read>
Corpora read_corpora(const std::vector<std::string>& paths, Read&& read_one) {
  Corpora all;
  for (const std::string& path : paths) {
    Corpus corpus = read_one(path);
    all.names.push_back(path == "-" ? "standard input" : path);
    all.begins.push_back(all.documents.size());
    std::move(corpus.documents.begin(), corpus.documents.end(), std::back_inserter(all.documents));
    all.formats.push_back(std::move(corpus.format));
  }
  return all;
}

}  // namespace bib::cli
