#include "serve/settings.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include "cli/explain.h"
#include "serve/log.h"
#include "train/device_name.h"

namespace bib::serve {
namespace {

/// Every flag has a twin in the environment: --queue-ms is BIB_QUEUE_MS.
template <class T>
CLI::Option* flag(CLI::App& app, const std::string& name, T& value, const std::string& help) {
  std::string variable = "BIB_";
  for (const char c : name.substr(name.rfind("--") + 2)) {
    variable += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  if constexpr (std::is_same_v<T, bool>) {
    return app.add_flag(name, value, help)->envname(variable);
  } else {
    return app.add_option(name, value, help)->envname(variable)->take_last()->capture_default_str();
  }
}

void add_flags(CLI::App& app, Settings& s, std::string& device, std::string& math) {
  flag(app, "--role", s.role, "train, predict or both")->check(CLI::IsMember({"train", "predict", "both"}));
  flag(app, "--models", s.models, "Model repository: <name>/<version>/model.bib");
  flag(app, "--state", s.state, "Jobs and uploads (default: <models>/.state; same volume as --models)");
  flag(app, "--datasets", s.datasets, "Folder that training requests may name files in (default: none)");
  flag(app, "--device", device, "auto, cpu, cuda or cuda:N");
  flag(app, "--math", math,
       "strict (fp32), fast (GPU: bf16 and TF32 products; predicting on a CPU: 16-bit ones) or int8");
  flag(app, "--port", s.port, "gRPC port; 0: any free one")->check(cli::in_range(0, 65535))->group("Network");
  flag(app, "--http", s.http_port, "HTTP port for health, metrics and POST /v1/predict; -1: none")
      ->check(cli::in_range(-1, 65535))
      ->group("Network");
  flag(app, "--http-connections", s.http_connections,
       "HTTP connections open at a time; seven eighths of them may be predictions, the rest is for probes")
      ->check(cli::in_range(8, 65536))
      ->group("Network");
  flag(app, "--http-seconds", s.http_seconds,
       "An HTTP client has so long for the head of a request; for its body, and to take the answer, as long and a "
       "second for every 16 KB")
      ->check(cli::in_range(0.1, 86'400.0))
      ->group("Network");
  flag(app, "--listen", s.listen, "Address to listen on")->group("Network");
  flag(app, "--insecure", s.insecure, "Listen beyond this machine without TLS")->group("Network");
  flag(app, "--keepalive-seconds", s.keepalive_seconds,
       "A quiet gRPC client is pinged so often; one that does not answer has gone. 0: never")
      ->check(cli::in_range(0, 86'400))
      ->group("Network");
  flag(app, "--connection-seconds", s.connection_seconds,
       "A gRPC client is asked so often to connect anew, so that it finds new servers. 0: never")
      ->check(cli::in_range(0, 86'400))
      ->group("Network");
  flag(app, "--tls-cert", s.tls_cert, "Certificate chain, PEM; read again when it changes")->group("Network");
  flag(app, "--tls-key", s.tls_key, "Its key, PEM")->group("Network");
  flag(app, "--tls-client-ca", s.tls_client_ca, "Clients must show a certificate of this authority")->group("Network");
  flag(app, "--tokens", s.tokens, "Bearer tokens: lines '<role>[,<role>] <token>'; roles predict, train, admin")
      ->group("Network");
  flag(app, "--no-reflection", s.no_reflection, "Do not describe the services to clients")->group("Network");
  flag(app, "--workers", s.workers, "Prediction threads; 0: as many as the process may use")
      ->check(cli::in_range(0, 4096))
      ->group("Prediction");
  flag(app, "--preload", s.preload,
       "Models to load at the start: all, none, or names with commas, which it is not ready without")
      ->group("Prediction");
  flag(app, "--allow-empty", s.allow_empty, "Be ready without a model")->group("Prediction");
  flag(app, "--poll-seconds", s.poll_seconds, "How often the repository is looked at")
      ->check(cli::in_range(0.01, 3600.0))
      ->group("Prediction");
  flag(app, "--idle-unload-seconds", s.idle_unload_seconds,
       "A version that a request had loaded by its number leaves memory when nobody asked for it for so long; 0: never")
      ->check(cli::in_range(0.0, 1e9))
      ->group("Prediction");
  flag(app, "--batch-texts", s.batch_texts, "Texts of a batch")->check(CLI::PositiveNumber)->group("Prediction");
  flag(app, "--batch-units", s.batch_units, "Padded characters of a batch")
      ->check(CLI::PositiveNumber)
      ->group("Prediction");
  flag(app, "--queue-ms", s.queue_ms, "Longest expected wait; beyond it requests are refused with a retry hint")
      ->check(cli::in_range(0.0, 1e9))
      ->group("Prediction");
  flag(app, "--train-threads", s.train_threads,
       "CPU threads of a job; 0: as many as the process may use, but one where the server predicts too")
      ->check(cli::in_range(0, 4096))
      ->group("Training");
  flag(app, "--train-slots", s.train_slots, "Jobs at a time")->check(cli::in_range(1, 64))->group("Training");
  flag(app, "--train-nice", s.train_nice, "Niceness of training, so that predictions go first")
      ->check(cli::in_range(0, 19))
      ->group("Training");
  flag(app, "--max-queued-jobs", s.max_queued_jobs, "Jobs that may wait")
      ->check(CLI::NonNegativeNumber)
      ->group("Training");
  flag(app, "--checkpoint-seconds", s.checkpoint_seconds, "Least time between checkpoints")
      ->check(cli::in_range(0.0, 1e9))
      ->group("Training");
  flag(app, "--keep-uploads-days", s.keep_uploads_days, "Uploaded corpora that nobody used for so long go; 0: never")
      ->check(cli::in_range(0.0, 1e9))
      ->group("Training");
  flag(app, "--keep-jobs-days", s.keep_jobs_days,
       "Jobs that ended so long ago go, with their records and checkpoints; their models stay. 0: never")
      ->check(cli::in_range(0.0, 1e9))
      ->group("Training");
  flag(app, "--drain-seconds", s.drain_seconds, "After SIGTERM: serve on for this long, but not ready")
      ->check(cli::in_range(0.0, 1e9))
      ->group("Ending");
  flag(app, "--drain-timeout", s.drain_timeout, "Then wait this long for what is in flight, and for checkpoints")
      ->check(cli::in_range(0.0, 1e9))
      ->group("Ending");
  flag(app, "--log-format", s.log_format, "text, or json: an object a line with time, level and message")
      ->check(CLI::IsMember({"text", "json"}));
  flag(app, "--log-texts", s.log_texts, "Write the texts of users into the log, which else never holds them");
  flag(app, "--max-message-bytes", s.limits.message_bytes, "Largest request")
      ->check(cli::in_range(1024, 1 << 30))
      ->group("Limits");
  flag(app, "--max-text-bytes", s.limits.text_bytes, "Longest text")->check(CLI::PositiveNumber)->group("Limits");
  flag(app, "--max-texts", s.limits.texts, "Texts of one request")->check(CLI::PositiveNumber)->group("Limits");
  flag(app, "--max-records", s.limits.records, "Examples of a training set")
      ->check(CLI::PositiveNumber)
      ->group("Limits");
  flag(app, "--max-upload-bytes", s.limits.upload_bytes, "Largest corpus or model that comes in pieces")
      ->check(CLI::PositiveNumber)
      ->group("Limits");
  flag(app, "--max-labels", s.limits.labels, "Labels of a model")->check(CLI::PositiveNumber)->group("Limits");
  flag(app, "--max-streams", s.limits.streams, "Streams open at a time")->check(CLI::PositiveNumber)->group("Limits");
}

/// The format of the log, as far as it can be told from a command line that may make no sense.
LogFormat format_of(int argc, char** argv) {
  const char* variable = std::getenv("BIB_LOG_FORMAT");
  std::string format = variable ? variable : "";
  const std::string name = "--log-format";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == name && i + 1 < argc) format = argv[++i];
    if (argument.starts_with(name + "=")) format = argument.substr(name.size() + 1);
  }
  return format == "json" ? LogFormat::json : LogFormat::text;
}

bool is_loopback(const std::string& address) {
  return address == "localhost" || address == "::1" || address.rfind("127.", 0) == 0;
}

std::string device_line(const std::string& asked, const ContextOptions& got) {
  if (got.device == Device::cuda) return "device cuda:" + std::to_string(got.device_index);
  std::string why;
  if (has_cuda && asked == "auto") {
    const DeviceInfo gpu = cuda_info();
    why = gpu.cuda ? "; bib bench --advise found it the faster one here" : "; " + gpu.why;
  }
  return std::string("device cpu (") + cpu_isa_name() + why + ")";
}

/// Throws std::invalid_argument.
void check(Settings& s) {
  if (s.tls_cert.empty() != s.tls_key.empty()) throw std::invalid_argument("--tls-cert and --tls-key go together");
  if (!s.tls_client_ca.empty() && s.tls_cert.empty()) throw std::invalid_argument("--tls-client-ca needs --tls-cert");
  if (s.listen.size() > 2 && s.listen.front() == '[' && s.listen.back() == ']') {  // as in [::1]
    s.listen = s.listen.substr(1, s.listen.size() - 2);
  }
  if (s.unix_socket() && s.http_port >= 0)
    throw std::invalid_argument("--http needs an address to --listen on, not unix:");
  if (!s.unix_socket() && !is_loopback(s.listen) && s.tls_cert.empty() && !s.insecure) {
    throw std::invalid_argument("--listen " + s.listen +
                                " opens the server to the network without TLS; give --tls-cert and --tls-key, or "
                                "--insecure if something else protects it");
  }
  std::erase(s.preload, ' ');  // names have none, but "a, b" is written
  if (s.state.empty()) s.state = s.models + "/.state";
}

}  // namespace

bool read_settings(int argc, char** argv, Settings& settings, int& exit_code) {
  CLI::App app("Serves training and prediction over gRPC (and HTTP).", "bib serve");
  app.set_version_flag("--version", "bib " BIB_VERSION);
  app.footer("Example: bib serve --models models --port 50051 --http 8080");
  std::string device = "auto", math = "strict";
  const LogFormat format = format_of(argc, argv);
  set_log_format(format);
  const auto fail = [&](int code, const std::string& what) {
    if (format == LogFormat::json) {
      log(what, Level::error);
    } else {
      std::cerr << "bib serve: error: " << what << '\n';
    }
    exit_code = code;
    return false;
  };
  add_flags(app, settings, device, math);
  try {
    app.parse(argc, argv);
    cli::refuse_empty(app);
    check(settings);
    settings.device = device_options(device, 0, settings.trains() ? DeviceUse::train : DeviceUse::predict);
    settings.device_line = device_line(device, settings.device);
    settings.device.math = math_of(math);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() != 0 && format == LogFormat::json) {
      return fail(2, cli::fault_of(app, e).what + "; 'bib serve --help' explains its use");
    }
    exit_code = cli::explain(app, e);
    return false;
  } catch (const std::invalid_argument& e) {
    return fail(2, e.what());
  } catch (const DeviceError& e) {
    return fail(5, e.what());
  }
  return true;
}

}  // namespace bib::serve
