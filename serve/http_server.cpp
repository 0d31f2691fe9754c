#include "serve/http_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "serve/http_connection.h"

namespace bib::serve {
namespace {

constexpr std::chrono::milliseconds moment{100};
constexpr std::chrono::seconds long_enough{1};  // for an answer that waits for nothing but its client

thread_local HttpConnection* connection_here = nullptr;

/// Places that no kept request takes.
std::size_t spare(std::size_t most) { return std::max<std::size_t>(2, most / 8); }

}  // namespace

HttpServer::HttpServer(std::size_t most, double seconds, const std::atomic<bool>& draining, HttpTls* tls)
    : most_(most), seconds_(seconds), draining_(draining) {
  if (!tls) return;
  tls_.reset(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_set_mode(tls_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  tls->install(*tls_);
}

void HttpServer::serve() {
  ::listen(svr_sock_, SOMAXCONN);  // httplib lets five wait, and others ask again after a second
  fcntl(svr_sock_, F_SETFL, fcntl(svr_sock_, F_GETFL) | O_NONBLOCK);  // who called may have gone
  while (!ending_) {
    pollfd client{svr_sock_, POLLIN, 0};
    if (poll(&client, 1, -1) < 1) continue;
    std::unique_lock lock(mutex_);
    while (open_.size() >= most_ && !ending_) {
      give_way();
      changed_.wait_for(lock, moment);
    }
    const socket_t socket = accept4(svr_sock_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket >= 0) {
      open_.emplace(socket, Guest{});
      lock.unlock();
      threads_.enqueue([this, socket] { answer(socket); });
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      give_way();  // what is missing is somebody else's, perhaps, and may come back at any time
      changed_.wait_for(lock, std::chrono::milliseconds(100));
    }
  }
  close(svr_sock_.exchange(INVALID_SOCKET));
}

/// What waits for the rest of a request, however slowly it comes, waits no more.
void HttpServer::end() {
  const std::lock_guard lock(mutex_);
  ending_ = true;
  shutdown(svr_sock_, SHUT_RDWR);
  for (const auto& [socket, guest] : open_) shutdown(socket, SHUT_RD);
  changed_.notify_all();
}

/// With the mutex. One connection ends soon, where one waits for its client: not what has just come, and what has asked
/// for something only where it takes no answer.
void HttpServer::give_way() {
  if (leaving_ > 0) return;
  const auto now = Clock::now();
  const auto may_leave = [&](socket_t socket, const Guest& guest) {
    pollfd request{socket, POLLIN, 0};
    const auto age = now - guest.since;
    return !guest.kept && age > moment && (age > long_enough || poll(&request, 1, 0) == 0);
  };
  auto first = open_.end();
  for (auto it = open_.begin(); it != open_.end(); ++it) {
    const bool longer = first == open_.end() || it->second.since < first->second.since;
    if (longer && may_leave(it->first, it->second)) first = it;
  }
  if (first == open_.end()) return;
  first->second.leaving = true;
  ++leaving_;
  shutdown(first->first, SHUT_RDWR);
}

bool HttpServer::keep() {
  const std::lock_guard lock(mutex_);
  Guest& guest = open_.at(connection_here->socket());
  if (guest.leaving || kept_ + spare(most_) >= most_) return false;
  ++kept_;
  return guest.kept = true;
}

/// The request is answered, or the next one begins.
void HttpServer::rest(socket_t socket) {
  const std::lock_guard lock(mutex_);
  Guest& guest = open_.at(socket);
  if (guest.kept) --kept_;
  guest.kept = false;
  guest.since = Clock::now();
  changed_.notify_all();
}

int HttpServer::fault() { return connection_here->fault(); }

std::size_t HttpServer::connections() const {
  const std::lock_guard lock(mutex_);
  return open_.size();
}

void HttpServer::answer(socket_t socket) {
  HttpConnection connection(socket, tls_.get(), seconds_);
  connection_here = &connection;
  bool answered = true, last = false;
  for (std::size_t left = keep_alive_max_count_; answered && !last && !ending_ && left > 0; --left) {
    if (!connection.wait_for_request()) break;
    rest(socket);
    const bool close = draining_ || left == 1;
    answered = process_request(connection, close, last, [&](httplib::Request&) { connection.head_is_read(); });
    last |= close;
    rest(socket);
  }
  connection.part();
  const std::lock_guard lock(mutex_);
  if (open_.at(socket).leaving) --leaving_;
  open_.erase(socket);  // before its number may come again
  changed_.notify_all();
}

}  // namespace bib::serve
