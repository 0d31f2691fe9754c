#include "serve/http_tls.h"

#include <openssl/err.h>
#include <sys/stat.h>

#include <stdexcept>

#include "serve/log.h"

namespace bib::serve {

HttpTls::HttpTls(std::string cert, std::string key, std::string client_ca)
    : cert_(std::move(cert)), key_(std::move(key)), client_ca_(std::move(client_ca)), current_(read()) {
  state_ = state();
}

HttpTls::Context HttpTls::read() const {
  Context context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  const auto require = [](bool read, const std::string& path) {
    if (read) return;
    char why[256] = "unknown";
    ERR_error_string_n(ERR_get_error(), why, sizeof why);
    ERR_clear_error();
    throw std::runtime_error(path + ": cannot be used for TLS: " + why);
  };
  require(SSL_CTX_use_certificate_chain_file(context.get(), cert_.c_str()) == 1, cert_);
  require(SSL_CTX_use_PrivateKey_file(context.get(), key_.c_str(), SSL_FILETYPE_PEM) == 1, key_);
  require(SSL_CTX_check_private_key(context.get()) == 1, key_ + " (with " + cert_ + ")");
  if (!client_ca_.empty()) {
    require(SSL_CTX_load_verify_locations(context.get(), client_ca_.c_str(), nullptr) == 1, client_ca_);
  }
  return context;
}

std::vector<std::int64_t> HttpTls::state() const {
  std::vector<std::int64_t> out;
  for (const std::string& path : {cert_, key_, client_ca_}) {
    struct stat s {};
    if (path.empty() || stat(path.c_str(), &s) != 0) continue;
    out.insert(out.end(), {s.st_mtim.tv_sec, s.st_mtim.tv_nsec, s.st_size, static_cast<std::int64_t>(s.st_ino)});
  }
  return out;
}

void HttpTls::install(SSL_CTX& context) {
  SSL_CTX_set_min_proto_version(&context, TLS1_2_VERSION);
  if (!client_ca_.empty()) SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_OFF);  // a resumed session would pass by new certificates
  SSL_CTX_set_options(&context, SSL_OP_NO_TICKET);
  SSL_CTX_set_cert_cb(
      &context,
      [](SSL* connection, void* self) {
        static_cast<HttpTls*>(self)->use_current(connection);
        return 1;
      },
      this);
}

/// Files that cannot be used, such as half of a new pair, leave the certificates as they are.
void HttpTls::use_current(SSL* connection) {
  const std::lock_guard lock(mutex_);
  if (const auto now = state(); now != state_) {
    state_ = now;
    try {
      current_ = read();
      log("HTTP: certificates read again");
    } catch (const std::exception& e) {
      log(std::string("HTTP: certificates stay as they are: ") + e.what(), Level::warning);
    }
  }
  SSL_set_SSL_CTX(connection, current_.get());  // takes a reference of its own
}

}  // namespace bib::serve
