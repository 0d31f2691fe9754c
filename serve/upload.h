// A file that a client sends: hidden until it is complete, and gone when it never is.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace bib::serve {

class Upload {
 public:
  /// Makes the file. Throws Refusal FAILED_PRECONDITION where that is not possible.
  Upload(std::string path, std::size_t most_bytes);
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;
  /// Removes the file, unless it was moved away.
  ~Upload();

  /// Throws Refusal: RESOURCE_EXHAUSTED when the disk is full, INVALID_ARGUMENT beyond `most_bytes`.
  void add(const std::string& data);
  /// Everything is on the disk now. Throws as add() does.
  void finish();

  const std::string& path() const { return path_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  const std::string path_;
  const std::size_t most_bytes_;
  std::uint64_t bytes_ = 0;
  int fd_ = -1;
};

}  // namespace bib::serve
