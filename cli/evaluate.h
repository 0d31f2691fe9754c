// What `bib evaluate` does once gold and predicted documents are at hand, whoever made the predictions.
#pragma once
#include <string>
#include <vector>

#include "train/metrics.h"

namespace bib::cli {

/// What to say about a comparison, and what has to hold.
struct Verdict {
  std::string gold_name, predicted_name;
  FileOf file_of{};        // of gold documents that come from several files
  std::string gold_parts;  // which of them those are, for messages that give their number
  bool json = false;
  bool calibration = false;           // judge the probabilities, too
  std::string errors;                 // file for the mistakes, .html or .jsonl; empty: none
  std::vector<std::string> at_least;  // "f1=0.8": GateFailed below it
};

/// UsageError for an unknown figure, a limit that is no fraction or an unknown kind of file: call before long work.
void check(const Verdict& verdict);

/// Compares, prints the scores, writes the mistakes, then applies the gates.
void conclude_ner(const std::vector<Document>& gold, const std::vector<Document>& predicted, const NerOptions& options,
                  const Verdict& verdict);
void conclude_tc(const std::vector<Document>& gold, const std::vector<Document>& predicted, Bootstrap bootstrap,
                 const Verdict& verdict);

}  // namespace bib::cli
