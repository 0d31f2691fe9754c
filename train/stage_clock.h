// Adds the time between two points of a prediction to a stage.
#pragma once
#include <chrono>

#include "bib/stages.h"

namespace bib {

class StageClock {
 public:
  explicit StageClock(PredictStages* stages) : stages_(stages) {}

  /// What passed since the last call (or the beginning) belongs to `stage`.
  void end(double PredictStages::*stage) {
    if (!stages_) return;
    const auto now = Clock::now();
    stages_->*stage += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  using Clock = std::chrono::steady_clock;
  PredictStages* stages_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace bib
