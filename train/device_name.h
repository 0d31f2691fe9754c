// The device and the arithmetic a user names.
#pragma once
#include <stdexcept>
#include <string>

#include "bib/context.h"
#include "bib/error.h"
#include "train/advice.h"
#include "train/machine.h"

namespace bib {

/// The words of --math and what they stand for (docs/numerics.md).
inline Math math_of(const std::string& name) {
  if (name == "strict") return Math::strict;
  if (name == "fast" || name == "bf16") return Math::fast;
  if (name == "int8") return Math::int8;
  throw std::invalid_argument("--math " + name + ": write strict, fast (also: bf16) or int8");
}

/// What the device is wanted for. Training takes a GPU that is there; for prediction `auto` asks what
/// `bib bench --advise` found out on this machine.
enum class DeviceUse { train, predict };

/// Options for "auto", "cpu", "cuda" or "cuda:N". Throws std::invalid_argument for another word and DeviceError when
/// the device asked for by name is not there; auto takes the CPU then, or where the advice says so.
inline ContextOptions device_options(const std::string& device, int threads, DeviceUse use = DeviceUse::train) {
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
  if (gpu.cuda && !named && use == DeviceUse::predict) {
    const std::optional<Advice> advice = read_advice(advice_path(), fingerprint(this_machine()));
    if (advice && advice->many_texts == "cpu") return o;
  }
  if (gpu.cuda) {
    o.device = Device::cuda;
    o.device_index = index;
  } else if (named) {
    throw DeviceError("--device " + device + ": " + gpu.why + "; use --device cpu");
  }
  return o;
}

}  // namespace bib
