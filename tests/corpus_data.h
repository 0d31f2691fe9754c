// Where tests find real corpora: the folder named by BIB_DATA, which is not part of this repository.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

namespace bib {

/// A file under BIB_DATA. For NAME.xz the file is unpacked into a temporary folder. Empty: skip the test.
inline std::string data_file(const std::string& name) {
  const char* root = std::getenv("BIB_DATA");
  if (!root || !*root) return {};
  const std::filesystem::path path = std::filesystem::path(root) / name;
  if (!std::filesystem::exists(path)) return {};
  if (path.extension() != ".xz") return path.string();
  const auto folder = std::filesystem::path(testing::TempDir()) / "bib-data";
  std::filesystem::create_directories(folder);
  const auto unpacked = folder / path.stem();
  const std::string part = unpacked.string() + ".part" + std::to_string(std::random_device{}());
  const std::string command = "xz -dc '" + path.string() + "' > '" + part + "'";
  if (std::system(command.c_str()) != 0) return {};
  std::filesystem::rename(part, unpacked);
  return unpacked.string();
}

#define BIB_DATA_FILE(variable, name)           \
  const std::string variable = data_file(name); \
  if (variable.empty()) GTEST_SKIP() << "needs " << name << " under the folder that BIB_DATA names"

}  // namespace bib
