// The sources themselves: who may include whom (docs/architecture.md), how long a file may be, and what docs must name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace bib::test {
namespace {

namespace fs = std::filesystem;
using Folders = std::vector<std::string>;

constexpr int longest_file = 420;

/// The folders of bib whose headers a folder may include: serve -> cli -> train -> models -> include/bib <- cpu,
/// kernels.
const std::map<std::string, Folders> allowed{
    {"include", {"bib"}},
    {"cpu", {"cpu", "bib"}},
    {"kernels", {"kernels", "bib"}},
    {"models", {"models", "bib"}},
    {"train", {"train", "models", "bib"}},
    {"cli", {"cli", "train", "models", "bib"}},
    {"serve", {"serve", "cli", "train", "models", "bib"}},
    {"examples", {"bib"}},
    {"tests", {"tests", "cli", "serve", "train", "models", "cpu", "kernels", "bib"}},
    {"bench", {"bench", "tests", "cli", "serve", "train", "models", "cpu", "kernels", "bib"}},
};

bool any_of(const Folders& folders, const std::string& folder) {
  return std::find(folders.begin(), folders.end(), folder) != folders.end();
}

/// Why a line of a file breaks the rule; empty when it does not.
std::string fault(const std::string& path, const std::string& line) {
  static const std::regex include(R"re(\s*#\s*include\s*([<"])([^">]+)[">].*)re");
  static const std::regex cuda("cuda|cublas|nvrtc|nvToolsExt", std::regex::icase), condition(R"(\s*#\s*(if|elif).*)");
  static const std::regex backend(R"(cblas\.h|omp\.h|\w*mmintrin\.h)"),
      standard("[a-z_0-9]+|(std(def|int)|string)\\.h");
  const std::string folder = path.substr(0, path.find('/'));
  const bool beneath = any_of({"include", "cpu", "kernels", "tests", "bench"}, folder);  // may know the devices
  if (std::regex_match(line, condition) && std::regex_search(line, cuda) && !beneath) {
    return "only include/bib, cpu and kernels know whether there is CUDA";
  }
  std::smatch match;
  if (!std::regex_match(line, match, include)) return "";
  const std::string header = match[2], of = header.substr(0, header.find('/'));
  const bool ours = allowed.contains(of) || of == "bib";
  if (!beneath && std::regex_search(header, cuda)) return "CUDA belongs to kernels";
  if (!any_of({"cpu", "kernels", "tests", "bench"}, folder) && std::regex_match(header, backend)) {
    return "BLAS, OpenMP and SIMD belong to cpu";
  }
  if (folder == "include" && !ours && !std::regex_match(header, standard)) {
    return "public headers stand on the standard library alone";
  }
  if (match[1] == "\"" && !ours && folder != "serve") return "a header of the project is named from its root";
  if (ours && !any_of(allowed.at(folder), of)) return folder + " may not know " + of;
  return "";
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// f(path from the root, lines) for every source file of the project.
template <class F>
void for_each_source(F&& f) {
  for (const auto& [folder, _] : allowed) {
    if (!fs::exists(fs::path(BIB_SOURCE) / folder)) continue;
    for (const fs::directory_entry& file : fs::recursive_directory_iterator(fs::path(BIB_SOURCE) / folder)) {
      if (!any_of({".h", ".cpp", ".c", ".cu", ".cuh"}, file.path().extension())) continue;
      f(fs::relative(file.path(), BIB_SOURCE).string(), lines_of(file.path()));
    }
  }
}

TEST(Includes, FollowTheDependencyRule) {
  int includes = 0;
  for_each_source([&](const std::string& path, const std::vector<std::string>& lines) {
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::string why = fault(path, lines[i]);
      EXPECT_EQ(why, "") << path << ':' << i + 1 << ": " << lines[i];
      includes += lines[i].starts_with("#include");
    }
  });
  EXPECT_GT(includes, 500) << "sources not found under " << BIB_SOURCE;
}

TEST(Includes, TheRuleRefusesWhatItShould) {
  using testing::HasSubstr;
  EXPECT_THAT(fault("models/tags.h", R"(#include "train/corpus.h")"), HasSubstr("models may not know train"));
  EXPECT_THAT(fault("models/layers.cpp", R"(#include "cpu/gemm.h")"), HasSubstr("models may not know cpu"));
  EXPECT_THAT(fault("cpu/lstm.cpp", "#  include \"models/text.h\""), HasSubstr("cpu may not know models"));
  EXPECT_THAT(fault("train/trainer.cpp", "#include <cuda_runtime.h>"), HasSubstr("CUDA"));
  EXPECT_THAT(fault("train/trainer.cpp", R"(#include "bib/cuda_backend.h")"), HasSubstr("CUDA"));
  EXPECT_THAT(fault("cli/info.cpp", "#if BIB_CUDA"), HasSubstr("CUDA"));
  EXPECT_THAT(fault("models/batch.cpp", "#include <omp.h>"), HasSubstr("belong to cpu"));
  EXPECT_THAT(fault("include/bib/view.h", "#include <cblas.h>"), HasSubstr("belong to cpu"));
  EXPECT_THAT(fault("include/bib/view.h", "#include <nlohmann/json.hpp>"), HasSubstr("standard library"));
  EXPECT_THAT(fault("cpu/crf.cpp", R"(#include "crf_lattice.h")"), HasSubstr("from its root"));
  EXPECT_THAT(fault("examples/predict.cpp", R"(#include "models/text.h")"), HasSubstr("may not know"));
  EXPECT_EQ(fault("train/trainer.cpp", R"(#include "models/text.h")"), "");
  EXPECT_EQ(fault("include/bib/view.h", "#include <vector>"), "");
}

TEST(Files, StayShortEnoughToRead) {
  for_each_source([](const std::string& path, const std::vector<std::string>& lines) {
    EXPECT_LE(lines.size(), longest_file) << path << ": split it by what its parts are for";
  });
}

std::set<std::string> found_in(const std::string& text, const std::string& pattern) {
  std::set<std::string> names;
  const std::regex name(pattern);
  for (std::sregex_iterator it(text.begin(), text.end(), name), end; it != end; ++it) names.insert((*it)[1]);
  return names;
}

std::string text_of(const fs::path& path) {
  std::string text;
  for (const std::string& line : lines_of(fs::path(BIB_SOURCE) / path)) text += line + "\n";
  return text;
}

TEST(Documented, EveryVariableAndEveryOptionOfCMake) {
  std::string docs = text_of("README.md") + text_of("CONTRIBUTING.md"), code, known = text_of("CMakePresets.json");
  for (const fs::directory_entry& page : fs::directory_iterator(fs::path(BIB_SOURCE) / "docs"))
    if (page.path().extension() == ".md") docs += text_of(fs::relative(page.path(), BIB_SOURCE));
  for_each_source([&](const std::string& path, const std::vector<std::string>& lines) {
    const bool program = !any_of({"tests", "bench", "examples"}, path.substr(0, path.find('/')));
    for (const std::string& line : lines) (program ? code : known) += line + "\n";
  });
  std::string cmake;
  for (const char* path : {"CMakeLists.txt", "cmake/cuda.cmake", "tests/fuzz/CMakeLists.txt"}) cmake += text_of(path);
  std::set<std::string> needed = found_in(code, "\"(BIB_[A-Z_]+)\"");
  needed.merge(found_in(cmake, "option\\((BIB_[A-Z_]+)"));
  needed.merge(found_in(cmake, "set\\((BIB_[A-Z_]+) [^\n]* CACHE"));
  EXPECT_GE(needed.size(), 25u);
  const std::set<std::string> documented = found_in(docs, "(BIB_[A-Z_]+)");
  for (const std::string& name : needed) EXPECT_TRUE(documented.contains(name)) << name << " is in no page of docs";
  known += code + cmake + text_of("scripts/python-client") + text_of("bench/peers/run");
  known += "BIB_QUEUE_MS";  // made from the name of a flag
  for (const std::string& name : documented)
    EXPECT_NE(known.find(name), std::string::npos) << "nothing reads " << name << ", which docs name";
}

}  // namespace
}  // namespace bib::test
