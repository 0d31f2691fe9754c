// How training shows where it stands: a bar on a terminal, a line an epoch in a log, JSON for programs.
#pragma once
#include <memory>
#include <string>

#include "bib/train.h"

namespace bib::cli {

class ProgressPrinter {
 public:
  virtual ~ProgressPrinter() = default;
  virtual void show(const TrainProgress& progress) = 0;
  /// The model is written: no step follows, however many were planned.
  virtual void finish() {}
};

/// style: auto, bar, plain, json or none. All of it goes to stderr. `metric` is the dev score's name.
std::unique_ptr<ProgressPrinter> make_progress(const std::string& style, Task task, const std::string& metric,
                                               const std::string& model_name, const std::string& item_id);

/// "1h02m", "3m10s", "12s"
std::string duration_text(double seconds);

}  // namespace bib::cli
