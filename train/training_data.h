// What is done to the documents before a model sees them: checked, parted, and hashed.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "bib/config.h"
#include "bib/document.h"

namespace bib {

/// Programs make documents too: what has spans or classes is annotated, and ranges must lie in the text.
void settle(std::vector<Document>& documents);

/// Sets 1 - train_rate of the documents aside, drawn by split_seed or else the seed; their order stays.
std::vector<Document> split_dev(std::vector<Document>& train, const Config& config);
/// Documents of `dev` whose text is also learned from: the score on them flatters.
std::size_t count_shared(const std::vector<Document>& dev, const std::vector<Document>& train);

/// What the training data are, so that a checkpoint is not continued on others and a model says what it learned from.
std::string hash_of(const std::vector<Document>& documents);
/// Of the vectors that config names, so that a model says what it began with; empty without them.
std::string hash_of_vectors(const Config& config);

}  // namespace bib
