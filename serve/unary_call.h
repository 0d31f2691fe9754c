// One unary call that the engine answers, from its arrival to its end.
#pragma once
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>

#include "serve/ask.h"

namespace bib::serve {

/// The deadline of a call on the engine's clock.
inline Clock::time_point deadline_of(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline(), now = std::chrono::system_clock::now();
  if (deadline - now > std::chrono::hours(24 * 365)) return Clock::time_point::max();
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(deadline - now);
}

class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  struct Plan {
    Question question;
    std::shared_ptr<Work> work;
    std::function<void(const Work&)> fill;  // writes the reply
  };

  /// `plan` validates the request; it may throw.
  UnaryCall(App& app, grpc::CallbackServerContext* context, const char* method, const std::function<Plan()>& plan)
      : app_(app), context_(context), method_(method), id_(request_id(*context)) {
    try {
      pass_.emplace(app, *context, Role::predict);
      Plan p = plan();
      fill_ = std::move(p.fill);
      work_ = p.work;
      work_->request_id = id_;
      work_->deadline = deadline_of(*context);
      work_->done = [this](Work& work) { finish(work); };
      ask(app, p.question, work_);
    } catch (...) {
      end(status_of_current_exception(context_));
    }
  }

  void OnCancel() override {
    if (work_) work_->cancelled = true;
  }
  void OnDone() override { delete this; }

 private:
  void finish(Work& work) {
    if (work.error) {
      try {
        std::rethrow_exception(work.error);
      } catch (...) {
        return end(status_of_current_exception(context_));
      }
    }
    end(guarded(context_, [&] {
      fill_(work);
      context_->AddTrailingMetadata("bib-timing", timing_text(work));
    }));
  }
  void end(const grpc::Status& status) {
    app_.count(method_, status, id_);
    pass_.reset();
    Finish(with_request_id(status, id_));
  }

  App& app_;
  grpc::CallbackServerContext* context_;
  const char* method_;
  const std::string id_;
  std::optional<Pass> pass_;
  std::shared_ptr<Work> work_;
  std::function<void(const Work&)> fill_;
};

}  // namespace bib::serve
