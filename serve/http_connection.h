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
  /// Owns the socket. `tls`: null for none, else the handshake is done with the first request that is waited for.
  HttpConnection(int socket, SSL_CTX* tls);
  /// Sends what is written and hears the client out for a moment: closed at once, what it still sends would make the
  /// system drop answers that are on their way.
  ~HttpConnection() override;
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  /// Waits for the next request to begin, without the empty lines that some clients send between two. False: none came.
  bool wait_for_request();

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* to, size_t size) override;
  ssize_t write(const char* from, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  using Clock = std::chrono::steady_clock;
  template <class F>
  ssize_t try_until(Clock::time_point end, short plain, F&& step);
  ssize_t receive(char* to, std::size_t size, Clock::time_point end);
  bool shake_hands(Clock::time_point end);

  const int socket_;
  std::unique_ptr<SSL, decltype(&SSL_free)> tls_;
  bool shaken_ = false, ended_ = false;
  std::array<char, 16384> buffer_;  // as long as TLS' records
  std::size_t begin_ = 0, end_ = 0;
};

}  // namespace bib::serve
