// Pretrained vectors in a model: the first values of its word table (unit = syllable: of its syllable table), and rows
// for words that the training data lack. The model holds all of it afterwards; the file is not needed again.
#pragma once
#include <string>
#include <vector>

#include "bib/train.h"
#include "models/features.h"
#include "models/parameters.h"
#include "models/vectors.h"

namespace bib {

struct PretrainedRows {
  std::string parameter;      // the table; empty: config names no vectors
  PretrainedVectors vectors;  // its rows are the table's

  /// Reads config.vectors and adds the words that only the file has to the features' vocabulary. Tells the coverage to
  /// options.note, and to options.warn when it is poor.
  /// Throws DataError for another dimension than the table's, and where almost no token of the texts has a vector.
  static PretrainedRows read(const Config& config, Features& features, const TrainOptions& options);
  /// After parameters.allocate(). Rows without a vector keep their random values.
  void initialise(Context& ctx, Parameters& parameters) const;
};

}  // namespace bib
