#include "train/output_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace bib {
namespace {

/// False where the training that held the file has ended meanwhile, and taken its name away.
bool is_named(int fd, const std::string& path) {
  struct stat held {
  }, named{};
  return fstat(fd, &held) == 0 && stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino;
}

}  // namespace

OutputLock::OutputLock(const std::string& output) : path_(output + ".lock") {
  for (;;) {
    fd_ = open(path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (fd_ < 0) throw std::runtime_error(path_ + ": cannot be made: " + std::strerror(errno));
    if (flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      close(fd_);
      throw std::runtime_error(output +
                               " is being written by another training; wait until it ends, or name another model");
    }
    if (is_named(fd_, path_)) return;
    close(fd_);
  }
}

OutputLock::~OutputLock() {
  unlink(path_.c_str());
  close(fd_);
}

}  // namespace bib
