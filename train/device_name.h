// The device and the arithmetic a user names.
#pragma once
#include <stdexcept>
#include <string>

#include "bib/context.h"
#include "bib/error.h"

namespace bib {

/// The words of --math and what they stand for (docs/numerics.md).
inline Math math_of(const std::string& name) {
  if (name == "strict") return Math::strict;
  if (name == "fast" || name == "bf16") return Math::fast;
  if (name == "int8") return Math::int8;
  throw std::invalid_argument("--math " + name + ": write strict, fast (also: bf16) or int8");
}

/// Options for "auto", "cpu", "cuda" or "cuda:N". Throws std::invalid_argument for another word and DeviceError when
/// the device asked for by name is not there; auto takes the CPU then.
inline ContextOptions device_options(const std::string& device, int threads) {
  ContextOptions o{.threads = threads};
  if (device == "cpu") return o;
  int index = 0;
  const bool named = device.rfind("cuda", 0) == 0;
  const std::string number = named && device.size() > 4 ? device.substr(4) : ":0";
  const bool usable = number.size() >= 2 && number.size() <= 5 && number[0] == ':' &&
                      number.find_first_not_of("0123456789", 1) == std::string::npos;
  if ((!named && device != "auto") || !usable) {
    throw std::invalid_argument("--device " + device + ": write auto, cpu, cuda or cuda:0");
  }
  index = std::stoi(number.substr(1));
  const DeviceInfo gpu = cuda_info(index);
  if (gpu.cuda) {
    o.device = Device::cuda;
    o.device_index = index;
  } else if (named) {
    throw DeviceError("--device " + device + ": " + gpu.why + "; use --device cpu");
  }
  return o;
}

}  // namespace bib
