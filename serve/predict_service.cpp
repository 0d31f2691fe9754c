#include <deque>
#include <map>
#include <mutex>

#include "predict.grpc.pb.h"
#include "serve/services.h"
#include "serve/unary_call.h"

namespace bib::serve {
namespace {

constexpr std::size_t stream_window = 16;  // requests of one stream that are answered at a time

v1::PredictTextClassificationReply* reply_for(v1::PredictReply& reply, const v1::PredictTextClassificationRequest&) {
  return reply.mutable_text_classification();
}
v1::PredictNamedEntityRecognitionReply* reply_for(v1::PredictReply& reply,
                                                  const v1::PredictNamedEntityRecognitionRequest&) {
  return reply.mutable_named_entity_recognition();
}

/// Reads while fewer than stream_window requests are open, writes one reply at a time, ends when the client has ended
/// and every reply is written.
class StreamCall final : public grpc::ServerBidiReactor<v1::PredictRequest, v1::PredictReply> {
 public:
  StreamCall(App& app, grpc::CallbackServerContext* context) : app_(app), context_(context), id_(request_id(*context)) {
    try {
      app.access.require(*context, Role::predict);
      stream_.emplace(app);
    } catch (...) {
      end(status_of_current_exception(context));
      return;
    }
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      const std::lock_guard lock(mutex_);
      read_all_ = true;
      end_if_complete();
      return;
    }
    auto request = std::make_shared<v1::PredictRequest>(std::move(request_));
    request_.Clear();
    bool read = false;
    {
      const std::lock_guard lock(mutex_);
      read = reading_ = ++open_ < stream_window;  // false: the next write goes on reading
    }
    switch (request->request_case()) {
      case v1::PredictRequest::kTextClassification: start(request, request->text_classification()); break;
      case v1::PredictRequest::kNamedEntityRecognition: start(request, request->named_entity_recognition()); break;
      default: reply_error(request->id(), {grpc::StatusCode::INVALID_ARGUMENT, "request: neither task is set"});
    }
    if (read) StartRead(&request_);
  }

  void OnWriteDone(bool) override {  // a failed write means a cancelled call; reading fails then, too
    bool read = false;
    {
      const std::lock_guard lock(mutex_);
      replies_.pop_front();
      --open_;
      if (!replies_.empty()) StartWrite(&replies_.front());
      if (!reading_ && !read_all_) read = reading_ = true;
      end_if_complete();
    }
    if (read) StartRead(&request_);
  }

  void OnCancel() override {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, work] : works_) work->cancelled = true;
  }
  void OnDone() override { delete this; }

 private:
  template <class Request>
  void start(const std::shared_ptr<v1::PredictRequest>& owner, const Request& request) {
    std::shared_ptr<Work> work;
    try {
      auto pass = std::make_shared<Pass>(app_, *context_, Role::predict);
      work = make_work(app_.settings.limits, request);
      work->request_id = id_;
      work->patient = true;
      work->deadline = deadline_of(*context_);
      std::uint64_t key = 0;
      {
        const std::lock_guard lock(mutex_);
        works_[key = next_++] = work;
      }
      work->done = [this, owner, &request, key, pass](Work& done) {
        v1::PredictReply reply;
        reply.set_id(owner->id());
        grpc::Status status = guarded(nullptr, [&] {
          if (done.error) std::rethrow_exception(done.error);
          fill(*reply_for(reply, request), request, done);
        });
        {
          const std::lock_guard lock(mutex_);
          works_.erase(key);
        }
        status.ok() ? write(std::move(reply)) : reply_error(owner->id(), status);
      };
    } catch (...) {
      return reply_error(owner->id(), status_of_current_exception(nullptr));
    }
    ask(app_, question_of(request), work);
  }

  void reply_error(std::uint64_t id, const grpc::Status& status) {
    v1::PredictReply reply;
    reply.set_id(id);
    reply.mutable_error()->set_code(status.error_code());
    reply.mutable_error()->set_message(status.error_message());
    write(std::move(reply));
  }

  void write(v1::PredictReply reply) {
    const std::lock_guard lock(mutex_);
    replies_.push_back(std::move(reply));
    if (replies_.size() == 1) StartWrite(&replies_.front());
  }

  void end_if_complete() {  // mutex_ is held
    if (!read_all_ || open_ > 0 || ended_) return;
    ended_ = true;
    end(grpc::Status::OK);
  }
  void end(const grpc::Status& status) {
    app_.count("PredictStream", status, id_);
    Finish(with_request_id(status, id_));
  }

  App& app_;
  grpc::CallbackServerContext* context_;
  const std::string id_;
  std::optional<StreamPass> stream_;
  std::mutex mutex_;
  v1::PredictRequest request_;
  std::deque<v1::PredictReply> replies_;
  std::map<std::uint64_t, std::shared_ptr<Work>> works_;
  std::uint64_t next_ = 0;
  std::size_t open_ = 0;
  bool reading_ = true, read_all_ = false, ended_ = false;
};

class PredictService final : public v1::PredictProvider::CallbackService {
 public:
  explicit PredictService(App& app) : app_(app) {}

  grpc::ServerUnaryReactor* PredictTextClassification(grpc::CallbackServerContext* context,
                                                      const v1::PredictTextClassificationRequest* request,
                                                      v1::PredictTextClassificationReply* reply) override {
    return start(context, "PredictTextClassification", request, reply);
  }
  grpc::ServerUnaryReactor* PredictNamedEntityRecognition(grpc::CallbackServerContext* context,
                                                          const v1::PredictNamedEntityRecognitionRequest* request,
                                                          v1::PredictNamedEntityRecognitionReply* reply) override {
    return start(context, "PredictNamedEntityRecognition", request, reply);
  }
  grpc::ServerBidiReactor<v1::PredictRequest, v1::PredictReply>* PredictStream(
      grpc::CallbackServerContext* context) override {
    return new StreamCall(app_, context);
  }

 private:
  template <class Request, class Reply>
  grpc::ServerUnaryReactor* start(grpc::CallbackServerContext* context, const char* method, const Request* request,
                                  Reply* reply) {
    return new UnaryCall(app_, context, method, [this, request, reply] {
      return UnaryCall::Plan{question_of(*request), make_work(app_.settings.limits, *request),
                             [request, reply](const Work& work) { fill(*reply, *request, work); }};
    });
  }
  App& app_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_predict_service(App& app) { return std::make_unique<PredictService>(app); }

}  // namespace bib::serve
