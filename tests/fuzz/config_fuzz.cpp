// Any bytes as a configuration (TOML): refused with DataError, or a Config that its own text gives back. What follows
// the first zero byte is an assignment, as --set takes it.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "bib/config.h"
#include "bib/error.h"

using namespace bib;

namespace {

bool is_sound(const Config& config) try {
  check(config);
  return true;
} catch (const DataError&) {
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t zero = std::min(input.find('\0'), input.size());
  Config config = default_config(Task::ner);
  try {
    config = from_toml(input.substr(0, zero), "c.toml", config);
    if (zero < size) set_field(config, input.substr(zero + 1));
  } catch (const DataError&) {
  }
  if (is_sound(config) && to_toml(from_toml(to_toml(config), "again", Config{})) != to_toml(config)) std::abort();
  return 0;
}
