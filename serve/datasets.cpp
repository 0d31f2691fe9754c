// Uploaded corpora, named by their content.
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "serve/ids.h"
#include "serve/jobs.h"
#include "serve/log.h"
#include "serve/repository.h"
#include "serve/upload.h"

namespace bib::serve {
namespace fs = std::filesystem;

void keep(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::create_hard_link(from, to, error);
  if (error) fs::copy_file(from, to, error);
  if (error) cannot_write(to + " cannot be stored", error.value());
}

/// A corpus' time is that of its last use. A job has a link of its own: it may wait, or be resumed, for longer than an
/// upload is kept.
void Jobs::take_dataset(const std::string& id, const std::string& job) {
  const fs::path upload = state_ + "/datasets/" + id, own = folder(job) + "/" + id;
  std::error_code ignored;
  if (!fs::exists(upload, ignored)) {
    invalid("options.dataset_id", "is not known; UploadDataSet returns one, which is kept for --keep-uploads-days");
  }
  fs::last_write_time(upload, fs::file_time_type::clock::now(), ignored);
  keep(upload, own);
}

void Jobs::remove_old_uploads() {
  const double days = app_.settings.keep_uploads_days;
  if (days == 0) return;
  std::error_code error, ignored;
  for (fs::directory_iterator it(state_ + "/datasets", error), end; !error && it != end; it.increment(error)) {
    const std::string id = it->path().filename().string();
    if (id[0] == '.' || days_old(it->path()) < days) continue;  // hidden: on its way in
    if (fs::remove(it->path(), ignored)) log("upload " + id + " is removed: nobody used it for --keep-uploads-days");
  }
}

std::string Jobs::store_dataset(const std::string& name, const std::function<const std::string*()>& next,
                                std::uint64_t& bytes) {
  check_name(name, "name");
  if (name.size() > 64) invalid("name", "is longer than 64 bytes");
  remove_old_uploads();
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
