// Uploaded corpora, named by their content.
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "serve/ids.h"
#include "serve/jobs.h"

namespace bib::serve {

std::string Jobs::store_dataset(const std::string& name, const std::function<const std::string*()>& next,
                                std::uint64_t& bytes) {
  check_name(name, "name");
  if (name.size() > 64) invalid("name", "is longer than 64 bytes");
  const std::string temporary = state_ + "/datasets/.upload-" + new_id();
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  const auto fail = [&](int error) {
    if (fd >= 0) ::close(fd);
    ::unlink(temporary.c_str());
    throw Refusal(error == ENOSPC ? grpc::StatusCode::RESOURCE_EXHAUSTED : grpc::StatusCode::FAILED_PRECONDITION,
                  state_ + "/datasets: the data set could not be stored: " + std::strerror(error));
  };
  if (fd < 0) fail(errno);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr);
  while (const std::string* data = next()) {
    if (::write(fd, data->data(), data->size()) != static_cast<ssize_t>(data->size())) fail(errno);
    EVP_DigestUpdate(hash.get(), data->data(), data->size());
    bytes += data->size();
  }
  unsigned char digest[SHA256_DIGEST_LENGTH];
  EVP_DigestFinal_ex(hash.get(), digest, nullptr);
  const std::string id = name + "-" + hex(digest, 8);
  if (::fsync(fd) != 0 || ::rename(temporary.c_str(), (state_ + "/datasets/" + id).c_str()) != 0) fail(errno);
  ::close(fd);
  return id;
}

}  // namespace bib::serve
