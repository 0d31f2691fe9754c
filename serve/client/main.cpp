// bib-client: what `bib client` runs.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <sstream>

#include "cli/explain.h"
#include "cli/standard_places.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "serve/client/client.h"

namespace bib::client {

namespace {

std::string read_text(const std::string& path) {
  if (path.empty()) return "";
  std::ostringstream text;
  text << open_input(path).rdbuf();
  return text.str();
}

/// Exit 0 when the server (or one of its services or models) is ready, else 1: for container health checks.
int health(const Connection& connection, const std::string& service) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse reply;
  const auto stub = grpc::health::v1::Health::NewStub(connection.channel());
  require_ok(stub->Check(connection.context().get(), request, &reply));
  std::cout << grpc::health::v1::HealthCheckResponse_ServingStatus_Name(reply.status()) << '\n';
  return reply.status() == grpc::health::v1::HealthCheckResponse::SERVING ? 0 : 1;
}

void add_health(CLI::App& app, const Connection& connection, Action& action) {
  CLI::App* verb = app.add_subcommand("health", "Is the server ready? Exit 0 when it is");
  auto service = std::make_shared<std::string>();
  verb->add_option("service", *service, "A service, bib.model.<name>, or bib.Live; default: the whole server");
  verb->callback(
      [&action, &connection, service] { action = [&connection, service] { return health(connection, *service); }; });
}

}  // namespace

std::shared_ptr<grpc::Channel> Connection::channel() const {
  // Several servers share the calls, of those listed one by one only the ready ones; what a server that goes down has
  // not begun to answer is asked again.
  const bool listed = server.find(',') != std::string::npos;
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(std::string(R"({"loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s",
                      "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}])") +
                                 (listed ? R"(, "healthCheckConfig": {"serviceName": ""}})" : "}"));
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!tls_name.empty()) arguments.SetSslTargetNameOverride(tls_name);
  if (tls || !(tls_ca + tls_cert + tls_key + tls_name).empty()) {
    credentials = grpc::SslCredentials({read_text(tls_ca), read_text(tls_key), read_text(tls_cert)});
  }
  return grpc::CreateCustomChannel(server, credentials, arguments);
}

std::unique_ptr<grpc::ClientContext> Connection::context() const {
  auto context = std::make_unique<grpc::ClientContext>();
  if (!token.empty()) context->AddMetadata("authorization", "Bearer " + token);
  if (timeout > 0) {
    context->set_deadline(std::chrono::system_clock::now() +
                          std::chrono::milliseconds(static_cast<std::int64_t>(timeout * 1000)));
  }
  return context;
}

std::ifstream open_input(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) throw std::runtime_error(path + ": is a directory; name a file");
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error(path + ": cannot be read: " + std::strerror(errno));
  return in;
}

const char* code_name(grpc::StatusCode code) {
  static constexpr const char* names[] = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  return code >= 0 && code <= grpc::StatusCode::UNAUTHENTICATED ? names[code] : "UNKNOWN";
}

void require_ok(const grpc::Status& status) {
  if (!status.ok()) throw CallFailed(std::string(code_name(status.error_code())) + ": " + status.error_message());
}

}  // namespace bib::client

int main(int argc, char** argv) {
  using namespace bib::client;
  CLI::App app("Talks to a bib server.", "bib client");
  app.require_subcommand(1);
  app.fallthrough();  // inherited by the verbs: flags of the connection may come after them
  Connection connection;
  app.add_option("-s,--server", connection.server, "host:port, unix:/path, or several as ipv4:ip:port,ip:port")
      ->envname("BIB_SERVER")
      ->capture_default_str();
  app.add_option("--token", connection.token, "Bearer token")->envname("BIB_TOKEN");
  app.add_option("--tls-ca", connection.tls_ca, "Connect with TLS; trust this authority (PEM)")->envname("BIB_TLS_CA");
  app.add_flag("--tls", connection.tls, "Connect with TLS; without --tls-ca the system's authorities are trusted")
      ->envname("BIB_TLS");
  app.add_option("--tls-name", connection.tls_name, "Name in the server's certificate, where it is reached by another")
      ->envname("BIB_TLS_NAME");
  app.add_option("--tls-cert", connection.tls_cert, "Own certificate, for mutual TLS")->envname("BIB_TLS_CERT");
  app.add_option("--tls-key", connection.tls_key, "Its key")->envname("BIB_TLS_KEY");
  app.add_option("--timeout", connection.timeout, "Seconds a call may take; 0: any time")
      ->check(bib::cli::in_range(0.0, 1e9))
      ->capture_default_str();
  Action action;
  add_train(app, connection, action);
  add_predict(app, connection, action);
  add_jobs(app, connection, action);
  add_models(app, connection, action);
  add_load(app, connection, action);
  add_health(app, connection, action);
  try {
    app.parse(argc, argv);
    bib::cli::refuse_empty(app);
    if (connection.tls_cert.empty() != connection.tls_key.empty()) {
      throw CLI::ValidationError("--tls-cert", "it and --tls-key go together");
    }
  } catch (const CLI::ParseError& e) {
    return bib::cli::explain(app, e);
  }
  int code = 1;
  try {
    code = action();
  } catch (const std::exception& e) {
    std::cerr << "bib client: error: " << e.what() << '\n';
  }
  if (!std::cout.flush() && code == 0) {  // an answer that was cut short must not look like success
    std::cerr << "bib client: error: standard output: cannot be written\n";
    code = 1;
  }
  std::fflush(nullptr);
  std::_Exit(code);  // gRPC's threads may still be putting a call away: what statics hold stays until the process ends
}
