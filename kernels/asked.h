// What the environment asks of the kernels.
#pragma once
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace bib::device {

/// Whether the variable asks for `other` in place of `usual`, which is taken where it is not set. Throws
/// std::invalid_argument where it asks for something else.
inline bool asked_for(const std::string& variable, const std::string& usual, const std::string& other) {
  const char* const setting = std::getenv(variable.c_str());
  if (!setting || setting == usual) return false;
  if (setting == other) return true;
  throw std::invalid_argument(variable + " is '" + setting + "'; it may be " + usual + " or " + other);
}

}  // namespace bib::device
