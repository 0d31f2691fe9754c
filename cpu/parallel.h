// Work split into chunks whose bounds depend on the problem alone, never on the thread count: same bits for any count.
#pragma once
#include <atomic>
#include <type_traits>
#include <vector>

#include "bib/context.h"
#include "cpu/team.h"

namespace bib {

/// Calls f(i) for i in 0..n-1 on the context's threads, each i exactly once; i fixes what is computed and in which
/// order. The first exception is rethrown on the calling thread. Inside f it runs in turn.
template <class F>
void parallel_for(Context& ctx, int n, F&& f) {
  if (ctx.threads() <= 1 || n <= 1) {
    for (int i = 0; i < n; ++i) f(i);
    return;
  }
  using Task = std::remove_reference_t<F>;
  ctx.team().run(
      n, [](void* task, int i) { (*static_cast<Task*>(task))(i); }, const_cast<std::remove_const_t<Task>*>(&f));
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
