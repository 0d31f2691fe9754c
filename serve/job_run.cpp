#include "serve/job_run.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "bib/error.h"
#include "serve/log.h"
#include "train/progress_record.h"

namespace bib::serve {
namespace {

namespace fs = std::filesystem;
constexpr int most_records = 10'000;  // of one job; longer ones report every few steps
constexpr auto flush_interval = std::chrono::milliseconds(200);

std::chrono::system_clock::time_point time_point(double seconds) {
  return std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::duration<double>(seconds)));
}

/// Where all cores train, a prediction may wait for the kernel's next tick to get one, however nice the job is.
int threads_of_job(const Settings& s) {
  return s.train_threads == 0 && s.predicts() ? std::max(1, available_threads() - 1) : s.train_threads;
}

}  // namespace

void Jobs::Run::run() {
  setpriority(PRIO_PROCESS, 0, jobs_.app_.settings.train_nice);  // of this thread and those it starts
  try {
    train_model();
  } catch (...) {
    const grpc::Status status = status_of_current_exception(nullptr);
    end(v1::FAILED, status.error_code(), status.error_message());
  }
}

TrainRequest Jobs::Run::request() const {
  const std::string folder = jobs_.folder(job_.row.id), bytes = read_file(folder + "/request");
  if (bytes.empty()) throw Refusal(grpc::StatusCode::DATA_LOSS, "its folder " + folder + " is gone");
  TrainRequest r{.task = bytes.rfind('n', 0) == 0 ? Task::ner : Task::tc};
  const char* data = bytes.data() + 1;
  const int size = static_cast<int>(bytes.size()) - 1;
  const bool read =
      size >= 0 && (r.task == Task::ner ? r.ner.ParseFromArray(data, size) : r.tc.ParseFromArray(data, size));
  if (!read) throw Refusal(grpc::StatusCode::DATA_LOSS, "the stored request of job " + job_.row.id + " cannot be read");
  return r;
}

void Jobs::Run::train_model() {
  const Settings& settings = jobs_.app_.settings;
  if (const auto version = jobs_.app_.repository.version_of_job(job_.row.model_name, job_.row.id)) {
    set_version(*version);  // the server ended between publishing and saying so
    return end(v1::SUCCEEDED);
  }
  const TrainRequest r = request();
  const std::string base = r.options().base_model().empty() ? "" : jobs_.folder(job_.row.id) + "/" + base_file;
  const Config config = config_of(settings, r, base);
  std::vector<Document> documents = documents_of(settings, jobs_.folder(job_.row.id), r);
  ContextOptions device = settings.device;
  device.threads = threads_of_job(settings);
  Context ctx(device);
  log("job " + job_.row.id + " trains on " +
      (ctx.device() == Device::cpu ? std::to_string(ctx.threads()) + " CPU threads" : "the GPU"));
  const std::string output = jobs_.folder(job_.row.id) + "/model.bib";
  const TrainOptions options{
      .output = output,
      .base = base,
      .resume = fs::exists(output + ".checkpoint"),
      .checkpoint_seconds = settings.checkpoint_seconds,
      .progress = [this](const TrainProgress& p) { return on_progress(p); },
      .warn = [this](const std::string& text) { log("job " + job_.row.id + ": " + text, Level::warning); }};
  const TrainResult result = train(ctx, config, std::move(documents), {}, options);
  if (result.interrupted) return end(job_.cancel ? v1::CANCELLED : v1::INTERRUPTED);
  base_score_ = result.base_score;
  publish(output);
}

bool Jobs::Run::on_progress(const TrainProgress& p) {
  {
    const std::lock_guard lock(jobs_.mutex_);  // leave_to_next may write the state
    if (job_.row.state != v1::RUNNING && !job_.stop) jobs_.set_state(job_, v1::RUNNING);
  }
  const int every = std::max(1, p.steps / most_records);
  if (p.step >= p.steps) {
    held_ = p;
  } else if (p.step % every == 0 || p.epoch_done) {
    jobs_.add_record(job_, v1::RUNNING, record_of(p));
  }
  const auto now = std::chrono::steady_clock::now();
  if (now - flushed_ > flush_interval) {
    jobs_.flush(job_);
    flushed_ = now;
  }
  return !job_.stop;
}

v1::TrainProgress Jobs::Run::record_of(const TrainProgress& p) const {
  v1::TrainProgress r;
  r.set_start(iso_time(time_point(job_.row.started)));
  r.set_estimate(unix_time() - job_.row.started + p.remaining);
  r.set_progress(p.steps ? static_cast<double>(p.step) / p.steps : 1);
  r.set_step(p.step);
  r.set_epoch(p.epoch);
  r.set_epochs(p.epochs);
  r.mutable_remaining()->set_seconds(static_cast<std::int64_t>(p.remaining));
  r.mutable_remaining()->set_nanos(
      static_cast<int>((p.remaining - static_cast<double>(static_cast<std::int64_t>(p.remaining))) * 1e9));
  auto& metrics = *r.mutable_metrics();
  metrics["loss"] = p.loss;
  metrics["lr"] = static_cast<double>(p.lr);
  metrics["units_per_second"] = p.seconds > 0 ? static_cast<double>(p.units) / p.seconds : 0;
  if (p.dev_score) metrics["dev_score"] = *p.dev_score;
  if (p.best_score) metrics["best_score"] = *p.best_score;
  return r;
}

void Jobs::Run::publish(const std::string& file) {
  {
    const std::lock_guard lock(jobs_.mutex_);
    jobs_.set_state(job_, v1::SAVING);
  }
  const int version = jobs_.app_.repository.publish(job_.row.model_name, file, job_.row.id);
  set_version(version);
  if (jobs_.app_.store) jobs_.app_.store->refresh();
  end(v1::SUCCEEDED);
}

void Jobs::Run::set_version(int version) {
  const std::lock_guard lock(jobs_.mutex_);
  job_.row.version = std::to_string(version);
}

/// The last record carries the final state; then the job's folder goes, unless it can be resumed.
void Jobs::Run::end(int state, int code, const std::string& error) {
  // What is wrong with data is said by quoting them.
  const bool quotes = code == grpc::StatusCode::INVALID_ARGUMENT && !jobs_.app_.settings.log_texts;
  log("job " + job_.row.id + " (" + job_.row.model_name + ") " +
          (state == v1::SUCCEEDED ? "is done: version " + job_.row.version
           : state == v1::FAILED  ? "failed: " + (quotes ? "its data cannot be learned from, GetJob says why" : error)
           : state == v1::INTERRUPTED ? "is interrupted, its checkpoint is kept"
                                      : "is cancelled, its checkpoint is kept"),
      state == v1::FAILED && code != grpc::StatusCode::INVALID_ARGUMENT ? Level::error : Level::info);
  v1::TrainProgress record = held_ ? record_of(*held_) : job_.last;
  record.clear_heartbeat();
  record.set_progress(state == v1::SUCCEEDED ? 1 : record.progress());
  if (state == v1::SUCCEEDED) {
    record.set_estimate(unix_time() - job_.row.started);
    record.clear_remaining();
    if (base_score_) (*record.mutable_metrics())["base_score"] = *base_score_;
  }
  jobs_.add_record(job_, state, std::move(record));
  jobs_.flush(job_);
  if (state == v1::SUCCEEDED) {
    std::error_code ignored;
    fs::remove_all(jobs_.folder(job_.row.id), ignored);
  }
  const std::lock_guard lock(jobs_.mutex_);
  jobs_.set_state(job_, state, code, error);
}

}  // namespace bib::serve
