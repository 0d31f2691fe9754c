#include "train/advice.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace bib {
namespace {

using Json = nlohmann::ordered_json;

/// {fingerprint: advice}; empty when there is no such file or it holds something else.
Json read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  Json all = in ? Json::parse(in, nullptr, false) : Json::object();
  return all.is_object() ? all : Json::object();
}

}  // namespace

std::string advice_path() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache && *cache) return std::string(cache) + "/bib/advice.json";
  return home && *home ? std::string(home) + "/.cache/bib/advice.json" : "";
}

std::optional<Advice> read_advice(const std::string& path, const std::string& machine) {
  if (path.empty()) return std::nullopt;
  try {
    const Json all = read_all(path);
    if (!all.contains(machine)) return std::nullopt;
    const Json& a = all[machine];
    return Advice{.machine = machine,
                  .one_text = a.at("one_text").get<std::string>(),
                  .many_texts = a.at("many_texts").get<std::string>(),
                  .crossover = a.at("crossover").get<int>(),
                  .verdict = a.at("verdict").get<std::string>()};
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

void write_advice(const std::string& path, const Advice& advice) {
  namespace fs = std::filesystem;
  if (path.empty()) throw std::runtime_error("the advice cannot be kept: neither XDG_CACHE_HOME nor HOME is set");
  std::error_code failed;
  fs::create_directories(fs::path(path).parent_path(), failed);
  Json all = read_all(path);
  all[advice.machine] = {{"one_text", advice.one_text},
                         {"many_texts", advice.many_texts},
                         {"crossover", advice.crossover},
                         {"verdict", advice.verdict}};
  const std::string temporary = path + "." + std::to_string(::getpid());
  std::ofstream out(temporary, std::ios::binary);
  out << all.dump(1) << '\n';
  out.close();
  if (out) fs::rename(temporary, path, failed);
  if (!out || failed) {
    fs::remove(temporary, failed);
    throw std::runtime_error("the advice cannot be kept: " + path + " is not writable");
  }
}

}  // namespace bib
