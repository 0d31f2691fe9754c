// Whether probabilities mean what they say: of the answers given with 0.8, are eight of ten right?
// Expected calibration error and its bins: Naeini, Cooper & Hauskrecht, "Obtaining Well Calibrated Probabilities Using
// Bayesian Binning", AAAI 2015, and Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML
// 2017; the score: Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "bib/document.h"

namespace bib {

/// An answer: the probability it was given with, and whether it was right.
struct Judged {
  double probability = 0;
  bool right = false;
};

/// Answers whose probability is in [low, high), the last bin's in [low, 1]. Means are fractions; 0/0 is 0.
struct ReliabilityBin {
  double low = 0, high = 0;
  std::size_t answers = 0, right = 0;
  double sum = 0;  // of the probabilities
  double mean_probability() const { return answers ? sum / static_cast<double>(answers) : 0; }
  double share_right() const { return answers ? static_cast<double>(right) / static_cast<double>(answers) : 0; }
};

struct Calibration {
  ReliabilityBin all{.high = 1};
  std::vector<ReliabilityBin> bins;  // equally wide
  double ece = 0;    // expected calibration error: sum over bins of answers/all |mean_probability - share_right|
  double brier = 0;  // mean of (probability - 1)^2 over the right answers and probability^2 over the wrong ones
};

Calibration calibration_of(std::span<const Judged> answers);

/// Every predicted entity, right where the truth has the same span and label. `gold`: what the predictions are scored
/// by. Throws DataError where an entity has no probability.
std::vector<Judged> judge_entities(const std::vector<std::vector<Span>>& gold, const std::vector<Document>& predicted);

/// Every class that was given as an answer: one of each text, or of a multi-label model those from the threshold on,
/// which are what its user sees; threshold 0 judges all classes of every text. Throws DataError likewise.
std::vector<Judged> judge_classes(const std::vector<Document>& gold, const std::vector<Document>& predicted);

}  // namespace bib
