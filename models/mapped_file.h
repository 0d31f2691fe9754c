// A file mapped into memory, read-only.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace bib {

struct MappedFile {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // keeps the mapping
};

enum class MapMode { whole, sequential };  // read every page now; read once from front to back

/// Throws std::runtime_error with the reason alone: callers know what the file should have been.
MappedFile map_file(const std::string& path, MapMode mode);

}  // namespace bib
