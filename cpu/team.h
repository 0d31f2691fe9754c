// The threads of a context: OpenMP's, asked for once, with a hand-out of work that waits for nobody who is late.
//
// A `parallel for` of OpenMP wakes every thread of its team and waits for each of them, though the work may be done
// before the last one is awake. A training step has some fifty loops of 10 to 500 us, so that costs more than it gains,
// and on a machine with other work on it a hundred times as much. Here the caller begins at once; a thread that comes
// in time takes what is left, and one that does not is not waited for.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace bib {

class Team {
 public:
  /// `workers` threads beside the one that calls run(), at least 1, or as many as the system gives. They look for work
  /// for some microseconds after the last, then sleep; with `spin` false they sleep at once.
  Team(int workers, bool spin);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  /// Calls task(f, i) for i in 0..n-1, each i once, and returns when all calls have. The first exception is rethrown
  /// when no call is running any more. Only from the thread that owns the context; from within a task: in turn, on the
  /// calling thread.
  void run(int n, void (*task)(void* f, int i), void* f);

 private:
  void work();
  bool enter(std::uint32_t& state);
  void take_tasks();
  void wait_for_others();

  // One word, so that a thread can never enter a job that is being closed:
  // generation << 12 | open << 11 | quit << 10 | threads inside
  alignas(64) std::atomic<std::uint32_t> state_{0};
  alignas(64) std::atomic<int> next_{0};
  alignas(64) int n_ = 0;
  void (*task_)(void*, int) = nullptr;
  void* f_ = nullptr;
  std::exception_ptr error_;
  std::mutex error_mutex_;
  const bool spin_;
  bool busy_ = false;  // the caller is inside run()
  std::vector<std::thread> threads_;
};

}  // namespace bib
