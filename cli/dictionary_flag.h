// --dict, of the verbs that predict.
#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "bib/ner.h"

namespace bib::cli {

struct DictionaryFlag {
  std::string path;

  void add(CLI::App& verb) {
    verb.add_option("--dict", path,
                    "NER: a file of term<TAB>label[<TAB>weight] lines; these terms are likely entities");
  }
  bool given() const { return !path.empty(); }
  std::optional<NerDictionary> load(const NerModel& model) const {
    return given() ? std::optional(NerDictionary::load(path, model)) : std::nullopt;
  }
};

}  // namespace bib::cli
