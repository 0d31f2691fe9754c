// How training shows where it stands: a bar on a terminal, a line an epoch in a log, JSON for programs.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "bib/train.h"

namespace bib::cli {

/// Of several runs one after another (--repeat, --folds) the steps, the time and what is left are those of all, the
/// epochs and scores the run's own. A run that ends before its last epoch counts in full.
class ProgressPrinter {
 public:
  virtual ~ProgressPrinter() = default;
  void begin_run(int run, int runs, const char* what = "run");  // from 1
  void show(const TrainProgress& progress);
  /// The model is written: no step follows, however many were planned.
  virtual void finish() {}

 protected:
  virtual void draw(const TrainProgress& progress) = 0;
  std::string run_text() const;  // "run 2/5  " of several
  int run_ = 1, runs_ = 1;

 private:
  const char* what_ = "run";
  TrainProgress last_;             // of this run
  std::optional<int> first_step_;  // that a run which was resumed had made already
  std::int64_t units_before_ = 0;
  double seconds_before_ = 0;
};

/// style: auto, bar, plain, json or none. All of it goes to stderr. `metric` is the dev score's name.
std::unique_ptr<ProgressPrinter> make_progress(const std::string& style, Task task, const std::string& metric,
                                               const std::string& model_name, const std::string& item_id);

/// "1h02m", "3m10s", "12s"
std::string duration_text(double seconds);

}  // namespace bib::cli
