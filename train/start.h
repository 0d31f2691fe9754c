// What a program of this project does before anything else.
#pragma once
#include <unistd.h>

#include <cstdlib>

namespace bib {

/// OpenMP's threads spin between two parallel loops by default: on a shared or oversubscribed machine that can cost a
/// hundred times the work. The library reads this setting before main, so the program starts once more with it.
inline void wait_without_spinning(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY")) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  execv("/proc/self/exe", argv);  // returns only where it is not possible; then all works, if slower under load
}

}  // namespace bib
