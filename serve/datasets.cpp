// Uploaded corpora, named by their content.
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <cerrno>
#include <cstdio>

#include "serve/ids.h"
#include "serve/jobs.h"
#include "serve/upload.h"

namespace bib::serve {

std::string Jobs::store_dataset(const std::string& name, const std::function<const std::string*()>& next,
                                std::uint64_t& bytes) {
  check_name(name, "name");
  if (name.size() > 64) invalid("name", "is longer than 64 bytes");
  Upload upload(state_ + "/datasets/.upload-" + new_id(), app_.settings.limits.upload_bytes);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr);
  while (const std::string* data = next()) {
    upload.add(*data);
    EVP_DigestUpdate(hash.get(), data->data(), data->size());
  }
  upload.finish();
  unsigned char digest[SHA256_DIGEST_LENGTH];
  EVP_DigestFinal_ex(hash.get(), digest, nullptr);
  const std::string id = name + "-" + hex(digest, 8), path = state_ + "/datasets/" + id;
  if (std::rename(upload.path().c_str(), path.c_str()) != 0) cannot_write(path + " cannot be stored", errno);
  bytes = upload.bytes();
  return id;
}

}  // namespace bib::serve
