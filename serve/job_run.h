// One training job from its request on disk to a published model.
#pragma once
#include "serve/jobs.h"

namespace bib::serve {

double unix_time();

class Jobs::Run {
 public:
  Run(Jobs& jobs, Job& job) : jobs_(jobs), job_(job) {}
  void run();

 private:
  TrainRequest request() const;
  void train_model();
  bool on_progress(const TrainProgress& p);
  v1::TrainProgress record_of(const TrainProgress& p) const;
  void set_version(int version);
  void publish(const std::string& file);
  void end(int state, int code = 0, const std::string& error = "");

  Jobs& jobs_;
  Job& job_;
  std::optional<TrainProgress> held_;  // the last step: told once the model is published
  std::optional<double> base_score_;
  std::chrono::steady_clock::time_point flushed_{};
};

}  // namespace bib::serve
