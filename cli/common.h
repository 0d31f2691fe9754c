// Flags and habits that several verbs share.
#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "bib/context.h"
#include "bib/error.h"
#include "cli/verbs.h"

namespace bib::cli {

/// --device and --threads.
struct DeviceFlags {
  std::string device = "auto";
  int threads = 0;

  void add(CLI::App& verb) {
    verb.add_option("--device", device, "auto, cpu, cuda or cuda:N")->envname("BIB_DEVICE")->capture_default_str();
    verb.add_option("-t,--threads", threads, "CPU threads; 0 = all this process may use")
        ->envname("BIB_THREADS")
        ->check(CLI::NonNegativeNumber);
  }

  /// Throws DeviceError when the device asked for by name is not there; auto takes the CPU then.
  ContextOptions options() const {
    ContextOptions o{.threads = threads};
    if (device == "cpu") return o;
    int index = 0;
    const bool named = device.rfind("cuda", 0) == 0;
    if (named && device.size() > 4) {
      const std::string number = device.substr(4);
      if (number.size() < 2 || number[0] != ':' || number.find_first_not_of("0123456789", 1) != std::string::npos) {
        throw UsageError("--device " + device + ": write auto, cpu, cuda or cuda:0");
      }
      index = std::stoi(number.substr(1));
    } else if (!named && device != "auto") {
      throw UsageError("--device " + device + ": write auto, cpu, cuda or cuda:0");
    }
    const DeviceInfo gpu = cuda_info(index);
    if (gpu.cuda) {
      o.device = Device::cuda;
      o.device_index = index;
    } else if (named) {
      throw DeviceError("--device " + device + ": " + gpu.why + "; use --device cpu");
    }
    return o;
  }
};

/// A file that is still being read, or cannot be made again, is not written over.
inline void refuse_overwriting(const std::string& output, const std::vector<std::string>& inputs) {
  for (const std::string& input : inputs) {
    std::error_code none;  // where either is not there, they are not the same
    if (std::filesystem::is_regular_file(output, none) && std::filesystem::equivalent(input, output, none))
      throw UsageError("output " + output + " is also an input; name another file");
  }
}

inline void note(const std::string& text) { std::cerr << "bib: " << text << '\n'; }
inline void warn(const std::string& text) { std::cerr << "bib: warning: " << text << '\n'; }

}  // namespace bib::cli
