#include "train/formats/files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

namespace bib::formats {

std::string read_file(const std::string& path) {
  std::error_code ignored;
  if (path != "-" && std::filesystem::is_directory(path, ignored))
    throw DataError(path + ": is a directory; name a file in it");
  const auto close = [](std::FILE* f) { return f == stdin ? 0 : std::fclose(f); };
  std::unique_ptr<std::FILE, decltype(close)> file(path == "-" ? stdin : std::fopen(path.c_str(), "rb"), close);
  if (!file) throw DataError(path + ": cannot open: " + std::strerror(errno));
  std::string content;
  std::size_t got = 1 << 16;
  for (std::size_t size = 0; got != 0; size += got) {
    content.resize(std::max<std::size_t>(1 << 16, 2 * size));
    got = std::fread(content.data() + size, 1, content.size() - size, file.get());
    if (got == 0) content.resize(size);
  }
  if (std::ferror(file.get())) throw DataError(path + ": cannot read: " + std::strerror(errno));
  return content;
}

}  // namespace bib::formats
