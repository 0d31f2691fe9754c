// From a training request to a job in the queue.
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <filesystem>

#include "serve/ids.h"
#include "serve/job_run.h"
#include "serve/jobs.h"
#include "serve/log.h"

namespace bib::serve {
namespace {

namespace fs = std::filesystem;

/// The request as bytes, the same for the same content (maps are ordered).
std::string bytes_of(const TrainRequest& request) {
  const google::protobuf::Message& message =
      request.task == Task::ner ? static_cast<const google::protobuf::Message&>(request.ner) : request.tc;
  std::string out(1, request.task == Task::ner ? 'n' : 't');
  {
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return out;
}

}  // namespace

/// The job of an earlier call with the request_id; mutex_ is held.
std::optional<std::string> Jobs::known(const std::string& request_id, const std::string& digest) const {
  if (request_id.empty()) return {};
  for (const auto& [id, job] : jobs_) {
    if (job->row.request_id != request_id) continue;
    if (job->row.request_hash != digest) {
      throw Refusal(grpc::StatusCode::ALREADY_EXISTS,
                    "request_id '" + request_id + "' belongs to job " + id + ", which is another request");
    }
    return id;
  }
  return {};
}

/// The file of the model to go on from; "" where none is named.
std::string Jobs::base_of(const TrainRequest& request) const {
  const std::string &name = request.options().base_model(), &selector = request.options().base_version();
  if (name.empty() && selector.empty()) return "";
  check_name(name, "options.base_model");
  const std::optional<int> version = app_.repository.resolve(name, selector);
  if (!version) {
    throw Refusal(grpc::StatusCode::NOT_FOUND, "options.base_model: model '" + name + "'" +
                                                   (selector.empty() ? "" : " version '" + selector + "'") +
                                                   " does not exist; ListModels lists what does");
  }
  return app_.repository.path(name, *version);
}

std::string Jobs::submit(const TrainRequest& request) {
  const v1::TrainOptions& options = request.options();
  const std::string bytes = bytes_of(request), digest = digest_of(bytes);
  {
    const std::lock_guard lock(mutex_);
    if (const auto id = known(options.request_id(), digest)) return *id;  // whatever became of its base meanwhile
  }
  const std::string base = base_of(request);
  check_request(app_.settings, request, base);
  std::unique_lock lock(mutex_);
  if (const auto id = known(options.request_id(), digest)) return *id;
  if (stopping_) throw Refusal(grpc::StatusCode::UNAVAILABLE, "the server is going down", "", 1);
  if (queue_.size() >= static_cast<std::size_t>(app_.settings.max_queued_jobs)) {
    throw Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED,
                  std::to_string(queue_.size()) + " jobs wait already (--max-queued-jobs)", "", 30);
  }
  remove_old_jobs();
  auto job = std::make_shared<Job>();
  job->row = {.id = new_id(),
              .request_id = options.request_id(),
              .request_hash = digest,
              .task = request.task == Task::ner ? "ner" : "tc",
              .model_name = request.model_name(),
              .item_id = options.pipeline_item_id(),
              .created = unix_time()};
  // First the request, then the row: a crash between them leaves an unused folder, never a job without its data.
  make_folder(folder(job->row.id));
  try {
    if (!options.dataset_id().empty()) take_dataset(options.dataset_id(), job->row.id);
    if (!base.empty()) keep(base, folder(job->row.id) + "/" + base_file);
    write_file(folder(job->row.id) + "/request", bytes);
    journal_->put(job->row);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(folder(job->row.id), ignored);
    throw;
  }
  jobs_[job->row.id] = job;
  queue_.push_back(job);
  changed_.notify_all();
  log("job " + job->row.id + " (" + job->row.model_name + ") queued");
  return job->row.id;
}

}  // namespace bib::serve
