#include "serve/ids.h"

#include <openssl/sha.h>

#include <ctime>
#include <random>

namespace bib::serve {

std::string hex(const unsigned char* bytes, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) {
    out += "0123456789abcdef"[bytes[i] >> 4];
    out += "0123456789abcdef"[bytes[i] & 15];
  }
  return out;
}

std::string new_id() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char time[32];
  std::strftime(time, sizeof time, "%Y%m%d-%H%M%S-", &utc);
  std::random_device random;
  unsigned char tail[4];
  for (unsigned char& c : tail) c = static_cast<unsigned char>(random());
  return time + hex(tail, sizeof tail);
}

std::string digest_of(const std::string& bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  return hex(digest, sizeof digest);
}

}  // namespace bib::serve
