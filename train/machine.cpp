#include "train/machine.h"

#include <fstream>

#include "bib/context.h"

namespace bib {
namespace {

/// The first value of a key in a file of "key : value" lines.
std::string value_of(const char* path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos || line.compare(0, key.size(), key) != 0) continue;
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

double number(const std::string& text) { return std::strtod(text.c_str(), nullptr); }

}  // namespace

Machine this_machine() {
  const DeviceInfo gpu = cuda_info();
  Machine m{.cpu = value_of("/proc/cpuinfo", "model name"),
            .isa = cpu_isa_name(),
            .threads = available_threads(),
            .mhz = number(value_of("/proc/cpuinfo", "cpu MHz")),
            .gpu = gpu.cuda ? gpu.name : "",
            .why_no_gpu = gpu.why,
            .version = BIB_VERSION};
  if (m.cpu.empty()) {  // ARM gives numbers in place of a name
    const std::string implementer = value_of("/proc/cpuinfo", "CPU implementer");
    m.cpu = implementer.empty() ? "unknown CPU" : "ARM " + implementer + " " + value_of("/proc/cpuinfo", "CPU part");
  }
  return m;
}

std::string fingerprint(const Machine& m) {
  return m.cpu + "; " + m.isa + "; " + std::to_string(m.threads) + " threads; " + (m.gpu.empty() ? "no GPU" : m.gpu);
}

ProcessMemory process_memory() {
  const auto bytes = [](const char* key) {
    return static_cast<std::size_t>(number(value_of("/proc/self/status", key))) << 10;
  };
  return {.now = bytes("VmRSS"), .peak = bytes("VmHWM")};
}

}  // namespace bib
