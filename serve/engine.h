// The prediction engine: a bounded queue and workers that batch across requests.
// A free worker takes what waits: texts of similar length, of one model and one set of options, up to a number of
// padded units. Nothing is held back to wait for company, so a lone request costs no more than its own computation.
// Requests take turns: a large one gives way after each batch. Work whose deadline has passed, whose client has gone,
// or that has waited too long to be of use leaves the queue before it costs anything.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "serve/metrics.h"
#include "serve/model_store.h"
#include "serve/settings.h"
#include "serve/status.h"

namespace bib::serve {

using Clock = std::chrono::steady_clock;

/// One request on its way through the engine.
struct Work {
  ModelHandle model;
  std::vector<Document> documents;
  NerPredictOptions ner_options;
  TcPredictOptions tc_options;
  Clock::time_point arrived = Clock::now(), deadline = Clock::time_point::max();
  std::atomic<bool> cancelled{false};
  std::string request_id;
  bool patient = false;  // of a stream, which bounds itself: waits instead of being refused

  // The answer, one per document.
  std::vector<NerPrediction> ner;
  std::vector<TcPrediction> tc;
  double queue_seconds = 0, compute_seconds = 0, load_seconds = 0;  // until the first batch; from then to the end
  std::exception_ptr error;
  std::function<void(Work&)> done;  // called once, from a worker

 private:
  friend class Engine;
  std::vector<std::size_t> order;   // longest first
  std::vector<std::int64_t> units;  // code points at most: bytes
  std::size_t next = 0, outstanding = 0;
  std::int64_t left = 0;  // units not yet taken
  Clock::time_point started{};
};

class Engine {
 public:
  Engine(const Settings& settings, Metrics& metrics);
  ~Engine();
  /// Ends the workers; what still waits is answered with UNAVAILABLE.
  void stop();

  /// Takes the work on, or throws Refusal RESOURCE_EXHAUSTED with the time to try again.
  void submit(std::shared_ptr<Work> work);
  /// Estimated wait of a request that comes now, seconds.
  double wait_estimate() const;
  std::size_t queued() const;
  int busy() const { return busy_; }  // workers that compute now

 private:
  struct Slice {
    std::shared_ptr<Work> work;
    std::size_t begin = 0, end = 0;  // of work->order
  };
  std::vector<Slice> take(std::unique_lock<std::mutex>& lock, std::vector<std::shared_ptr<Work>>& dropped);
  bool take_from(const std::shared_ptr<Work>& work, std::vector<Slice>& batch, std::int64_t& longest, int& texts);
  void work_loop(std::stop_token stop, Context& ctx);
  std::int64_t compute(Context& ctx, const std::vector<Slice>& batch);  // its units
  void settle(const std::vector<Slice>& batch, std::exception_ptr error);
  void finish(Work& work);
  std::exception_ptr reason_to_drop(const Work& work, Clock::time_point now, bool standing);
  Refusal overloaded(double retry_after) const;
  std::int64_t waiting_units() const;
  double expected_wait() const;
  bool short_queue() const;
  double units_per_second() const;  // of all workers, as measured lately

  const Settings& settings_;
  Metrics& metrics_;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<std::shared_ptr<Work>> queue_;
  int count_ = 1;                         // workers
  double recent_units_, recent_seconds_;  // of one worker; older batches count less
  std::atomic<int> busy_{0};
  std::vector<std::jthread> workers_;
};

}  // namespace bib::serve
