// Training jobs: queued, run one after another (or --train-slots at a time) with low priority, journalled, resumable.
//   <state>/jobs.db             the journal
//   <state>/lock                held by the one server that trains on this volume
//   <state>/jobs/<id>/request   the request as it came (a TrainRequest), so that the job can begin again after a crash
//   <state>/jobs/<id>/<dataset>  the uploaded corpus that the request names, a hard link
//   <state>/jobs/<id>/base.bib  the model to go on from, a hard link
//   <state>/jobs/<id>/model.bib[.checkpoint]
//   <state>/jobs/<id>/deaths    how often the server ended while it trained this job, and how far the job was
//   <state>/datasets/<id>       uploaded corpora
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "bib/train.h"
#include "serve/app.h"
#include "serve/journal.h"
#include "train.pb.h"

namespace bib::serve {

/// A request of either task.
struct TrainRequest {
  Task task = Task::ner;
  v1::TrainTextClassificationModelRequest tc;
  v1::TrainNamedEntityRecognitionModelRequest ner;

  const std::string& model_name() const { return task == Task::ner ? ner.model_name() : tc.model_name(); }
  int epochs() const { return task == Task::ner ? ner.epochs() : tc.epochs(); }
  double train_rate() const { return task == Task::ner ? ner.train_rate() : tc.train_rate(); }
  int examples() const { return task == Task::ner ? ner.data_set_size() : tc.data_set_size(); }
  const v1::TrainOptions& options() const { return task == Task::ner ? ner.options() : tc.options(); }
};

/// One job, guarded by Jobs' mutex.
struct Job {
  JobRow row;
  std::vector<v1::TrainProgress> unsaved;  // records on their way into the journal
  v1::TrainProgress last;
  std::atomic<bool> stop{false};    // asked to end with a checkpoint
  std::atomic<bool> cancel{false};  // by a client
};

inline bool active(int state) { return state >= v1::QUEUED && state <= v1::SAVING; }

class Jobs {
 public:
  explicit Jobs(App& app);
  ~Jobs();

  /// Validates, stores and queues the request; the job of an earlier call with the same request_id is returned instead.
  std::string submit(const TrainRequest& request);
  v1::Job get(const std::string& id);
  std::vector<v1::Job> list(const std::vector<int>& states, std::size_t limit);  // newest first
  v1::Job cancel(const std::string& id, bool discard_checkpoint);
  void resume(const std::string& id);
  void remove(const std::string& id);

  /// Hands every record after `sequence` to `write` until the job ends; heartbeats when nothing happens for a while.
  /// `write` returning false, or `gone` true, ends it. Throws Refusal with the job's failure.
  void watch(const std::string& id, std::uint32_t after, const std::function<bool(const v1::TrainProgress&)>& write,
             const std::function<bool()>& gone);

  /// Keeps the corpus that comes in pieces; returns its id. Corpora that nobody used for long make room.
  std::string store_dataset(const std::string& name, const std::function<const std::string*()>& next,
                            std::uint64_t& bytes);

  /// Asks the running jobs to stop with a checkpoint; none begins any more.
  void begin_stop();
  /// What still runs is left as it is: it goes on from its last checkpoint with the next server.
  void leave_to_next();
  /// Stops the running jobs with a checkpoint and waits for them; they go on with the next server.
  void stop();
  std::size_t queued();
  std::size_t running();

 private:
  class Run;                                         // one job being trained
  std::shared_ptr<Job> find(const std::string& id);  // mutex_ is held; throws NOT_FOUND
  std::optional<std::string> known(const std::string& request_id, const std::string& digest) const;
  std::string base_of(const TrainRequest& request) const;
  void take_lock();
  void remove_unfinished_uploads();
  void remove_old_uploads();                                         // as --keep-uploads-days says
  void take_dataset(const std::string& id, const std::string& job);  // throws INVALID_ARGUMENT when there is none
  void recover();
  void erase(const std::string& id);  // mutex_ is held
  void remove_old_jobs();             // as --keep-jobs-days says; mutex_ is held
  bool died_too_often(const Job& job) const;
  void run_loop(std::stop_token stop);
  void set_state(Job& job, int state, int code = 0, const std::string& error = "");
  void add_record(Job& job, int state, v1::TrainProgress record);
  void flush(Job& job);
  v1::Job describe(const Job& job);
  std::string folder(const std::string& id) const { return state_ + "/jobs/" + id; }

  App& app_;
  const std::string state_;
  int lock_fd_ = -1;
  std::unique_ptr<Journal> journal_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, std::shared_ptr<Job>> jobs_;
  std::deque<std::shared_ptr<Job>> queue_;
  std::size_t running_ = 0;
  bool stopping_ = false;
  std::vector<std::jthread> slots_;
};

/// A link of the job's own, or a copy where the volume has no links: `from` may go while the job waits.
void keep(const std::string& from, const std::string& to);
constexpr const char* base_file = "base.bib";  // in the job's folder

/// The request as documents and a configuration; throws Refusal INVALID_ARGUMENT with field and index. `base` is the
/// file of the model to go on from, "" for none.
void check_request(const Settings& settings, const TrainRequest& request, const std::string& base);
/// `folder` is the job's: an uploaded corpus lies there.
std::vector<Document> documents_of(const Settings& settings, const std::string& folder, const TrainRequest& request);
Config config_of(const Settings& settings, const TrainRequest& request, const std::string& base);

}  // namespace bib::serve
