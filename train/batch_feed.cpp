#include "train/batch_feed.h"

#include <system_error>
#include <utility>

namespace bib {

namespace {
constexpr std::size_t most_ready = 2;
}

BatchFeed::BatchFeed(int first, int end, bool ahead, Make make) : make_(std::move(make)), next_(first), end_(end) {
  if (!ahead) return;
  try {
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error&) {  // there is none left: take() makes them
  }
}

BatchFeed::~BatchFeed() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Batch BatchFeed::take() {
  if (!thread_.joinable()) return make_(next_++);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty() || error_; });
  if (ready_.empty()) std::rethrow_exception(error_);
  Batch batch = std::move(ready_.front());
  ready_.pop_front();
  lock.unlock();
  changed_.notify_all();
  return batch;
}

void BatchFeed::work() {
  std::unique_lock lock(mutex_);
  for (; next_ < end_ && !stop_; ++next_) {
    lock.unlock();
    Batch batch;
    std::exception_ptr error;
    try {
      batch = make_(next_);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error) {
      error_ = error;
    } else {
      ready_.push_back(std::move(batch));
    }
    changed_.notify_all();
    if (error) return;
    changed_.wait(lock, [&] { return ready_.size() < most_ready || stop_; });
  }
}

}  // namespace bib
