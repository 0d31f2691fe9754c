// bib-serve: what `bib serve` runs. A program of its own, so that gRPC costs the other verbs nothing.
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <malloc.h>
#include <signal.h>

#include <set>

#include "cli/standard_places.h"
#include "grpc/health/v1/health.pb.h"
#include "serve/app.h"
#include "serve/http.h"
#include "serve/http_tls.h"
#include "serve/job_run.h"
#include "serve/jobs.h"
#include "serve/log.h"
#include "serve/services.h"
#include "serve/signals.h"

namespace bib::serve {
namespace {

constexpr int reload_seconds = 1;  // how often certificates are looked at
// For what ends in its own time once calls and jobs have had theirs: a connection, a model on its way into memory. gRPC
// itself does not end at all where the system refused it a thread.
constexpr double last_seconds = 10;

std::shared_ptr<grpc::ServerCredentials> credentials(const Settings& s) {
  if (s.tls_cert.empty()) return grpc::InsecureServerCredentials();
  HttpTls(s.tls_cert, s.tls_key, s.tls_client_ca);  // throws; gRPC would start, and refuse every client
  namespace experimental = grpc::experimental;
  const auto provider = std::make_shared<experimental::FileWatcherCertificateProvider>(s.tls_key, s.tls_cert,
                                                                                       s.tls_client_ca, reload_seconds);
  experimental::TlsServerCredentialsOptions options(provider);
  options.watch_identity_key_cert_pairs();
  if (!s.tls_client_ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return experimental::TlsServerCredentials(options);
}

/// Takes away the reflection that gRPC's library adds to every server as soon as it is linked.
struct WithoutReflection final : grpc::ServerBuilderOption {
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [](const auto& plugin) {
      return dynamic_cast<grpc::reflection::ProtoServerReflectionPlugin*>(plugin.get()) != nullptr;
    });
  }
};

/// A client that vanished without a word, as with its machine, would else keep its streams for hours; and one that
/// connected once would never see the servers that came since.
void set_lifetimes(grpc::ServerBuilder& builder, const Settings& s) {
  constexpr int longest_answer = 20;  // seconds
  if (s.keepalive_seconds > 0) {
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, s.keepalive_seconds * 1000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, std::min(s.keepalive_seconds, longest_answer) * 1000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // as many as it takes
  }
  // Calls under way are finished first, however long they are.
  if (s.connection_seconds > 0) builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, s.connection_seconds * 1000);
}

/// The gRPC server, its services and their health.
class Server {
 public:
  explicit Server(App& app) : app_(app) {
    const Settings& s = app.settings;
    google::protobuf::LinkMessageReflection<grpc::health::v1::HealthCheckRequest>();  // so that reflection resolves it
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    if (s.predicts()) {
      services_.push_back(make_predict_service(app));
      services_.push_back(make_inference_service(app));
    }
    if (s.trains()) {
      services_.push_back(make_train_service(app));
      services_.push_back(make_job_service(app));
    }
    services_.push_back(make_model_service(app));
    grpc::ServerBuilder builder;
    if (s.no_reflection) builder.SetOption(std::make_unique<WithoutReflection>());
    for (const auto& service : services_) builder.RegisterService(service.get());
    const auto with = [&](int port) {
      return s.unix_socket() ? s.listen
                             : (s.listen.find(':') != std::string::npos ? "[" + s.listen + "]" : s.listen) + ":" +
                                   std::to_string(port);
    };
    const std::string address = with(s.port);
    builder.AddListeningPort(address, credentials(s), &port_);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // else two servers would share a port in silence
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
    set_lifetimes(builder, s);
    // Somewhat more than the limit, so that what is just above it gets an answer that says so.
    builder.SetMaxReceiveMessageSize(static_cast<int>(s.limits.message_bytes + s.limits.message_bytes / 4));
    builder.SetMaxSendMessageSize(-1);
    server_ = builder.BuildAndStart();
    if (!server_ || port_ == 0) {
      throw std::runtime_error("cannot listen on " + address + "; is the port taken by another program?");
    }
    log("gRPC on " + with(port_) + ", role " + s.role);
  }

  ~Server() {
    if (app_.store) app_.store->on_change({});  // its threads may go on a little longer
    shutdown();
  }

  /// Tells the health service what is so now.
  void update_health() {
    const std::lock_guard lock(mutex_);
    grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
    const bool ready = app_.ready(), serving = !app_.draining;
    health->SetServingStatus("", ready);
    health->SetServingStatus("bib.Live", true);
    if (app_.settings.predicts()) {
      for (const char* name : {"bib.v1.PredictProvider", "inference.GRPCInferenceService"}) {
        health->SetServingStatus(name, ready);
      }
    }
    if (app_.settings.trains()) {
      for (const char* name : {"bib.v1.TrainProvider", "bib.v1.JobProvider"}) health->SetServingStatus(name, serving);
    }
    health->SetServingStatus("bib.v1.ModelProvider", serving);
    if (!app_.store) return;
    const std::vector<std::string> served = app_.store->served_names();
    models_.insert(served.begin(), served.end());
    for (const std::string& name : models_) {
      const bool loaded = std::find(served.begin(), served.end(), name) != served.end();
      health->SetServingStatus("bib.model." + name, serving && loaded);
    }
  }

  void shutdown() {
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  }
  int port() const { return port_; }

 private:
  App& app_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::mutex mutex_;
  std::set<std::string> models_;  // ever served: what is gone must say so
};

void add_gauges(App& app) {
  Metrics& m = app.metrics;
  m.gauge("bib_ready", "1 when the server is ready.", [&app] { return app.ready() ? 1.0 : 0.0; });
  m.gauge("bib_resident_bytes", "Memory in use.", resident_bytes);
  m.gauge("bib_calls_in_flight", "Calls being answered.", [&m] { return static_cast<double>(m.in_flight.load()); });
  m.gauge("bib_streams_open", "Streams open.", [&m] { return static_cast<double>(m.streams.load()); });
  if (app.engine) {
    m.gauge("bib_queue_requests", "Prediction requests that wait.",
            [&app] { return static_cast<double>(app.engine->queued()); });
    m.gauge("bib_workers_busy", "Workers that compute.", [&app] { return static_cast<double>(app.engine->busy()); });
    m.gauge("bib_queue_seconds", "Expected wait of a new request.", [&app] { return app.engine->wait_estimate(); });
    m.gauge("bib_models_loaded", "Models that are served.",
            [&app] { return static_cast<double>(app.store->served_names().size()); });
    m.gauge("bib_model_versions_loaded", "Versions of models in memory.",
            [&app] { return static_cast<double>(app.store->versions_in_memory()); });
  }
  m.gauge("process_start_time_seconds", "Unix time at which the server began.",
          [began = unix_time()] { return began; });
  if (app.jobs) {
    m.gauge("bib_jobs_queued", "Training jobs that wait.", [&app] { return static_cast<double>(app.jobs->queued()); });
    m.gauge("bib_jobs_running", "Training jobs that run.", [&app] { return static_cast<double>(app.jobs->running()); });
  }
}

/// Waits for the signal that ends the server. Memory that a burst of calls took, and the allocator keeps, goes back to
/// the system when no call has come for a while.
int wait_for_end(const App& app) {
  constexpr double look_seconds = 1, worth_it = 1 << 20;  // bytes
  constexpr int idle_looks = 3;
  double least = resident_bytes();
  std::uint64_t asked = 0;
  for (int idle = 0;;) {
    if (const int signal = wait_signal(look_seconds); signal == SIGHUP) {
      log("SIGHUP: models are looked for; tokens and certificates are read whenever they change");
      if (app.store) app.store->look();
    } else if (signal) {
      return signal;
    }
    const bool rests = app.metrics.in_flight == 0 && app.metrics.asked == asked;
    asked = app.metrics.asked;
    idle = rests ? idle + 1 : 0;
    const double now = resident_bytes();
    least = std::min(least, now);
    if (idle < idle_looks || now < least + worth_it) continue;
    malloc_trim(0);
    least = resident_bytes();  // what is in use
    idle = 0;
  }
}

/// Not ready but serving, then refusing, then waiting for what is in flight. A second signal hurries it. Jobs have the
/// time of --drain-timeout for a checkpoint; no thread is made for that, as there may be none left.
void drain(App& app, Server& server, int signal) {
  ::signal(SIGHUP, SIG_IGN);  // nothing to look for any more, and no reason to hurry
  app.draining = true;
  server.update_health();
  const double lame = signal == SIGTERM ? app.settings.drain_seconds : 0;
  log(std::string("signal: not ready any more; serving on for ") + std::to_string(static_cast<int>(lame)) + " s");
  bool hurry = lame > 0 && wait_signal(lame) != 0;
  app.refusing = true;
  log("new calls are refused");
  if (app.jobs) app.jobs->begin_stop();
  const auto end = Clock::now() + std::chrono::duration<double>(app.settings.drain_timeout);
  const auto busy = [&] { return (app.metrics.in_flight > 0 && !hurry) || (app.jobs && app.jobs->running() > 0); };
  while (busy() && Clock::now() < end) hurry |= wait_signal(0.005) != 0;
  if (app.jobs) app.jobs->leave_to_next();
  log("drained");
}

/// Until the signal that ends the server, and to the end of what can be ended in order.
int serve(App& app, std::unique_ptr<Server>& server, std::unique_ptr<Http>& http) {
  const Settings& settings = app.settings;
  server = std::make_unique<Server>(app);
  server->update_health();
  if (settings.http_port >= 0) {  // alive, while the models of the start are loaded
    http = std::make_unique<Http>(app);
    log("HTTP on " + settings.listen + ":" + std::to_string(http->port()));
  }
  if (app.store) {
    app.store->on_change([&server] { server->update_health(); });
    app.store->start();
  }
  server->update_health();
  const std::string awaited = app.store ? app.store->awaited() : "";
  log(app.ready() ? "ready" : "waiting for a model in " + settings.models + (awaited.empty() ? "" : ": " + awaited));
  const int signal = wait_for_end(app);
  awaiting("what is in flight");
  drain(app, *server, signal);
  end_within(last_seconds, exit_code(signal));
  awaiting("an HTTP connection");
  http.reset();
  awaiting("a model that is being loaded");
  if (app.store) app.store->stop();
  awaiting("a prediction");
  if (app.engine) app.engine->stop();
  awaiting("a call of gRPC");
  server->shutdown();
  awaiting("a thread of a job or of gRPC");
  return exit_code(signal);
}

int run(const Settings& settings) {
  catch_signals(settings.drain_seconds + settings.drain_timeout + last_seconds);
  // Memory of freed models goes back instead of staying in many arenas, or in holes of theirs: set by hand, the limit
  // from which memory is the system's own no longer grows to the size of the largest block ever freed.
  mallopt(M_ARENA_MAX, 4);
  mallopt(M_MMAP_THRESHOLD, 512 << 10);

  log("bib " BIB_VERSION ", " + settings.device_line);
  App app(settings);
  add_gauges(app);
  std::unique_ptr<Server> server;
  std::unique_ptr<Http> http;
  try {
    return serve(app, server, http);
  } catch (const std::exception& e) {
    end_within(last_seconds, 1);
    log(e.what(), Level::error);  // before what it may hang on is ended
    return 1;
  }
}

}  // namespace
}  // namespace bib::serve

int main(int argc, char** argv) {
  bib::serve::Settings settings;
  int code = 0;
  if (!bib::serve::read_settings(argc, argv, settings, code)) return code;
  try {
    return bib::serve::run(settings);
  } catch (const bib::serve::LoggedRefusal&) {
    return 1;
  } catch (const std::exception& e) {
    bib::serve::log(e.what(), bib::serve::Level::error);
    return 1;
  }
}
