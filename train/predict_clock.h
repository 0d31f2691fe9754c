// Where the time of a prediction goes, whose batches may run beside each other.
#pragma once
#include <atomic>
#include <chrono>

#include "bib/stages.h"

namespace bib {

/// Adds to the stages when it ends: first the time until encoded(), then the rest, divided between network and decode
/// as the pieces' own times are, which overlap.
class PredictClock {
 public:
  explicit PredictClock(PredictStages* stages) : stages_(stages) {}
  PredictClock(const PredictClock&) = delete;
  PredictClock& operator=(const PredictClock&) = delete;
  ~PredictClock() {
    if (!stages_) return;
    const double rest = seconds(encoded_, Clock::now()), network = network_.load(), sum = network + decode_.load();
    const double share = sum > 0 ? network / sum : 0;
    stages_->encode += seconds(started_, encoded_);
    stages_->network += rest * share;
    stages_->decode += rest * (1 - share);
  }

  void encoded() { encoded_ = Clock::now(); }

  /// One batch, on the thread that computes it: its network until scored(), its decoding until it ends.
  class Piece;

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds(Clock::time_point a, Clock::time_point b) {
    return std::chrono::duration<double>(b - a).count();
  }

  PredictStages* stages_;
  const Clock::time_point started_ = Clock::now();
  Clock::time_point encoded_ = started_;
  std::atomic<double> network_{0}, decode_{0};
};

class PredictClock::Piece {
 public:
  explicit Piece(PredictClock& whole) : whole_(whole) {}
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;
  ~Piece() {
    whole_.network_ += seconds(started_, scored_);
    whole_.decode_ += seconds(scored_, Clock::now());
  }
  void scored() { scored_ = Clock::now(); }

 private:
  PredictClock& whole_;
  const Clock::time_point started_ = Clock::now();
  Clock::time_point scored_ = started_;
};

}  // namespace bib
