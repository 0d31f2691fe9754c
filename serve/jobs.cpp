#include "serve/jobs.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <system_error>

#include "serve/job_run.h"
#include "serve/log.h"

namespace bib::serve {
namespace {

namespace fs = std::filesystem;
constexpr auto heartbeat = std::chrono::seconds(5);
constexpr int most_deaths = 5;  // of the server over one job that gets no further

void set_time(google::protobuf::Timestamp* to, double seconds) {
  to->set_seconds(static_cast<std::int64_t>(seconds));
  to->set_nanos(static_cast<int>((seconds - static_cast<double>(to->seconds())) * 1e9));
}

const char* status_word(int state) {
  return state == v1::SUCCEEDED   ? "Done"
         : state == v1::FAILED    ? "Failed"
         : state == v1::CANCELLED ? "Cancelled"
                                  : "Pending";
}

/// How a watch of a finished job ends.
void throw_end(const JobRow& row) {
  if (row.state == v1::FAILED) throw Refusal(static_cast<grpc::StatusCode>(row.error_code), row.error);
  if (row.state == v1::CANCELLED) {
    throw Refusal(grpc::StatusCode::ABORTED, "job " + row.id + " was cancelled; ResumeJob goes on from its checkpoint");
  }
  if (row.state == v1::INTERRUPTED) {
    throw Refusal(grpc::StatusCode::UNAVAILABLE,
                  "the server is going down; job " + row.id + " goes on with the next one: watch it there", "", 1);
  }
}

}  // namespace

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Jobs::Jobs(App& app) : app_(app), state_(app.settings.state) {
  make_folder(state_ + "/jobs");
  make_folder(state_ + "/datasets");
  take_lock();
  remove_unfinished_uploads();
  remove_old_uploads();
  journal_ = std::make_unique<Journal>(state_ + "/jobs.db");
  recover();
  remove_old_jobs();
  for (int i = 0; i < app.settings.train_slots; ++i) {
    slots_.emplace_back([this](std::stop_token stop) { run_loop(stop); });
  }
}

Jobs::~Jobs() {
  stop();
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

/// The system lets the lock go when its holder ends, however it ends.
void Jobs::take_lock() {
  const std::string path = state_ + "/lock";
  lock_fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_fd_ < 0) {
    throw Refusal(grpc::StatusCode::FAILED_PRECONDITION,
                  path + ": " + std::strerror(errno) + "; a training server needs to write there");
  }
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    throw std::runtime_error("another training server (" + read_file(path) + ") works on " + state_ +
                             "; stop it, or give this one another --state");
  }
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  const std::string holder = "process " + std::to_string(::getpid()) + " on " + host;
  if (::ftruncate(lock_fd_, 0) != 0 || ::pwrite(lock_fd_, holder.data(), holder.size(), 0) < 0) {
    log(path + ": " + std::strerror(errno), Level::warning);  // the lock holds all the same
  }
}

/// What a server that was killed has left.
void Jobs::remove_unfinished_uploads() {
  std::error_code error, ignored;
  for (fs::directory_iterator it(state_ + "/datasets", error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string()[0] == '.') fs::remove(it->path(), ignored);
  }
}

void Jobs::recover() {
  for (JobRow& row : journal_->jobs()) {
    auto job = std::make_shared<Job>();
    job->row = std::move(row);
    if (const auto last = journal_->last(job->row.id)) job->last = *last;
    jobs_[job->row.id] = job;
    if (!active(job->row.state) && job->row.state != v1::INTERRUPTED) continue;
    if (died_too_often(*job)) {
      set_state(*job, v1::FAILED, grpc::StatusCode::INTERNAL,
                "the server ended " + std::to_string(most_deaths) +
                    " times while it trained this job, which got no further (its log may say why; too little memory "
                    "looks like this): ResumeJob tries again");
      log("job " + job->row.id + " (" + job->row.model_name + ") failed: " + job->row.error, Level::error);
    } else {  // without its folder, too: it may be that the model is published, and this was all that was left to say
      log("job " + job->row.id + " (" + job->row.model_name + ") goes on");
      set_state(*job, v1::QUEUED);
      queue_.push_back(job);
    }
  }
}

/// A job that brings the server down would else do so at every start. One that was farther than ever counts from one.
bool Jobs::died_too_often(const Job& job) const {
  if (job.row.state == v1::QUEUED || job.row.state == v1::INTERRUPTED) return false;  // it was not its turn
  const std::string path = folder(job.row.id) + "/deaths";
  int deaths = 0;
  double farthest = -1;
  std::ifstream(path) >> deaths >> farthest;
  deaths = job.last.progress() > farthest ? 1 : deaths + 1;
  std::ofstream(path) << deaths << ' ' << std::setprecision(17) << std::max(farthest, job.last.progress()) << '\n';
  return deaths >= most_deaths;
}

std::shared_ptr<Job> Jobs::find(const std::string& id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) {
    throw Refusal(grpc::StatusCode::NOT_FOUND, "job '" + id + "' does not exist; ListJobs lists what does");
  }
  return found->second;
}

v1::Job Jobs::describe(const Job& job) {
  v1::Job out;
  out.set_job_id(job.row.id);
  out.set_request_id(job.row.request_id);
  out.set_classification(job.row.task);
  out.set_model_name(job.row.model_name);
  out.set_state(static_cast<v1::JobState>(job.row.state));
  out.set_model_version(job.row.version);
  out.set_error(job.row.error);
  if (job.row.created > 0) set_time(out.mutable_created_at(), job.row.created);
  if (job.row.started > 0) set_time(out.mutable_started_at(), job.row.started);
  if (job.row.finished > 0) set_time(out.mutable_finished_at(), job.row.finished);
  *out.mutable_last() = job.last;
  out.set_has_checkpoint(fs::exists(folder(job.row.id) + "/model.bib.checkpoint"));
  return out;
}

v1::Job Jobs::get(const std::string& id) {
  const std::lock_guard lock(mutex_);
  return describe(*find(id));
}

std::vector<v1::Job> Jobs::list(const std::vector<int>& states, std::size_t limit) {
  const std::lock_guard lock(mutex_);
  std::vector<const Job*> all;
  for (const auto& [id, job] : jobs_) {
    if (states.empty() || std::find(states.begin(), states.end(), job->row.state) != states.end()) {
      all.push_back(job.get());
    }
  }
  std::sort(all.begin(), all.end(), [](const Job* a, const Job* b) { return a->row.created > b->row.created; });
  std::vector<v1::Job> out;
  for (std::size_t i = 0; i < std::min(limit, all.size()); ++i) out.push_back(describe(*all[i]));
  return out;
}

v1::Job Jobs::cancel(const std::string& id, bool discard_checkpoint) {
  std::unique_lock lock(mutex_);
  const std::shared_ptr<Job> job = find(id);
  job->cancel = job->stop = true;
  if (const auto waiting = std::find(queue_.begin(), queue_.end(), job); waiting != queue_.end()) {
    queue_.erase(waiting);
    set_state(*job, v1::CANCELLED);
  }
  changed_.wait(lock, [&] { return !active(job->row.state); });
  std::error_code ignored;
  if (discard_checkpoint) fs::remove(folder(id) + "/model.bib.checkpoint", ignored);
  return describe(*job);
}

void Jobs::resume(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const std::shared_ptr<Job> job = find(id);
  if (active(job->row.state)) return;  // it goes on already
  if (stopping_) throw Refusal(grpc::StatusCode::UNAVAILABLE, "the server is going down", "", 1);
  if (job->row.state == v1::SUCCEEDED || !fs::exists(folder(id) + "/request")) {
    throw Refusal(grpc::StatusCode::FAILED_PRECONDITION, "job " + id + " has nothing to go on with");
  }
  job->cancel = job->stop = false;
  std::error_code ignored;
  fs::remove(folder(id) + "/deaths", ignored);
  set_state(*job, v1::QUEUED);
  queue_.push_back(job);
  changed_.notify_all();
}

void Jobs::remove(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const std::shared_ptr<Job> job = find(id);
  if (active(job->row.state)) {
    throw Refusal(grpc::StatusCode::FAILED_PRECONDITION, "job " + id + " is not finished; cancel it first");
  }
  erase(id);
}

void Jobs::erase(const std::string& id) {
  journal_->remove(id);
  std::error_code ignored;
  fs::remove_all(folder(id), ignored);
  jobs_.erase(id);
}

void Jobs::remove_old_jobs() {
  if (app_.settings.keep_jobs_days == 0) return;
  const double oldest = unix_time() - 86'400 * app_.settings.keep_jobs_days;
  std::vector<std::string> old;
  for (const auto& [id, job] : jobs_) {
    const JobRow& row = job->row;
    const bool ended = row.state == v1::SUCCEEDED || row.state == v1::FAILED || row.state == v1::CANCELLED;
    if (ended && row.finished < oldest) old.push_back(id);
  }
  for (const std::string& id : old) {
    try {
      erase(id);
      log("job " + id + " is removed: it ended more than --keep-jobs-days ago");
    } catch (const std::exception& e) {  // the next try may succeed
      log("job " + id + " cannot be removed: " + e.what(), Level::warning);
    }
  }
}

/// The state in memory and in the journal; mutex_ is held (or nobody else knows the job yet).
void Jobs::set_state(Job& job, int state, int code, const std::string& error) {
  job.row.state = state;
  job.row.error_code = code;
  job.row.error = error;
  if (state == v1::QUEUED) job.row.finished = 0;
  if (!active(state)) {
    job.row.finished = unix_time();
    Metrics& m = app_.metrics;
    (state == v1::SUCCEEDED   ? m.jobs_succeeded
     : state == v1::FAILED    ? m.jobs_failed
     : state == v1::CANCELLED ? m.jobs_cancelled
                              : m.jobs_interrupted)
        .add();
  }
  try {
    journal_->put(job.row);
  } catch (const std::exception& e) {
    log("job " + job.row.id + ": the journal could not be written: " + e.what(), Level::error);
  }
  changed_.notify_all();
}

void Jobs::add_record(Job& job, int state, v1::TrainProgress record) {
  const std::lock_guard lock(mutex_);
  record.set_sequence(job.last.sequence() + 1);
  record.set_job_id(job.row.id);
  record.set_classification(job.row.task);
  record.set_detail("Train");
  record.set_model_name(job.row.model_name);
  record.set_pipeline_item_id(job.row.item_id);
  record.set_state(static_cast<v1::JobState>(state));
  record.set_status(status_word(state));
  record.set_model_version(job.row.version);
  set_time(record.mutable_started_at(), job.row.started);
  job.last = record;
  job.unsaved.push_back(std::move(record));
  changed_.notify_all();
}

/// Called by the job's own thread alone.
void Jobs::flush(Job& job) {
  std::vector<v1::TrainProgress> records;
  {
    const std::lock_guard lock(mutex_);
    records = job.unsaved;
  }
  try {
    journal_->append(job.row.id, records);
  } catch (const std::exception& e) {
    return log("job " + job.row.id + ": progress stays in memory, the journal could not be written: " + e.what(),
               Level::warning);
  }
  const std::lock_guard lock(mutex_);
  job.unsaved.erase(job.unsaved.begin(), job.unsaved.begin() + static_cast<std::ptrdiff_t>(records.size()));
}

void Jobs::watch(const std::string& id, std::uint32_t after, const std::function<bool(const v1::TrainProgress&)>& write,
                 const std::function<bool()>& gone) {
  auto last_write = std::chrono::steady_clock::now();
  {  // A server that was killed took its last records with it: who saw them gets what the job says now, and on.
    const std::lock_guard lock(mutex_);
    const std::uint32_t last = find(id)->last.sequence();
    if (after > last) after = std::max(last, 1u) - 1;
  }
  std::uint32_t written = 0;  // number of the last record written
  for (;;) {
    std::vector<v1::TrainProgress> records;
    JobRow row;
    {
      std::unique_lock lock(mutex_);
      const std::shared_ptr<Job> job = find(id);
      const auto news = [&] { return job->last.sequence() > after || !active(job->row.state); };
      changed_.wait_for(lock, std::chrono::milliseconds(200), news);
      row = job->row;
      // The numbers that a killed server took with it are given again, and so may be that of the last record.
      const std::uint32_t last = job->last.sequence();
      if (!active(row.state) && last > 0 && written != last) after = std::min(after, last - 1);
      const bool saved = job->unsaved.empty() || job->unsaved.front().sequence() > after + 1;
      if (last > after && !saved) {
        for (const auto& r : job->unsaved) {
          if (r.sequence() > after) records.push_back(r);
        }
      } else if (last > after) {
        records = journal_->records(id, after, 500);
      } else if (std::chrono::steady_clock::now() - last_write > heartbeat && active(row.state)) {
        records.push_back(job->last);
        records.back().set_job_id(id);
        records.back().set_classification(row.task);
        records.back().set_detail("Train");
        records.back().set_model_name(row.model_name);
        records.back().set_pipeline_item_id(row.item_id);
        records.back().set_state(static_cast<v1::JobState>(row.state));
        records.back().set_status(status_word(row.state));
        records.back().set_heartbeat(true);
      }
      if (records.empty() && last > after) after = last;  // the journal lost some
    }
    if (gone()) return;
    for (const v1::TrainProgress& r : records) {
      if (!write(r)) return;
      written = r.sequence();
      after = std::max(after, r.sequence());
      last_write = std::chrono::steady_clock::now();
    }
    if (records.empty() && !active(row.state)) return throw_end(row);
  }
}

void Jobs::run_loop(std::stop_token stop) {
  for (;;) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [&] { return !queue_.empty() && !stopping_; })) return;
      job = queue_.front();
      queue_.pop_front();
      ++running_;
      if (job->row.started == 0) job->row.started = unix_time();
      set_state(*job, v1::PREPARING);
      log("job " + job->row.id + " (" + job->row.model_name + ") begins");
    }
    // A thread of its own for each job: low priority, and its memory and team end with it. If none is left, this one.
    const auto train = [&] { Run(*this, *job).run(); };
    try {
      std::thread(train).join();
    } catch (const std::system_error&) {
      train();
    }
    const std::lock_guard lock(mutex_);
    --running_;
    changed_.notify_all();
  }
}

void Jobs::begin_stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  for (const auto& [id, job] : jobs_) {
    if (active(job->row.state)) job->stop = true;
  }
  for (const auto& job : queue_) set_state(*job, v1::INTERRUPTED);
  queue_.clear();
  changed_.notify_all();
}

void Jobs::leave_to_next() {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, job] : jobs_) {
    if (!active(job->row.state)) continue;
    log("job " + id + " (" + job->row.model_name + ") does not stop; it goes on from its last checkpoint",
        Level::warning);
    set_state(*job, v1::INTERRUPTED);  // it has not brought this server down
  }
}

void Jobs::stop() {
  begin_stop();
  for (std::jthread& slot : slots_) slot.request_stop();
  slots_.clear();  // joins
}

std::size_t Jobs::queued() {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}
std::size_t Jobs::running() {
  const std::lock_guard lock(mutex_);
  return running_;
}

}  // namespace bib::serve
