// bib train --repeat: one training with several seeds, what its scores and times spread, and the best of the models.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "bib/train.h"
#include "cli/progress.h"

namespace bib::cli {

struct RepeatOptions {
  std::string output;  // the model; while training runs it is that of the best run so far
  int times = 1;
  bool dev_given = false;  // else it is drawn
  bool resume = false, quiet = false;
  std::string data;  // identifies what is learned from, so that no run is counted that learned from other data
};

struct Repeated {
  TrainResult best;  // or, where it was interrupted, no more than that
  std::uint64_t seed = 0;
};

/// Trains with this configuration to `output`, going on from its checkpoint if `resume`.
using TrainOnce = std::function<TrainResult(const Config&, const std::string& output, bool resume)>;

/// UsageError where runs could not be compared, or would not learn from the same texts: call before long work.
void check_repeat(const Config& config, int times, bool dev_given);

/// Runs k = 0, 1, ... take the seed config.seed + k and OUTPUT.seedN for their model and checkpoint. Where the dev set
/// is drawn, all of them take the one that config.seed draws, so that the spread is the training's own. Finished runs
/// are kept in OUTPUT.repeat until the last has ended. The table goes to standard output.
Repeated train_repeatedly(const Config& config, const RepeatOptions& options, ProgressPrinter& progress,
                          const TrainOnce& train_once);

/// The file of finished runs.
std::string finished_runs_of(const std::string& output);

}  // namespace bib::cli
