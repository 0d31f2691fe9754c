#include "serve/engine.h"

#include <algorithm>
#include <utility>

#include "serve/status.h"

namespace bib::serve {
namespace {

constexpr double first_guess = 50'000;  // units a second, until something was measured
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
    : settings_(settings), metrics_(metrics), units_per_second_(first_guess) {
  const int count = settings.workers > 0                     ? settings.workers
                    : settings.device.device == Device::cuda ? 1
                                                             : available_threads();
  count_ = count;
  for (int i = 0; i < count; ++i) {
    workers_.emplace_back([this](std::stop_token stop) { work_loop(stop); });
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
    const double wait = static_cast<double>(waiting_units()) / units_per_second_, limit = settings_.queue_ms / 1000;
    if (!work->patient && wait > limit) {
      metrics_.rejected.add();
      throw Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED,
                    "the server has more work than it can do in " +
                        std::to_string(static_cast<int>(settings_.queue_ms)) + " ms; try again in a moment",
                    "", std::max(0.001, wait - limit / 2));
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

double Engine::wait_estimate() const {
  const std::lock_guard lock(mutex_);
  return static_cast<double>(waiting_units()) / units_per_second_;
}

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

/// The oldest request's texts first, then whatever goes with them. Empty when the engine stops.
std::vector<Engine::Slice> Engine::take(std::unique_lock<std::mutex>&, std::vector<std::shared_ptr<Work>>& dropped) {
  std::vector<Slice> batch;
  std::deque<std::shared_ptr<Work>> turned;  // served in part: to the back of the queue
  std::int64_t longest = 0;
  int texts = 0;
  const Clock::time_point now = Clock::now();
  for (auto it = queue_.begin(); it != queue_.end() && texts < settings_.batch_texts;) {
    const std::shared_ptr<Work> work = *it;
    const bool expired = work->deadline <= now;
    if ((expired || work->cancelled) && !work->error) {
      (expired ? metrics_.expired : metrics_.cancelled).add();
      work->error = expired
                        ? refusal(grpc::StatusCode::DEADLINE_EXCEEDED, "the deadline passed while the request waited")
                        : refusal(grpc::StatusCode::CANCELLED, "the client cancelled");
    }
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
    if (work->next < work->order.size()) turned.push_back(work);
  }
  queue_.insert(queue_.end(), turned.begin(), turned.end());
  return batch;
}

void Engine::work_loop(std::stop_token stop) {
  ContextOptions options = settings_.device;
  options.threads = 1;  // parallel across batches: no barriers inside one
  Context ctx(options);
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
    compute(ctx, batch);
    --busy_;
  }
}

void Engine::compute(Context& ctx, const std::vector<Slice>& batch) {
  const auto begin = Clock::now();
  const Work& first = *batch.front().work;
  std::vector<Document> documents;
  std::int64_t units = 0;
  for (const Slice& s : batch) {
    for (std::size_t i = s.begin; i < s.end; ++i) {
      documents.push_back({.text = s.work->documents[s.work->order[i]].text});
      units += s.work->units[s.work->order[i]];
    }
  }
  std::exception_ptr error;
  PredictStages stages;
  try {
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
  const double took = seconds(Clock::now() - begin);
  metrics_.tokenise.observe(stages.encode);
  metrics_.compute.observe(stages.network);
  metrics_.decode.observe(stages.decode);
  metrics_.batches.add();
  metrics_.texts.add(documents.size());
  metrics_.units.add(static_cast<std::uint64_t>(units));
  settle(batch, units, took, error);
}

/// Counts the batch off its requests and finishes those that are complete.
void Engine::settle(const std::vector<Slice>& batch, std::int64_t units, double took, std::exception_ptr error) {
  std::vector<std::shared_ptr<Work>> complete;
  {
    const std::lock_guard lock(mutex_);
    const double rate = static_cast<double>(units) / std::max(1e-6, took) * static_cast<double>(count_);
    units_per_second_ += 0.1 * (rate - units_per_second_);
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
