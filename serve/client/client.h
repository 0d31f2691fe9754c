// bib client: what the server offers, from the command line.
#pragma once
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

namespace bib::client {

using Action = std::function<int()>;

struct Connection {
  std::string server = "127.0.0.1:50051", token, tls_ca, tls_cert, tls_key, tls_name;
  bool tls = false;
  double timeout = 0;  // seconds; 0: none

  std::shared_ptr<grpc::Channel> channel() const;
  /// A call's context with token and deadline.
  std::unique_ptr<grpc::ClientContext> context() const;
};

/// A call that failed: exit 1, "NOT_FOUND: model ...".
struct CallFailed : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// Of a file to send. Throws where it cannot be read, a directory among them, which would look like an empty file.
std::ifstream open_input(const std::string& path);

const char* code_name(grpc::StatusCode code);
void require_ok(const grpc::Status& status);

void add_train(CLI::App& app, const Connection& connection, Action& action);
void add_predict(CLI::App& app, const Connection& connection, Action& action);
void add_jobs(CLI::App& app, const Connection& connection, Action& action);
void add_models(CLI::App& app, const Connection& connection, Action& action);
void add_load(CLI::App& app, const Connection& connection, Action& action);

}  // namespace bib::client
