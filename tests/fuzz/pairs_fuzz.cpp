// Readers of formats of several files: BRAT's text and annotation, words and tags, SNIPS's seq.in, seq.out and label.
// The first byte chooses the format, zero bytes part the files, which are written to a folder of the process's own.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "tests/fuzz/check_corpus.h"

namespace {

namespace fs = std::filesystem;

struct Format {
  const char* name;
  std::array<const char*, 3> files;  // the first is the one to read
};
constexpr Format formats[] = {{"brat", {"d.txt", "d.ann", ""}},
                              {"brat", {"d.ann", "d.txt", ""}},
                              {"parallel", {"x.words.txt", "x.tags.txt", ""}},
                              {"parallel", {"seq.in", "seq.out", "label"}}};

struct Folder {
  fs::path path = fs::temp_directory_path() / ("bib_pairs_fuzz." + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const Folder folder;
  const Format& format = formats[data[0] % std::size(formats)];
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  for (const char* file : format.files) {
    if (!*file) continue;
    const std::string_view content = rest.substr(0, rest.find('\0'));
    std::ofstream(folder.path / file, std::ios::binary) << content;
    rest.remove_prefix(std::min(content.size() + 1, rest.size()));
  }
  bib::ReadOptions options{.format = format.name};
  if (data[0] >= 128) options.offsets = bib::OffsetUnit::utf16;
  try {
    const bib::Corpus corpus = bib::scan_corpus((folder.path / format.files[0]).string(), options);
    for (const bib::Document& document : corpus.documents) fuzz::check(document);
    if (!corpus.documents.empty()) fuzz::round_trip(corpus);
  } catch (const bib::DataError&) {
  }
  return 0;
}
