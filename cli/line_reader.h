// Lines from a file or a pipe, as many at a time as are there: a busy pipe gives full batches, an idle one answers at
// once.
#pragma once
#include <string>
#include <vector>

namespace bib::cli {

class LineReader {
 public:
  /// "-" is standard input. Throws DataError when the file cannot be opened.
  explicit LineReader(const std::string& path);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// Waits for a line, then takes what else can be had without waiting, at most `most`. Empty at the end. A missing
  /// final newline makes no difference; "\r\n" ends a line like "\n".
  std::vector<std::string> next(std::size_t most);
  /// True once the end was seen and every line taken.
  bool ended() const { return at_end_ && begin_ == buffer_.size(); }

 private:
  bool take_line(std::string& line);
  bool fill(bool wait);

  std::string path_;
  int fd_ = -1;
  std::string buffer_;
  std::size_t begin_ = 0;
  bool at_end_ = false;
};

}  // namespace bib::cli
