// Work split into chunks whose bounds depend on the problem alone, never on the thread count: same bits for any count.
#pragma once
#include <atomic>
#include <exception>
#include <vector>

#include "bib/context.h"
#ifdef BIB_TSAN
#include <mutex>
#include <thread>
#endif

namespace bib {

#ifdef BIB_TSAN
/// The same work on plain threads: ThreadSanitizer does not see the barriers of libgomp, which is built without it.
template <class F>
void parallel_for_tsan(int threads, int n, F& f, std::exception_ptr& error) {
  std::atomic<int> next{0};
  std::mutex mutex;
  const auto work = [&] {
    // Relaxed: an order between tasks would hide their races.
    for (int i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) try {
        f(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
      }
  };
  std::vector<std::jthread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(work);
  work();
}
#endif

/// Calls f(i) for i in 0..n-1 on the context's threads, each i exactly once; i fixes what is computed and in which
/// order. The first exception is rethrown on the calling thread.
template <class F>
void parallel_for(Context& ctx, int n, F&& f) {
  const int threads = ctx.threads() < n ? ctx.threads() : n;
  if (threads <= 1) {
    for (int i = 0; i < n; ++i) f(i);
    return;
  }
  std::exception_ptr error;
#ifdef BIB_TSAN
  parallel_for_tsan(threads, n, f, error);
#else
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int i = 0; i < n; ++i) {
    try {
      f(i);
    } catch (...) {
#pragma omp critical(bib_parallel_error)
      if (!error) error = std::current_exception();
    }
  }
#endif
  if (error) std::rethrow_exception(error);
}

/// Tasks 0..count-1 of a kind.
template <class F>
struct Tasks {
  int count;
  F run;
};
template <class F>
Tasks(int, F) -> Tasks<F>;

/// Several kinds of tasks that do not depend on each other, as one parallel region; the first kinds start first.
template <class... F>
void parallel_tasks(Context& ctx, const Tasks<F>&... kinds) {
  parallel_for(ctx, (kinds.count + ...),
               [&](int i) { (void)((i < kinds.count ? (kinds.run(i), true) : (i -= kinds.count, false)) || ...); });
}

/// Chunks [begin,end) of 0..n-1, `grain` long but for the last.
template <class F>
void parallel_chunks(Context& ctx, std::int64_t n, std::int64_t grain, F&& f) {
  const int chunks = static_cast<int>((n + grain - 1) / grain);
  parallel_for(ctx, chunks, [&](int i) {
    const std::int64_t begin = i * grain, end = begin + grain < n ? begin + grain : n;
    f(begin, end);
  });
}

/// parallel_for with scratch: calls f(scratch, i), where no two calls share a scratch at the same time. make() is
/// called on the calling thread, so it may take from the context's arena, as often as calls run at once.
template <class Make, class F>
void parallel_for_with(Context& ctx, int n, Make&& make, F&& f) {
  const int workers = ctx.threads() < n ? ctx.threads() : n;
  std::vector<decltype(make())> scratch;
  for (int w = 0; w < workers; ++w) scratch.push_back(make());
  std::atomic<int> next{0};
  parallel_for(ctx, workers, [&](int w) {
    for (int i; (i = next.fetch_add(1)) < n;) f(scratch[w], i);
  });
}

}  // namespace bib
