#include "serve/upload.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "serve/repository.h"
#include "serve/status.h"

namespace bib::serve {

Upload::Upload(std::string path, std::size_t most_bytes) : path_(std::move(path)), most_bytes_(most_bytes) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) cannot_write(path_ + " cannot be stored", errno);
}

Upload::~Upload() {
  if (fd_ >= 0) ::close(fd_);
  ::unlink(path_.c_str());
}

void Upload::add(const std::string& data) {
  if (data.size() > most_bytes_ - bytes_) {
    invalid("data", "has more than " + std::to_string(most_bytes_) + " bytes (--max-upload-bytes)");
  }
  if (const int error = write_all(fd_, data)) cannot_write(path_ + " cannot be stored", error);
  bytes_ += data.size();
}

void Upload::finish() {
  if (::fsync(fd_) != 0) cannot_write(path_ + " cannot be stored", errno);
  ::close(fd_);
  fd_ = -1;
}

}  // namespace bib::serve
