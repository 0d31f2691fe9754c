// TrainProvider and JobProvider: a thread a stream, and few streams; the work is done by Jobs.
#include <optional>
#include <utility>

#include "job.grpc.pb.h"
#include "serve/jobs.h"
#include "serve/services.h"
#include "train.grpc.pb.h"

namespace bib::serve {
namespace {

using Writer = grpc::ServerWriter<v1::TrainProgress>;

/// Streams a job's records. What the stream waits for is no work in flight: a drain does not wait for it. A StreamPass
/// is taken before, with what else may be refused: who is told to come back must not have started a job.
void stream(App& app, grpc::ServerContext* context, const std::string& id, std::uint32_t after, Writer* writer) {
  app.jobs->watch(
      id, after, [&](const v1::TrainProgress& r) { return writer->Write(r); }, [&] { return context->IsCancelled(); });
}

class TrainService final : public v1::TrainProvider::Service {
 public:
  explicit TrainService(App& app) : app_(app) {}

  grpc::Status TrainTextClassificationModel(grpc::ServerContext* context,
                                            const v1::TrainTextClassificationModelRequest* request,
                                            Writer* writer) override {
    TrainRequest r{.task = Task::tc};
    r.tc = *request;
    return start(context, "TrainTextClassificationModel", r, writer);
  }

  grpc::Status TrainNamedEntityRecognitionModel(grpc::ServerContext* context,
                                                const v1::TrainNamedEntityRecognitionModelRequest* request,
                                                Writer* writer) override {
    TrainRequest r{.task = Task::ner};
    r.ner = *request;
    return start(context, "TrainNamedEntityRecognitionModel", r, writer);
  }

  grpc::Status UploadDataSet(grpc::ServerContext* context, grpc::ServerReader<v1::DataSetChunk>* reader,
                             v1::DataSetInfo* reply) override {
    return answer(app_, context, Role::train, "UploadDataSet", [&] {
      const StreamPass stream(app_);
      v1::DataSetChunk chunk;
      if (!reader->Read(&chunk)) invalid("data", "is empty; send the corpus");
      bool first = true;
      std::uint64_t bytes = 0;
      const auto next = [&]() -> const std::string* {
        if (std::exchange(first, false) || reader->Read(&chunk)) return &chunk.data();
        if (context->IsCancelled()) throw Refusal(grpc::StatusCode::CANCELLED, "the client has gone");
        return nullptr;
      };
      const std::string name = chunk.name();
      reply->set_dataset_id(app_.jobs->store_dataset(name, next, bytes));
      reply->set_bytes(bytes);
    });
  }

 private:
  grpc::Status start(grpc::ServerContext* context, const char* method, const TrainRequest& request, Writer* writer) {
    std::string id;
    std::optional<StreamPass> open;
    const SyncCall call(app_, context);
    const grpc::Status accepted = call.answer(Role::train, method, [&] {
      open.emplace(app_);
      id = app_.jobs->submit(request);
    });
    if (!accepted.ok()) return accepted;
    context->AddInitialMetadata("bib-job-id", id);
    writer->SendInitialMetadata();  // a queued job has no record yet
    return call.go_on([&] {
      stream(app_, context, id, 0, writer);
      if (context->IsCancelled() && request.options().on_disconnect() == v1::CANCEL) app_.jobs->cancel(id, false);
    });
  }
  App& app_;
};

class JobService final : public v1::JobProvider::Service {
 public:
  explicit JobService(App& app) : app_(app) {}

  grpc::Status ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                        v1::ListJobsReply* reply) override {
    return answer(app_, context, Role::train, "ListJobs", [&] {
      const std::vector<int> states(request->states().begin(), request->states().end());
      for (v1::Job& job : app_.jobs->list(states, request->limit() ? request->limit() : 100)) {
        *reply->add_jobs() = std::move(job);
      }
    });
  }
  grpc::Status GetJob(grpc::ServerContext* context, const v1::JobRequest* request, v1::Job* reply) override {
    return answer(app_, context, Role::train, "GetJob", [&] { *reply = app_.jobs->get(request->job_id()); });
  }
  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest* request, Writer* writer) override {
    std::optional<StreamPass> open;
    const SyncCall call(app_, context);
    const grpc::Status known = call.answer(Role::train, "WatchJob", [&] {
      open.emplace(app_);
      app_.jobs->get(request->job_id());
    });
    if (!known.ok()) return known;
    return call.go_on([&] { stream(app_, context, request->job_id(), request->after_sequence(), writer); });
  }
  grpc::Status CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request, v1::Job* reply) override {
    return answer(app_, context, Role::train, "CancelJob",
                  [&] { *reply = app_.jobs->cancel(request->job_id(), request->discard_checkpoint()); });
  }
  grpc::Status ResumeJob(grpc::ServerContext* context, const v1::JobRequest* request, Writer* writer) override {
    std::uint32_t after = 0;
    std::optional<StreamPass> open;
    const SyncCall call(app_, context);
    const grpc::Status resumed = call.answer(Role::train, "ResumeJob", [&] {
      open.emplace(app_);
      after = app_.jobs->get(request->job_id()).last().sequence();
      app_.jobs->resume(request->job_id());
    });
    if (!resumed.ok()) return resumed;
    return call.go_on([&] { stream(app_, context, request->job_id(), after, writer); });
  }
  grpc::Status DeleteJob(grpc::ServerContext* context, const v1::JobRequest* request, v1::DeleteJobReply*) override {
    return answer(app_, context, Role::train, "DeleteJob", [&] { app_.jobs->remove(request->job_id()); });
  }

 private:
  App& app_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_train_service(App& app) { return std::make_unique<TrainService>(app); }
std::unique_ptr<grpc::Service> make_job_service(App& app) { return std::make_unique<JobService>(app); }

}  // namespace bib::serve
