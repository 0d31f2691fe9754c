// Everything the server can be told on its command line (or by BIB_<FLAG> in the environment).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bib/context.h"

namespace bib::serve {

struct Limits {
  std::size_t message_bytes = std::size_t{64} << 20;
  std::size_t text_bytes = std::size_t{1} << 20;
  std::size_t texts = 10'000;       // of one prediction request
  std::size_t records = 5'000'000;  // of one training set
  std::size_t labels = 10'000;
  int epochs = 100'000;
  std::size_t upload_bytes = std::size_t{8} << 30;  // of a corpus or model that comes in pieces
  std::size_t streams = 256;                        // progress and prediction streams open at a time
};

struct Settings {
  std::string role = "both", models = "models", state, datasets;
  std::string listen = "127.0.0.1";
  int port = 50051, http_port = -1;  // -1: no HTTP; 0: any free port
  int http_connections = 256;        // open at a time
  double http_seconds = 10;          // that a client has for each part of a request
  bool insecure = false, no_reflection = false, allow_empty = false, log_texts = false;
  std::string log_format = "text";
  std::string tls_cert, tls_key, tls_client_ca, tokens;

  std::string device_line;  // what was chosen, and why
  ContextOptions device;    // of each prediction worker and of training
  int workers = 0;          // prediction threads; 0: as many as the process may use
  int train_threads = 0, train_slots = 1, train_nice = 10, max_queued_jobs = 100;
  double checkpoint_seconds = 60, keep_uploads_days = 30, keep_jobs_days = 90;

  std::string preload = "all";        // all, none, or names
  double poll_seconds = 2;            // how often the repository is looked at
  double idle_unload_seconds = 3600;  // a version that a request had loaded by its number goes then; 0: never
  int batch_texts = 64;
  std::int64_t batch_units = 8192;  // padded
  double queue_ms = 40;             // a prediction that would wait longer is refused with a retry hint
  double drain_seconds = 5, drain_timeout = 30;
  int keepalive_seconds = 60, connection_seconds = 0;
  Limits limits;

  bool unix_socket() const { return listen.rfind("unix:", 0) == 0; }
  bool predicts() const { return role != "train"; }
  bool trains() const { return role != "predict"; }
};

/// Reads the command line, and sets the format of the log. Returns false when the program should end with `exit_code`
/// (help, wrong use).
bool read_settings(int argc, char** argv, Settings& settings, int& exit_code);

}  // namespace bib::serve
