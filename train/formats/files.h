// Files beside the one being read, for formats that come in pairs.
#pragma once
#include "train/formats/encoding.h"
#include "train/formats/format.h"

namespace bib::formats {

/// The whole of a file ("-": standard input). DataError says why not.
std::string read_file(const std::string& path);

}  // namespace bib::formats
