// Flags and habits that several verbs share.
#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "cli/explain.h"
#include "cli/verbs.h"
#include "train/device_name.h"

namespace bib::cli {

/// --device, --threads and --math.
struct DeviceFlags {
  std::string device = "auto", math = "strict";
  int threads = 0;

  void add(CLI::App& verb) {
    verb.add_option("--device", device, "auto, cpu, cuda or cuda:N")->envname("BIB_DEVICE")->capture_default_str();
    verb.add_option("-t,--threads", threads, "CPU threads; 0 = all this process may use")
        ->envname("BIB_THREADS")
        ->check(in_range(0, 4096));
    verb.add_option(
            "--math", math,
            "strict (fp32), fast (GPU: products of 16 bits and TF32; predicting on a CPU: 16-bit integers) or int8")
        ->envname("BIB_MATH")
        ->capture_default_str();
  }

  /// Throws DeviceError when the device asked for by name is not there; auto takes the CPU then.
  ContextOptions options(DeviceUse use = DeviceUse::train) const {
    try {
      ContextOptions o = device_options(device, threads, use);
      o.math = math_of(math);
      return o;
    } catch (const std::invalid_argument& e) {
      throw UsageError(e.what());
    }
  }
};

/// A file that is still being read, or cannot be made again, is not written over; nor one that the shell has put behind
/// standard input or output.
inline void refuse_overwriting(const std::string& output, const std::vector<std::string>& inputs) {
  const std::filesystem::path to = output == "-" ? "/dev/stdout" : output;
  for (const std::string& input : inputs) {
    std::error_code none;  // where either is not there, they are not the same
    if (!std::filesystem::is_regular_file(to, none)) return;
    if (std::filesystem::equivalent(input == "-" ? "/dev/stdin" : input, to, none))
      throw UsageError("output " + (output == "-" ? "standard output" : output) +
                       " is also an input; name another file");
  }
}

inline void note(const std::string& text) { std::cerr << "bib: " << text << '\n'; }
inline void warn(const std::string& text) { std::cerr << "bib: warning: " << text << '\n'; }

}  // namespace bib::cli
