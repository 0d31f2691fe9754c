#include "cli/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace bib::cli {
namespace {

[[noreturn]] void cannot_write(const std::string& path) {
  throw std::runtime_error(path + ": cannot be written: " + std::strerror(errno));
}

}  // namespace

Output::Output(const std::string& path)
    : path_(path == "-" ? "standard output" : path), file_(path == "-" ? stdout : std::fopen(path.c_str(), "wbe")) {
  if (!file_) cannot_write(path_);
}

Output::~Output() {
  if (file_ != stdout) std::fclose(file_);
}

bool Output::terminal() const { return isatty(fileno(file_)); }

void Output::write(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) cannot_write(path_);
}

void refuse_unwritable(const std::string& path) {
  std::error_code none;
  const auto kind = std::filesystem::status(path, none).type();
  if (path == "-" || kind == std::filesystem::file_type::fifo) return;  // whose reader takes a close for the end
  std::FILE* file = std::fopen(path.c_str(), "abe");
  if (!file) cannot_write(path);
  std::fclose(file);
  if (kind == std::filesystem::file_type::not_found) std::filesystem::remove(path, none);
}

}  // namespace bib::cli
