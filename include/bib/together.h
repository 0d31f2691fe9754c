// Work that goes to the device as a whole, and answers that are not waited for at once. On the CPU, where run()
// computes, both are what they look like: a function call and a copy.
#pragma once
#include <exception>
#include <type_traits>
#include <utility>

#include "bib/context.h"

namespace bib {

struct CudaFetch;

/// Thrown by an op that cannot be recorded as it is the first to need a library, which has to start outside.
class NotRecordable : public std::exception {
 public:
  const char* what() const noexcept override { return "an op that cannot be recorded the first time"; }
};

/// While it lives, what is enqueued is recorded; finish() sends it off. Inside of another one it does nothing.
class Recording {
 public:
  explicit Recording(Context& ctx);
  ~Recording() { cancel(); }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  void finish();
  /// Forgets what was recorded and not sent off. Whether anything was being recorded.
  bool cancel() noexcept;

 private:
  Context& ctx_;
  bool on_;
};

/// Calls f(), which runs ops, uploads and zeroes, but neither downloads nor waits. On a GPU the ops are launched at
/// once, as one graph that is kept for the next time, and small uploads travel as one copy, while what was enqueued
/// before still computes. Memory that f took from the arena lives on, what it uploaded until the second call after this
/// one. Returns what f returns. Where an op is NotRecordable f is called again, and runs as it comes; nothing of the
/// first call was computed. Throws std::runtime_error when the device refuses.
template <class F>
auto together(Context& ctx, F&& f) {
  {
    Recording recording(ctx);
    const Arena::Mark before = ctx.arena().mark();
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
        f();
        return recording.finish();
      } else {
        auto result = f();
        recording.finish();
        return result;
      }
    } catch (const NotRecordable&) {
      if (!recording.cancel()) throw;
      ctx.arena().rewind(before);
    }
  }
  return f();
}

/// Values on their way to the host: the copy takes its turn behind what was enqueued before; values() waits for it
/// alone.
template <class T>
class Fetched {
 public:
  Fetched(Context& ctx, View<const T, 1> v);
  Fetched(Fetched&& o) noexcept
      : ctx_(o.ctx_), values_(std::move(o.values_)), under_way_(std::exchange(o.under_way_, nullptr)) {}
  Fetched& operator=(Fetched&&) = delete;
  ~Fetched();
  /// Throws std::runtime_error when the device failed meanwhile.
  const std::vector<T>& values();

 private:
  Context& ctx_;
  std::vector<T> values_;
  CudaFetch* under_way_ = nullptr;
};
extern template class Fetched<float>;
extern template class Fetched<double>;

}  // namespace bib
