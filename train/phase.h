// Adds the time of a scope to a phase of training.
#pragma once
#include <chrono>
#include <utility>

#include "bib/train.h"

namespace bib {

/// Phases may nest: a scope's time counts once, in the innermost phase. One thread per profile.
class Phase {
 public:
  Phase(TrainProfile* profile, double TrainProfile::*phase) : profile_(profile), phase_(phase) {
    if (profile_) outer_ = std::exchange(current(), this), begin_ = Clock::now();
  }
  ~Phase() {
    if (!profile_) return;
    const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
    profile_->*phase_ += seconds - inner_;
    if (outer_) outer_->inner_ += seconds;
    current() = outer_;
  }
  Phase(const Phase&) = delete;
  Phase& operator=(const Phase&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  static Phase*& current() {
    static thread_local Phase* innermost = nullptr;
    return innermost;
  }

  TrainProfile* profile_;
  double TrainProfile::*phase_;
  Phase* outer_ = nullptr;
  double inner_ = 0;  // seconds that belong to phases inside this one
  Clock::time_point begin_;
};

}  // namespace bib
