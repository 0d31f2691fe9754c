// The batches of an epoch in their order. A thread may make them ahead of the trainer.
#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "models/batch.h"

namespace bib {

class BatchFeed {
 public:
  using Make = std::function<Batch(int)>;  // the batch of this number; called by one thread at a time, in rising order

  /// `make` is called for first, first + 1, ... end - 1: by take() itself, or with `ahead` by a thread of the feed's
  /// own, which is at most two batches in front.
  BatchFeed(int first, int end, bool ahead, Make make);
  ~BatchFeed();  // does not wait for batches that nobody took, but for the one being made
  BatchFeed(const BatchFeed&) = delete;
  BatchFeed& operator=(const BatchFeed&) = delete;

  /// The next one, waited for if need be; not to be called more often than there are batches. Throws what `make` threw.
  Batch take();

 private:
  void work();

  const Make make_;
  int next_;  // to be made
  const int end_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  std::exception_ptr error_;
  bool stop_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace bib
