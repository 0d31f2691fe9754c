// What went wrong, as gRPC statuses that say what, where and what to do.
#pragma once
#include <grpcpp/grpcpp.h>

#include <stdexcept>
#include <string>

namespace bib::serve {

/// A status on its way up: handlers throw it, answer() turns it into the reply's status.
struct Refusal : std::runtime_error {
  grpc::StatusCode code;
  std::string field;       // INVALID_ARGUMENT: the field and index at fault
  double retry_after = 0;  // seconds; RESOURCE_EXHAUSTED and UNAVAILABLE: when to try again
  Refusal(grpc::StatusCode c, const std::string& message, std::string where = "", double retry = 0)
      : std::runtime_error(message), code(c), field(std::move(where)), retry_after(retry) {}
};

/// A refusal that the log has already, as the operator must act.
struct LoggedRefusal : Refusal {
  using Refusal::Refusal;
};

/// "field: why", with BadRequest details.
[[noreturn]] void invalid(const std::string& field, const std::string& why);

/// The status with its details; the retry hint also goes into the trailer grpc-retry-pushback-ms of `context`.
grpc::Status status_of(const Refusal& refusal, grpc::ServerContextBase* context);

/// Runs `body` and turns what it throws into a status.
grpc::Status status_of_current_exception(grpc::ServerContextBase* context);
template <class F>
grpc::Status guarded(grpc::ServerContextBase* context, F&& body) {
  try {
    body();
    return grpc::Status::OK;
  } catch (...) {
    return status_of_current_exception(context);
  }
}

}  // namespace bib::serve
