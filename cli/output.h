// Where answers go: files, or standard output.
#pragma once
#include <cstdio>
#include <string>
#include <string_view>

namespace bib::cli {

/// A file, or standard output for "-". Opening it empties a file that is there: what may fail comes first.
class Output {
 public:
  /// Throws std::runtime_error with the reason, as write() does.
  explicit Output(const std::string& path);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  bool terminal() const;
  /// A reader that has gone ends the program quietly, as it does filters.
  void write(std::string_view text);

 private:
  std::string path_;
  std::FILE* file_;
};

/// Throws what Output would throw, before long work is done for it. A file that is there stays as it is.
void refuse_unwritable(const std::string& path);

}  // namespace bib::cli
