#include "serve/http_server.h"

#include <sys/socket.h>

#include "serve/http_connection.h"

namespace bib::serve {

HttpServer::HttpServer(const std::atomic<bool>& draining, HttpTls* tls) : draining_(draining) {
  if (!tls) return;
  tls_.reset(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_set_mode(tls_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  tls->install(*tls_);
}

/// What waits for the rest of a request, however slowly it comes, waits no more.
void HttpServer::end() {
  stop();
  const std::lock_guard lock(mutex_);
  for (const socket_t socket : open_) shutdown(socket, SHUT_RD);
}

bool HttpServer::process_and_close_socket(socket_t socket) {
  HttpConnection connection(socket, tls_.get());
  {
    const std::lock_guard lock(mutex_);
    open_.insert(socket);
  }
  bool answered = true, last = false;
  for (std::size_t left = keep_alive_max_count_; answered && !last && left > 0 && svr_sock_ != INVALID_SOCKET; --left) {
    if (!connection.wait_for_request()) break;
    const bool close = draining_ || left == 1;
    answered = process_request(connection, close, last, nullptr);
    last |= close;
  }
  const std::lock_guard lock(mutex_);
  open_.erase(socket);  // before its number may come again
  return answered;
}

}  // namespace bib::serve
