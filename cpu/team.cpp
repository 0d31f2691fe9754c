#include "cpu/team.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

namespace bib {
namespace {

constexpr std::uint32_t inside = (1u << 10) - 1, quit = 1u << 10, open = 1u << 11, generation = 1u << 12;
constexpr std::chrono::microseconds patience{50};  // about what it costs to sleep and be woken

/// Says to the CPU that this is a loop that waits.
void relax() {
#if defined(__aarch64__)
  asm volatile("yield");
#else
  __builtin_ia32_pause();
#endif
}

/// Tries for a while; false when `patience` is over.
template <class F>
bool spin_until(F&& done) {
  const auto end = std::chrono::steady_clock::now() + patience;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

#ifdef BIB_TSAN  // ThreadSanitizer does not see how libgomp, built without it, hands `this` to its threads
constexpr bool openmp = false;
#else
constexpr bool openmp = true;
#endif

/// Adds n threads that call f(), or as many as the system still gives. Whether it gave them all.
template <class F>
bool add_threads(std::vector<std::thread>& to, int n, const F& f) noexcept {
  try {
    for (int i = 0; i < n; ++i) to.emplace_back(f);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

/// Whether the system would give n more threads, found out by starting them.
bool room_for(int n) {
  std::atomic<bool> over{false};
  std::vector<std::thread> tried;
  const bool room = add_threads(tried, n, [&] { over.wait(false); });
  over = true;
  over.notify_all();
  for (std::thread& t : tried) t.join();
  return room;
}

}  // namespace

// With fewer threads than it asked for a team is slower, never wrong. libgomp, though, ends the process when it cannot
// start one, so it is asked only where there is room for twice as many: what was tried may be counted a little longer.
Team::Team(int workers, bool spin) : spin_(spin) {
  workers = std::min(workers, static_cast<int>(inside));
  add_threads(threads_, 1, [this, workers] {
    if (openmp && workers > 1 && room_for(2 * (workers - 1))) {
#pragma omp parallel num_threads(workers)
      work();
    } else {
      std::vector<std::thread> others;
      add_threads(others, workers - 1, [this] { work(); });
      work();
      for (std::thread& t : others) t.join();
    }
  });
}

Team::~Team() {
  state_.fetch_or(quit);
  state_.notify_all();
  for (std::thread& t : threads_) t.join();
}

void Team::run(int n, void (*task)(void*, int), void* f) {
  if (busy_) {
    for (int i = 0; i < n; ++i) task(f, i);
    return;
  }
  busy_ = true;
  n_ = n;
  task_ = task;
  f_ = f;
  next_.store(0, std::memory_order_relaxed);
  const std::uint32_t now = state_.load(std::memory_order_relaxed);  // nobody is inside: only the caller changes it
  state_.store((now & ~(inside | open)) + generation + open);
  state_.notify_all();  // costs a system call only while a thread sleeps
  take_tasks();
  state_.fetch_and(~open);
  wait_for_others();
  busy_ = false;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Team::take_tasks() {
  // Relaxed: an order between tasks would hide their races from ThreadSanitizer.
  for (int i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < n_;) {
    try {
      task_(f_, i);
    } catch (...) {
      const std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }
}

void Team::wait_for_others() {
  std::uint32_t s = 0;
  const auto done = [&] { return ((s = state_.load(std::memory_order_acquire)) & inside) == 0; };
  if (done() || (spin_ && spin_until(done))) return;
  while (!done()) state_.wait(s);
}

/// Joins the job of `state` unless it has ended; `state` is brought up to date.
bool Team::enter(std::uint32_t& state) {
  const std::uint32_t mine = state & ~(inside | open | quit);
  while ((state & open) && (state & ~(inside | open | quit)) == mine)
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire)) return true;
  return false;
}

void Team::work() {
  std::uint32_t state = 0, seen = 0;
  const auto fresh = [&] {
    state = state_.load(std::memory_order_acquire);
    return (state & quit) || ((state & open) && (state & ~(inside | open)) != seen);
  };
  for (;;) {
    if (!fresh() && !(spin_ && spin_until(fresh)))
      while (!fresh()) state_.wait(state);
    if (state & quit) break;
    seen = state & ~(inside | open);
    if (!enter(state)) continue;
    take_tasks();
    const std::uint32_t before = state_.fetch_sub(1, std::memory_order_release);
    if ((before & inside) == 1 && !(before & open)) state_.notify_all();  // the caller may sleep until the last leaves
  }
}

}  // namespace bib
