// mmap with its errors in words.
#include "models/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace bib {

namespace {
struct Closer {
  int fd;
  ~Closer() {
    if (fd >= 0) ::close(fd);
  }
};

[[noreturn]] void fail(const char* what) { throw std::runtime_error(std::string(what) + ": " + std::strerror(errno)); }
}  // namespace

MappedFile map_file(const std::string& path, MapMode mode) {
  const Closer file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail("cannot open");
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) fail("cannot examine");
  if (S_ISDIR(status.st_mode)) throw std::runtime_error("is a directory");
  if (!S_ISREG(status.st_mode)) throw std::runtime_error("not a regular file");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) throw std::runtime_error("the file is empty");
  // MAP_POPULATE: where every page is read anyway, one call is cheaper than a fault each.
  const int flags = MAP_PRIVATE | (mode == MapMode::whole ? MAP_POPULATE : 0);
  void* mapped = ::mmap(nullptr, size, PROT_READ, flags, file.fd, 0);
  if (mapped == MAP_FAILED) fail("cannot map");
  if (mode == MapMode::sequential) ::madvise(mapped, size, MADV_SEQUENTIAL);  // advice only: failure changes nothing
  return {{static_cast<const std::byte*>(mapped), size},
          {mapped, [size](const void* p) { ::munmap(const_cast<void*>(p), size); }}};
}

}  // namespace bib
