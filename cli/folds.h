// bib train --folds: every text answered by a model that has not seen it, the report over all of them, and the mistakes
// of which those models were surest, which are the likely ones of the annotation.
#pragma once
#include "bib/train.h"
#include "cli/corpora.h"
#include "cli/evaluate.h"
#include "cli/progress.h"

namespace bib::cli {

struct FoldOptions {
  int folds = 2;
  bool quiet = false;
  ContextOptions context;  // each fold has one of its own
  Verdict verdict;         // what to print and write of the answers
};

/// Trains folds.folds models in memory, one after another, each on the other parts; nothing of them stays. False where
/// options.progress stopped it: nothing is printed then.
bool cross_validate(const Config& config, FoldOptions folds, Corpora gold, const Corpora& dev,
                    ProgressPrinter& progress, const TrainOptions& options);

}  // namespace bib::cli
