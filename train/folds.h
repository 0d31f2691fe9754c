// Cross-validation: which part of a corpus every text is answered in, by a model that has learned from the other parts.
#pragma once
#include <string>
#include <vector>

#include "bib/config.h"
#include "bib/document.h"

namespace bib {

struct Folds {
  std::vector<int> of_document;     // 0..folds-1
  std::vector<std::string> unseen;  // labels of one fold alone: the model that answers it cannot know them
};

/// Drawn by split_seed or else the seed. Texts that are equal share a fold, as one would give the other away. Every
/// label is spread over the folds as evenly as it goes, the rarest first (after Sechidis, Tsoumakas & Vlahavas, ECML
/// 2011), then the number of texts. Throws DataError where there are fewer different texts than folds.
Folds draw_folds(const std::vector<Document>& documents, int folds, const Config& config);

}  // namespace bib
