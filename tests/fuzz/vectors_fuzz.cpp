// Any bytes as a file of word vectors: refused with DataError, or read with every value finite.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "models/vectors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int fd = ::memfd_create("vectors", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(fd);
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  const std::vector<std::string> words{"a", "A", "가", "", ". ."};
  try {
    for (const float x : bib::read_vectors(path, words).values) {
      if (!std::isfinite(x)) std::abort();
    }
  } catch (const bib::DataError&) {
  }
  return 0;
}
