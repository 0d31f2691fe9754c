#include "serve/http_connection.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace bib::serve {
namespace {

constexpr std::chrono::seconds idle{5};  // between two requests, or before the first
constexpr auto of_a_byte = std::chrono::nanoseconds(std::chrono::seconds(1)) / 16384;  // at the slowest
constexpr std::chrono::seconds farewell{1};
constexpr std::size_t most_farewell = 1 << 20;  // bytes
constexpr std::size_t most_head = 1 << 16;      // bytes; httplib has no limit, nor one for the lines among chunks

/// Waits for `events`; false when it is over.
bool wait_for(int socket, short events, std::chrono::steady_clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  pollfd p{socket, events, 0};
  int ready = 0;
  do {
    ready = poll(&p, 1, static_cast<int>(std::max<std::int64_t>(0, left.count())));
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

void name(int (*get)(int, sockaddr*, socklen_t*), int socket, std::string& ip, int& port) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char text[INET6_ADDRSTRLEN] = "";
  if (get(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
  const bool six = address.ss_family == AF_INET6;
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address);
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address);
  inet_ntop(address.ss_family, six ? static_cast<const void*>(&v6->sin6_addr) : &v4->sin_addr, text, sizeof text);
  ip = text;
  port = ntohs(six ? v6->sin6_port : v4->sin_port);
}

}  // namespace

HttpConnection::HttpConnection(int socket, SSL_CTX* tls, double seconds)
    : socket_(socket),
      patience_(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds))),
      tls_(tls ? SSL_new(tls) : nullptr, SSL_free) {
  if (tls_) SSL_set_fd(tls_.get(), socket);
}

HttpConnection::~HttpConnection() { close(socket_); }

void HttpConnection::part() {
  if (tls_ && shaken_ && !ended_) SSL_shutdown(tls_.get());
  shutdown(socket_, SHUT_WR);
  const auto end = Clock::now() + farewell;
  for (std::size_t heard = 0; !ended_ && heard < most_farewell;) {
    const ssize_t got = recv(socket_, buffer_.data(), buffer_.size(), 0);
    if (got > 0) heard += static_cast<std::size_t>(got);
    if (got == 0 || (got < 0 && (errno != EAGAIN || !wait_for(socket_, POLLIN, end)))) break;
  }
}

void HttpConnection::begin_turn(Turn turn) {
  turn_ = turn;
  turn_end_ = Clock::now() + patience_;
}

/// When the client must have sent, or taken, the next byte.
HttpConnection::Clock::time_point HttpConnection::latest() const {
  return std::min(Clock::now() + patience_ / 2, turn_end_);
}

/// Takes `step` until it is done, however often the socket must be waited for: `plain` is what for, where TLS does not
/// say. What it returned, or -1.
template <class F>
ssize_t HttpConnection::try_until(Clock::time_point end, short plain, F&& step) {
  for (;;) {
    ERR_clear_error();
    const ssize_t done = step();
    if (done > 0) return done;
    short events = plain;
    if (tls_) {
      const int error = SSL_get_error(tls_.get(), static_cast<int>(done));
      if (error == SSL_ERROR_ZERO_RETURN) return 0;
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        errno = EPROTO;  // not what it was before
        return -1;
      }
      events = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
    } else if (done == 0) {
      return 0;
    } else if (errno != EAGAIN && errno != EINTR) {
      return -1;
    }
    if (!wait_for(socket_, events, end)) {
      errno = ETIMEDOUT;
      return -1;
    }
  }
}

bool HttpConnection::shake_hands(Clock::time_point end) {
  if (tls_ && !shaken_) shaken_ = try_until(end, POLLIN, [&] { return ssize_t{SSL_accept(tls_.get())}; }) == 1;
  return !tls_ || shaken_;
}

ssize_t HttpConnection::receive(char* to, std::size_t size, Clock::time_point end) {
  const ssize_t got = try_until(end, POLLIN, [&] {
    return tls_ ? ssize_t{SSL_read(tls_.get(), to, static_cast<int>(size))} : recv(socket_, to, size, 0);
  });
  ended_ |= got == 0 || (got < 0 && errno != ETIMEDOUT);
  return got;
}

bool HttpConnection::wait_for_request() {
  const auto end = Clock::now() + idle;
  fault_ = 0;
  if (!shake_hands(end)) {
    ended_ = true;
    return false;
  }
  std::size_t blank = 0;
  for (;;) {
    while (begin_ < end_ && (buffer_[begin_] == '\r' || buffer_[begin_] == '\n')) ++begin_;
    if (begin_ < end_) {
      head_ = 0;
      begin_turn(Turn::head);
      return true;
    }
    const ssize_t got = receive(buffer_.data(), buffer_.size(), end);
    if (got <= 0 || (blank += static_cast<std::size_t>(got)) > most_head) return false;
    begin_ = 0;
    end_ = static_cast<std::size_t>(got);
  }
}

ssize_t HttpConnection::read(char* to, size_t size) {
  if (turn_ == Turn::answer) begin_turn(Turn::body);  // that answer was "100 Continue"
  if (fault_) return -1;
  if (begin_ == end_) {
    const ssize_t got = receive(buffer_.data(), buffer_.size(), latest());
    if (got < 0 && errno == ETIMEDOUT) fault_ = 408;
    if (got <= 0) return got;
    begin_ = 0;
    end_ = static_cast<std::size_t>(got);
  }
  const std::size_t part = std::min(size, end_ - begin_);
  std::memcpy(to, buffer_.data() + begin_, part);
  begin_ += part;
  // httplib reads lines by the byte, and keeps them.
  line_ = size == 1 && *to != '\n' ? line_ + 1 : 0;
  if (turn_ == Turn::head) {
    head_ += part;
  } else {
    turn_end_ += static_cast<std::int64_t>(part) * of_a_byte;
  }
  if (std::max(head_, line_) <= most_head) return static_cast<ssize_t>(part);
  fault_ = turn_ == Turn::head ? 431 : 400;
  return -1;
}

/// All of it, or -1.
ssize_t HttpConnection::write(const char* from, size_t size) {
  if (turn_ != Turn::answer) begin_turn(Turn::answer);
  for (std::size_t done = 0; done < size;) {
    const std::size_t part = std::min<std::size_t>(size - done, 1 << 20);
    const ssize_t sent = try_until(latest(), POLLOUT, [&] {
      return tls_ ? ssize_t{SSL_write(tls_.get(), from + done, static_cast<int>(part))}
                  : send(socket_, from + done, part, MSG_NOSIGNAL);
    });
    if (sent <= 0) return -1;
    done += static_cast<std::size_t>(sent);
    turn_end_ += sent * of_a_byte;
  }
  return static_cast<ssize_t>(size);
}

bool HttpConnection::is_readable() const {
  return begin_ < end_ || (tls_ && SSL_pending(tls_.get()) > 0) || wait_for(socket_, POLLIN, latest());
}

bool HttpConnection::is_writable() const { return wait_for(socket_, POLLOUT, latest()); }

void HttpConnection::get_remote_ip_and_port(std::string& ip, int& port) const { name(getpeername, socket_, ip, port); }
void HttpConnection::get_local_ip_and_port(std::string& ip, int& port) const { name(getsockname, socket_, ip, port); }

}  // namespace bib::serve
