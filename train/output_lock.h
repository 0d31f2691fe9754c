// One training at a time writes a model: two would replace each other's checkpoint, and the last to end the other's
// model.
#pragma once
#include <string>

namespace bib {

/// Holds `<output>.lock` while a training runs. The system lets go of it with its process, so that the file of one that
/// was killed holds nobody up.
class OutputLock {
 public:
  /// Throws std::runtime_error when another training holds it. Where the file system has no locks, nothing is held.
  explicit OutputLock(const std::string& output);
  ~OutputLock();
  OutputLock(const OutputLock&) = delete;
  OutputLock& operator=(const OutputLock&) = delete;

 private:
  std::string path_;
  int fd_ = -1;
};

}  // namespace bib
