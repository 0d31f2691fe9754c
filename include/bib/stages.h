// Where the time of a prediction goes.
#pragma once

namespace bib {

/// Seconds. A GPU works on while the host goes ahead, so that there the network's time is mostly found in `decode`,
/// which waits for it.
struct PredictStages {
  double encode = 0;   // text to ids: units, features, vocabulary
  double network = 0;  // ids to scores
  double decode = 0;   // scores to the answer: Viterbi and probabilities, or the ranking of classes
};

}  // namespace bib
