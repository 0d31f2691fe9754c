// The original BIB system's progress record: one JSON object a step, its nine keys first, ours behind them.
#pragma once
#include <chrono>
#include <string>

#include "bib/train.h"

namespace bib {

struct ProgressRecord {
  Task task = Task::ner;
  std::string detail = "Train";  // or "Predict"
  std::string model_name, pipeline_item_id;
  std::chrono::system_clock::time_point start;
  double estimate = 0;  // seconds from start to end, as estimated now
  double progress = 0;  // 0..1
  int step = 0;
  int run = 1, runs = 1;  // told where there are several
  bool done = false;      // status "Done", else "Pending"
};

/// "2021-02-15T03:06:12.000+00:00"
std::string iso_time(std::chrono::system_clock::time_point t);

/// One line of JSON, without the newline; `more` (from TrainProgress) adds epoch, loss, lr, units_per_second,
/// dev_score.
std::string to_json(const ProgressRecord& record, const TrainProgress* more = nullptr);

}  // namespace bib
