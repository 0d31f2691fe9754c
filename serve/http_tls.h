// Certificates of the HTTP port, read again when their files change.
#pragma once
#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace bib::serve {

class HttpTls {
 public:
  /// PEM files; `client_ca` may be "" (clients show no certificate). Throws std::runtime_error when they cannot be
  /// used.
  HttpTls(std::string cert, std::string key, std::string client_ca);

  /// Makes every handshake under `context` use the certificates as they are then.
  void install(SSL_CTX& context);

 private:
  using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
  Context read() const;
  std::vector<std::int64_t> state() const;
  void use_current(SSL* connection);

  const std::string cert_, key_, client_ca_;
  std::mutex mutex_;
  Context current_;
  std::vector<std::int64_t> state_;  // times and sizes of the files that current_ was read from
};

}  // namespace bib::serve
