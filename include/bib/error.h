// Errors by what the user can do about them. Each message says what, where (file:line:column), why, and what to do.
#pragma once
#include <stdexcept>

namespace bib {

struct DataError : std::runtime_error {  // bad data or configuration
  using std::runtime_error::runtime_error;
};
struct ModelError : std::runtime_error {  // a model file that cannot be read, or was made by a newer bib
  using std::runtime_error::runtime_error;
};
struct DeviceError : std::runtime_error {  // device missing or out of memory
  using std::runtime_error::runtime_error;
};
struct OutOfDeviceMemory : DeviceError {  // less at a time may fit, and so may the same later
  using DeviceError::DeviceError;
};

}  // namespace bib
