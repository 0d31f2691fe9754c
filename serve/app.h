// What the services share.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "serve/access.h"
#include "serve/engine.h"
#include "serve/log.h"
#include "serve/metrics.h"
#include "serve/model_store.h"
#include "serve/repository.h"
#include "serve/request_id.h"
#include "serve/settings.h"
#include "serve/status.h"

namespace bib::serve {

class Jobs;

struct App {
  explicit App(Settings s);
  ~App();

  Settings settings;
  Metrics metrics;
  Repository repository;
  Access access;
  std::unique_ptr<ModelStore> store;
  std::unique_ptr<Engine> engine;  // after the store: stops first
  std::unique_ptr<Jobs> jobs;
  std::atomic<bool> draining{false};  // not ready, but still serving
  std::atomic<bool> refusing{false};  // new work gets UNAVAILABLE

  bool ready() const;
  /// Counts a call that is answered, and logs what is wrong with the server rather than with the request: a client's
  /// own log is not the operator's.
  void count(const char* method, const grpc::Status& status, const std::string& id);

 private:
  std::mutex said_mutex_;
  std::map<std::string, Clock::time_point> said_;  // lately
};

/// A call that the server has agreed to answer: counted as in flight until it goes. The constructor throws Refusal
/// UNAVAILABLE when the server ends, and what Access::require throws.
class Pass {
 public:
  Pass(App& app, const grpc::ServerContextBase& context, Role role) : Pass(app) { app.access.require(context, role); }
  Pass(App& app, const std::string& authorization, Role role) : Pass(app) { app.access.require(authorization, role); }
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;
  ~Pass() { --app_.metrics.in_flight; }

 private:
  explicit Pass(App& app) : app_(app) {
    ++app.metrics.in_flight;
    ++app.metrics.asked;
    if (app.refusing) {
      --app.metrics.in_flight;
      throw Refusal(grpc::StatusCode::UNAVAILABLE, "the server is going down; try another one", "", 0.1);
    }
  }
  App& app_;
};

/// One of the streams that may be open at a time; throws Refusal RESOURCE_EXHAUSTED beyond the limit.
class StreamPass {
 public:
  explicit StreamPass(App& app) : app_(app) {
    if (++app.metrics.streams > static_cast<std::int64_t>(app.settings.limits.streams)) {
      --app.metrics.streams;
      throw Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED,
                    "the server has its " + std::to_string(app.settings.limits.streams) + " streams open", "", 1);
    }
  }
  StreamPass(const StreamPass&) = delete;
  StreamPass& operator=(const StreamPass&) = delete;
  ~StreamPass() { --app_.metrics.streams; }

 private:
  App& app_;
};

/// A call that a synchronous handler answers: its id, access, counting, exceptions to statuses.
class SyncCall {
 public:
  SyncCall(App& app, grpc::ServerContext* context) : app_(app), context_(context), id_(request_id(*context)) {}

  template <class F>
  grpc::Status answer(Role role, const char* method, F&& body) const {
    const LogOfRequest about(id_);
    const grpc::Status status = go_on([&] {
      const Pass pass(app_, *context_, role);
      body();
    });
    app_.count(method, status, id_);
    return status;
  }
  /// A stream after the answer, which is neither counted nor in flight.
  template <class F>
  grpc::Status go_on(F&& body) const {
    return with_request_id(guarded(context_, body), id_);
  }

 private:
  App& app_;
  grpc::ServerContext* context_;
  const std::string id_;
};

template <class F>
grpc::Status answer(App& app, grpc::ServerContext* context, Role role, const char* method, F&& body) {
  return SyncCall(app, context).answer(role, method, body);
}

}  // namespace bib::serve
