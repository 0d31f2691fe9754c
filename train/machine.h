// What a measurement was taken on, so that figures are compared only with figures of the same machine.
#pragma once
#include <string>

namespace bib {

struct Machine {
  std::string cpu;  // its name as the system gives it
  std::string isa;  // instruction set of the CPU kernels
  int threads = 0;
  double mhz = 0;   // CPU clock now, 0: unknown
  std::string gpu;  // empty: none
  std::string why_no_gpu;
  std::string version;  // of bib

  bool operator==(const Machine&) const = default;
};

Machine this_machine();

/// What decides whether one machine's figures hold on another: all but the clock and the version.
std::string fingerprint(const Machine& machine);

/// Bytes this process holds in memory now, and at most so far; 0 where the system does not tell.
struct ProcessMemory {
  std::size_t now = 0, peak = 0;
};
ProcessMemory process_memory();

}  // namespace bib
