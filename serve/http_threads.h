// A thread for each HTTP connection, made when one comes and no thread is free.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>

namespace bib::serve {

class HttpThreads {
 public:
  /// Throws std::system_error where the system has no thread for it: one stays. Connections beyond the threads that it
  /// has wait until one is closed.
  HttpThreads() { add_thread(); }
  /// Waits for the connections.
  ~HttpThreads() {
    std::unique_lock lock(mutex_);
    ending_ = true;
    changed_.notify_all();
    none_left_.wait(lock, [&] { return threads_.empty(); });
    join_ended();
  }
  HttpThreads(const HttpThreads&) = delete;
  HttpThreads& operator=(const HttpThreads&) = delete;

  void enqueue(std::function<void()> connection) {
    const std::lock_guard lock(mutex_);
    join_ended();
    waiting_.push_back(std::move(connection));
    if (waiting_.size() > free_) {
      try {
        add_thread();
      } catch (const std::system_error&) {  // it waits for one of the others
      }
    }
    changed_.notify_one();
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

  std::mutex mutex_;
  std::condition_variable changed_, none_left_;
  std::deque<std::function<void()>> waiting_;  // for a thread
  Threads threads_, ended_;
  std::size_t free_ = 0;
  bool ending_ = false;
};

}  // namespace bib::serve
