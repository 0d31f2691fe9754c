// One connection of HTTP. httplib's own forgets with a request what it read of the next, so that requests which arrive
// together would be lost; this one keeps it.
#pragma once
#include <httplib.h>
#include <openssl/ssl.h>

#include <array>
#include <chrono>
#include <memory>

namespace bib::serve {

class HttpConnection final : public httplib::Stream {
 public:
  /// Owns the socket, which does not block. `tls`: null for none, else the handshake is done with the first request
  /// that is waited for. The client has so many `seconds` for the head of a request, and for its body and to take the
  /// answer as many and what their bytes need at the slowest; it may be silent for half as many.
  HttpConnection(int socket, SSL_CTX* tls, double seconds);
  ~HttpConnection() override;
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  /// Waits for the next request to begin, without the empty lines that some clients send between two. False: none came.
  bool wait_for_request();
  /// The head of the request is read: what comes now is its body.
  void head_is_read() { begin_turn(Turn::body); }
  /// The status for what the client did wrong, so that the request could not be read: 408 where it was too slow, 431
  /// where the head had no end; 0: neither.
  int fault() const { return fault_; }
  /// Sends what is written and hears the client out for a moment: closed at once, what it still sends would make the
  /// system drop answers that are on their way.
  void part();

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* to, size_t size) override;
  ssize_t write(const char* from, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  using Clock = std::chrono::steady_clock;
  enum class Turn { head, body, answer };
  void begin_turn(Turn turn);
  Clock::time_point latest() const;
  template <class F>
  ssize_t try_until(Clock::time_point end, short plain, F&& step);
  ssize_t receive(char* to, std::size_t size, Clock::time_point end);
  bool shake_hands(Clock::time_point end);

  const int socket_;
  const Clock::duration patience_;
  std::unique_ptr<SSL, decltype(&SSL_free)> tls_;
  Turn turn_ = Turn::head;
  Clock::time_point turn_end_;
  std::size_t head_ = 0, line_ = 0;  // bytes of it that are read
  int fault_ = 0;
  bool shaken_ = false, ended_ = false;
  std::array<char, 16384> buffer_;  // as long as TLS' records
  std::size_t begin_ = 0, end_ = 0;
};

}  // namespace bib::serve
