#include "serve/engine.h"

#include <algorithm>
#include <utility>

#include "serve/status.h"

namespace bib::serve {
namespace {

constexpr double first_guess = 50'000;  // units a second of a worker, until something was measured
constexpr double memory = 0.95;         // of the speed: what each batch leaves of those before it
// Texts share a batch when the longest is at most this much longer than the shortest: padding is paid for.
constexpr std::int64_t length_ratio = 2, always_short = 16;

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

bool same_kind(const Work& a, const Work& b) {
  return a.model == b.model && a.ner_options.scores == b.ner_options.scores &&
         a.ner_options.nbest == b.ner_options.nbest && a.tc_options.top_k == b.tc_options.top_k &&
         a.tc_options.threshold == b.tc_options.threshold;
}

std::exception_ptr refusal(grpc::StatusCode code, const std::string& message) {
  return std::make_exception_ptr(Refusal(code, message));
}

std::int64_t code_points(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

}  // namespace

Engine::Engine(const Settings& settings, Metrics& metrics)
    : settings_(settings), metrics_(metrics), recent_units_(first_guess), recent_seconds_(1) {
  const int count = settings.workers > 0                     ? settings.workers
                    : settings.device.device == Device::cuda ? 1
                                                             : available_threads();
  count_ = count;
  ContextOptions options = settings.device;
  options.threads = 1;  // parallel across batches: no barriers inside one
  for (int i = 0; i < count; ++i) {
    workers_.emplace_back(
        [this, ctx = std::make_unique<Context>(options)](std::stop_token stop) { work_loop(stop, *ctx); });
  }
}

Engine::~Engine() { stop(); }

void Engine::stop() {
  for (std::jthread& worker : workers_) worker.request_stop();
  for (std::jthread& worker : workers_) worker.join();
  workers_.clear();
  for (const auto& work : std::exchange(queue_, {})) {
    work->error = refusal(grpc::StatusCode::UNAVAILABLE, "the server is going down");
    finish(*work);
  }
}

void Engine::submit(std::shared_ptr<Work> work) {
  const std::size_t n = work->documents.size();
  work->order.resize(n);
  work->units.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    work->order[i] = i;
    work->left += work->units[i] = std::max<std::int64_t>(1, code_points(work->documents[i].text));
  }
  std::stable_sort(work->order.begin(), work->order.end(),
                   [&](std::size_t a, std::size_t b) { return work->units[a] > work->units[b]; });
  (work->model->task() == Task::ner ? (void)work->ner.resize(n) : (void)work->tc.resize(n));
  if (n == 0) return finish(*work);
  {
    const std::lock_guard lock(mutex_);
    const double wait = expected_wait(), limit = settings_.queue_ms / 1000;
    if (!work->patient && wait > limit && !short_queue()) {
      metrics_.rejected.add();
      throw overloaded(std::max(0.001, wait - limit / 2));
    }
    queue_.push_back(std::move(work));
  }
  wake_.notify_one();
}

/// What stands before a newcomer: of each request no more than one turn.
std::int64_t Engine::waiting_units() const {
  std::int64_t units = 0;
  for (const auto& work : queue_) units += std::min(work->left, settings_.batch_units);
  return units;
}

Refusal Engine::overloaded(double retry_after) const {
  return {grpc::StatusCode::RESOURCE_EXHAUSTED,
          "the server has more work than it can do in " + std::to_string(static_cast<int>(settings_.queue_ms)) +
              " ms; try again in a moment",
          "", retry_after};
}

double Engine::units_per_second() const { return recent_units_ / recent_seconds_ * static_cast<double>(count_); }

double Engine::wait_estimate() const {
  const std::lock_guard lock(mutex_);
  return expected_wait();
}

double Engine::expected_wait() const { return static_cast<double>(waiting_units()) / units_per_second(); }

/// A few requests are no overload, however large each is.
bool Engine::short_queue() const { return queue_.size() < 2 * static_cast<std::size_t>(count_); }

std::size_t Engine::queued() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

/// Adds the next texts of the work to the batch, as far as they fit; true when any did.
bool Engine::take_from(const std::shared_ptr<Work>& work, std::vector<Slice>& batch, std::int64_t& longest,
                       int& texts) {
  Slice slice{work, work->next, work->next};
  for (; slice.end < work->order.size() && texts < settings_.batch_texts; ++slice.end, ++texts) {
    const std::int64_t units = work->units[work->order[slice.end]];
    const std::int64_t padded = std::max(longest, units) * (texts + 1);
    const bool alike = units * length_ratio >= longest && units <= longest * length_ratio;
    if (texts > 0 && (padded > settings_.batch_units || !(alike || std::max(longest, units) <= always_short))) break;
    longest = std::max(longest, units);
    work->left -= units;
  }
  if (slice.end == slice.begin) return false;
  work->outstanding += slice.end - slice.begin;
  work->next = slice.end;
  batch.push_back(std::move(slice));
  return true;
}

/// Why the work is not worth computing any more, if so. The estimate that let it in may have been wrong: behind a queue
/// that stands, what has not begun after the time allowed is refused late rather than answered late.
std::exception_ptr Engine::reason_to_drop(const Work& work, Clock::time_point now, bool standing) {
  if (work.deadline <= now) {
    metrics_.expired.add();
    return refusal(grpc::StatusCode::DEADLINE_EXCEEDED, "the deadline passed while the request waited");
  }
  if (work.cancelled) {
    metrics_.cancelled.add();
    return refusal(grpc::StatusCode::CANCELLED, "the client cancelled");
  }
  const double limit = settings_.queue_ms / 1000;
  if (standing && !work.patient && work.started == Clock::time_point{} && seconds(now - work.arrived) > 1.2 * limit) {
    metrics_.rejected.add();
    return std::make_exception_ptr(overloaded(std::max(0.001, limit)));
  }
  return nullptr;
}

/// The oldest request's texts first, then whatever goes with them. Empty when the engine stops.
std::vector<Engine::Slice> Engine::take(std::unique_lock<std::mutex>&, std::vector<std::shared_ptr<Work>>& dropped) {
  std::vector<Slice> batch;
  // Served in part: the rest of a small request comes next, that of a large one gives way to all others.
  std::deque<std::shared_ptr<Work>> next, turned;
  std::int64_t longest = 0;
  int texts = 0;
  const Clock::time_point now = Clock::now();
  const bool behind = expected_wait() > settings_.queue_ms / 2000;
  for (auto it = queue_.begin(); it != queue_.end() && texts < settings_.batch_texts;) {
    const std::shared_ptr<Work> work = *it;
    // As many as are let in however long the wait are not dropped either, and what is left may be as few.
    const bool standing = behind && queue_.size() > 2 * static_cast<std::size_t>(count_);
    if (!work->error) work->error = reason_to_drop(*work, now, standing);
    if (work->error) {
      it = queue_.erase(it);
      work->next = work->order.size();
      if (work->outstanding == 0) dropped.push_back(work);  // else its last batch finishes it
      continue;
    }
    if (!batch.empty() && !same_kind(*batch.front().work, *work)) {
      ++it;
      continue;
    }
    if (work->started == Clock::time_point{}) work->started = now;
    const bool taken = take_from(work, batch, longest, texts);
    if (!taken) {
      if (batch.empty()) break;
      if (work->outstanding == 0) work->started = {};
      ++it;
      continue;
    }
    it = queue_.erase(it);
    if (work->next < work->order.size()) (work->left <= settings_.batch_units ? next : turned).push_back(work);
  }
  queue_.insert(queue_.begin(), next.begin(), next.end());
  queue_.insert(queue_.end(), turned.begin(), turned.end());
  return batch;
}

void Engine::work_loop(std::stop_token stop, Context& ctx) {
  for (;;) {
    std::vector<std::shared_ptr<Work>> dropped;
    std::vector<Slice> batch;
    {
      std::unique_lock lock(mutex_);
      if (!wake_.wait(lock, stop, [&] { return !queue_.empty(); })) return;
      batch = take(lock, dropped);
      if (!queue_.empty()) wake_.notify_one();
    }
    for (const auto& work : dropped) finish(*work);
    if (batch.empty()) continue;
    ++busy_;
    const auto begin = Clock::now();
    const std::int64_t units = compute(ctx, batch);
    const double took = seconds(Clock::now() - begin);  // with handing the answers over
    --busy_;
    const std::lock_guard lock(mutex_);
    recent_units_ = memory * recent_units_ + static_cast<double>(units);
    recent_seconds_ = memory * recent_seconds_ + took;
  }
}

std::int64_t Engine::compute(Context& ctx, const std::vector<Slice>& batch) {
  const Work& first = *batch.front().work;
  std::size_t texts = 0;
  std::int64_t units = 0;
  for (const Slice& s : batch) {
    texts += s.end - s.begin;
    for (std::size_t i = s.begin; i < s.end; ++i) units += s.work->units[s.work->order[i]];
  }
  std::exception_ptr error;
  PredictStages stages;
  try {
    std::vector<Document> documents;
    for (const Slice& s : batch) {
      for (std::size_t i = s.begin; i < s.end; ++i) {
        documents.push_back({.text = s.work->documents[s.work->order[i]].text});
      }
    }
    const auto scatter = [&](auto predictions, auto member) {
      std::size_t at = 0;
      for (const Slice& s : batch) {
        for (std::size_t i = s.begin; i < s.end; ++i) {
          ((*s.work).*member)[s.work->order[i]] = std::move(predictions[at++]);
        }
      }
    };
    if (const auto* ner = std::get_if<NerModel>(&first.model->model)) {
      NerPredictOptions options = first.ner_options;
      options.stages = &stages;
      options.dictionary = first.model->dictionary.get();
      scatter(ner->predict(ctx, documents, options), &Work::ner);
    } else {
      TcPredictOptions options = first.tc_options;
      options.stages = &stages;
      scatter(std::get<TcModel>(first.model->model).predict(ctx, documents, options), &Work::tc);
    }
  } catch (...) {
    error = std::current_exception();
  }
  ctx.arena().reset();
  metrics_.tokenise.observe(stages.encode);
  metrics_.compute.observe(stages.network);
  metrics_.decode.observe(stages.decode);
  metrics_.batches.add();
  metrics_.texts.add(texts);
  metrics_.units.add(static_cast<std::uint64_t>(units));
  settle(batch, error);
  return units;
}

/// Counts the batch off its requests and finishes those that are complete.
void Engine::settle(const std::vector<Slice>& batch, std::exception_ptr error) {
  std::vector<std::shared_ptr<Work>> complete;
  {
    const std::lock_guard lock(mutex_);
    for (const Slice& s : batch) {
      if (error) s.work->error = error;
      s.work->outstanding -= s.end - s.begin;
      if (s.work->outstanding == 0 && s.work->next == s.work->order.size()) complete.push_back(s.work);
    }
  }
  for (const auto& work : complete) finish(*work);
}

void Engine::finish(Work& work) {
  const auto now = Clock::now();
  work.queue_seconds = seconds((work.started == Clock::time_point{} ? now : work.started) - work.arrived);
  work.compute_seconds = work.started == Clock::time_point{} ? 0 : seconds(now - work.started);
  metrics_.queue.observe(work.queue_seconds);
  metrics_.total.observe(seconds(now - work.arrived));
  work.done(work);
}

}  // namespace bib::serve
