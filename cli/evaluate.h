// What `bib evaluate` does once gold and predicted documents are at hand, whoever made the predictions.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "bib/ner.h"
#include "bib/tc.h"
#include "cli/corpora.h"
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
  std::string appendix;               // printed behind the report: text or, with `json`, members of its object
};

/// Says in the verdict where the gold documents, which must outlive it, come from.
void set_gold(Verdict& verdict, const Corpora& gold);

/// The gold document with the answer of a model, and its probabilities, in place of the annotation. It keeps its
/// tokens, so that accuracy counts those of the file.
Document answered(Document gold, const NerPrediction& prediction);
Document answered(Document gold, const TcPrediction& prediction);

/// UsageError for an unknown figure, a limit that is no fraction or an unknown kind of file: call before long work.
void check(const Verdict& verdict);

/// How sure the model was of a mistake.
template <class Error>
using Certainty = std::function<std::optional<double>(const Error&)>;

/// Compares, prints the scores, writes the mistakes, then applies the gates. With a certainty, the texts with the
/// mistakes of which the model was surest come first.
void conclude_ner(const std::vector<Document>& gold, const std::vector<Document>& predicted, const NerOptions& options,
                  const Verdict& verdict, const Certainty<SpanError>& certainty = {});
void conclude_tc(const std::vector<Document>& gold, const std::vector<Document>& predicted, Bootstrap bootstrap,
                 const Verdict& verdict, const Certainty<TcError>& certainty = {});

}  // namespace bib::cli
