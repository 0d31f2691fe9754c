// httplib's server over connections of our own, with TLS or without.
#pragma once
#include <httplib.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <set>

#include "serve/http_tls.h"

namespace bib::serve {

class HttpServer final : public httplib::Server {
 public:
  /// While `draining`, each connection is closed with its next answer. `tls` may be null; both outlive the server.
  HttpServer(const std::atomic<bool>& draining, HttpTls* tls);
  /// Takes no more requests; those under way are answered.
  void end();

 private:
  bool process_and_close_socket(socket_t socket) override;

  const std::atomic<bool>& draining_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> tls_{nullptr, SSL_CTX_free};
  std::mutex mutex_;
  std::set<socket_t> open_;
};

}  // namespace bib::serve
