// A thread for each HTTP connection, made when one comes and no thread is free. httplib's own pool has a fixed number:
// as many clients that keep their connections would leave none for the probes of the orchestrator.
#pragma once
#include <httplib.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>

namespace bib::serve {

class HttpThreads : public httplib::TaskQueue {
 public:
  /// Connections beyond `most` wait until one is closed, as do all beyond those that the system has threads for: at
  /// least one, which stays.
  explicit HttpThreads(std::size_t most) : most_(most) { add_thread(); }
  ~HttpThreads() override { shutdown(); }

  void enqueue(std::function<void()> connection) override {
    const std::lock_guard lock(mutex_);
    join_ended();
    waiting_.push_back(std::move(connection));
    if (waiting_.size() > free_ && threads_.size() < most_) {
      try {
        add_thread();
      } catch (const std::system_error&) {  // it waits for one of the others
      }
    }
    changed_.notify_one();
  }

  void shutdown() override {
    std::unique_lock lock(mutex_);
    ending_ = true;
    changed_.notify_all();
    none_left_.wait(lock, [&] { return threads_.empty(); });
    join_ended();
  }

 private:
  using Threads = std::list<std::thread>;

  void add_thread() {
    threads_.emplace_front();
    try {
      threads_.front() = std::thread([this, me = threads_.begin()] { serve(me); });
    } catch (const std::system_error&) {
      threads_.pop_front();
      throw;
    }
  }

  void serve(Threads::iterator me) {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++free_;
      changed_.wait_for(lock, std::chrono::seconds(10), [&] { return !waiting_.empty() || ending_; });
      --free_;
      if (waiting_.empty() && (ending_ || threads_.size() > 1)) break;  // there was nothing to do for so long
      if (waiting_.empty()) continue;
      const auto connection = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      connection();
      lock.lock();
    }
    ended_.splice(ended_.end(), threads_, me);
    if (threads_.empty()) none_left_.notify_all();
  }

  void join_ended() {  // they need the mutex no more
    for (std::thread& t : ended_) t.join();
    ended_.clear();
  }

  const std::size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_, none_left_;
  std::deque<std::function<void()>> waiting_;  // for a thread
  Threads threads_, ended_;
  std::size_t free_ = 0;
  bool ending_ = false;
};

}  // namespace bib::serve
