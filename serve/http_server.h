// httplib's server over connections of our own, with TLS or without. Its own takes connections without a limit and
// serves a fixed number: as many slow or silent clients would leave no place for the probes of the orchestrator.
#pragma once
#include <httplib.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

#include "serve/http_threads.h"
#include "serve/http_tls.h"

namespace bib::serve {

class HttpServer final : public httplib::Server {
 public:
  /// Where `most` connections are open, the one that has waited longest for its client gives way to a new one. Clients
  /// have `seconds` as HttpConnection says. While `draining`, each connection is closed with its next answer. `tls` may
  /// be null; both outlive the server. Throws std::system_error where the system gives no thread.
  HttpServer(std::size_t most, double seconds, const std::atomic<bool>& draining, HttpTls* tls);

  /// Answers requests at the port that was bound, until end().
  void serve();
  /// Takes no more requests; those under way are answered.
  void end();

  /// For the request that this thread answers: it gives way to nobody until it is answered. False where so many do that
  /// the places that are left are needed for others.
  bool keep();
  /// Of the request that this thread answers, or could not read: HttpConnection::fault.
  static int fault();
  std::size_t connections() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Guest {
    Clock::time_point since = Clock::now();  // its last answer, or the beginning of the request
    bool kept = false, leaving = false;
  };

  void answer(socket_t socket);
  void rest(socket_t socket);
  void give_way();

  const std::size_t most_;
  const double seconds_;
  const std::atomic<bool>& draining_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> tls_{nullptr, SSL_CTX_free};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<socket_t, Guest> open_;
  std::size_t kept_ = 0, leaving_ = 0;
  std::atomic<bool> ending_{false};
  HttpThreads threads_;  // last: ends first
};

}  // namespace bib::serve
