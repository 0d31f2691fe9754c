#include "cli/line_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "bib/error.h"

namespace bib::cli {

LineReader::LineReader(const std::string& path) : path_(path == "-" ? "standard input" : path) {
  fd_ = path == "-" ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw DataError(path + ": error: cannot be opened: " + std::strerror(errno));
  struct stat info {};
  if (fstat(fd_, &info) == 0 && S_ISDIR(info.st_mode)) throw DataError(path + ": error: is a directory; name a file");
}

LineReader::~LineReader() {
  if (fd_ > STDIN_FILENO) close(fd_);
}

bool LineReader::fill(bool wait) {
  if (at_end_) return false;
  pollfd p{.fd = fd_, .events = POLLIN, .revents = 0};
  if (!wait && poll(&p, 1, 0) <= 0) return false;
  buffer_.erase(0, begin_);
  begin_ = 0;
  const std::size_t had = buffer_.size();
  buffer_.resize(had + (std::size_t{1} << 18));
  ssize_t n = 0;
  do {
    n = read(fd_, buffer_.data() + had, buffer_.size() - had);
  } while (n < 0 && errno == EINTR);
  if (n < 0) throw DataError(path_ + ": error: cannot be read: " + std::strerror(errno));
  buffer_.resize(had + static_cast<std::size_t>(n));
  at_end_ = n == 0;
  return n > 0;
}

bool LineReader::take_line(std::string& line) {
  const std::size_t newline = buffer_.find('\n', begin_);
  if (newline == std::string::npos && !(at_end_ && begin_ < buffer_.size())) return false;
  const std::size_t end = newline == std::string::npos ? buffer_.size() : newline;
  line.assign(buffer_, begin_, end - begin_);
  if (!line.empty() && line.back() == '\r') line.pop_back();
  begin_ = newline == std::string::npos ? end : end + 1;
  return true;
}

std::vector<std::string> LineReader::next(std::size_t most) {
  std::vector<std::string> lines;
  std::string line;
  while (lines.size() < most) {
    if (take_line(line)) {
      lines.push_back(std::move(line));
    } else if (at_end_ || !fill(lines.empty())) {
      if (at_end_ && begin_ < buffer_.size()) continue;  // a last line without newline
      break;
    }
  }
  return lines;
}

}  // namespace bib::cli
