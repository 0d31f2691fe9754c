// Any bytes as a dictionary: refused with DataError, or its terms are found in what follows the first zero byte, one
// after another and with finite or forbidding scores. Once for a model of syllables and once for one of words.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "models/model_parts.h"
#include "train/dictionary.h"

using namespace bib;

namespace {

NerModel model_of(Unit unit) {
  Config config = default_config(Task::ner, unit);
  config.lowercase = true;
  return NerModel(std::make_shared<NerModel::Impl>(make_ner(
      config, Features::build(config, {}), TagSet({"A", "B"}, unit == Unit::word ? Scheme::bioes : Scheme::iob2))));
}

void check(const NerModel& model, const std::string& path, const std::string& text) {
  const NerDictionary dictionary = NerDictionary::load(path, model);
  const std::vector<ByteRange> units = model.impl().features.units({.text = text});
  const int n = static_cast<int>(units.size());
  const std::vector<TermMatch> found = dictionary.impl().find(text, units);
  int end = 0;
  for (const TermMatch& m : found) {
    if (m.begin < end || m.end <= m.begin || m.end > n || m.term < 0 || m.term >= dictionary.size()) std::abort();
    end = m.end;
  }
  for (const auto& [unit, row] : dictionary.impl().rows(found, n)) {
    const auto sound = [](real x) { return std::isfinite(x) || x == -std::numeric_limits<real>::infinity(); };
    const bool open = std::any_of(row.begin(), row.end(), [](real x) { return std::isfinite(x); });
    if (unit < 0 || unit >= n || !open || !std::all_of(row.begin(), row.end(), sound)) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int fd = ::memfd_create("dictionary", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(fd);
  static const NerModel models[] = {model_of(Unit::syllable), model_of(Unit::word)};
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t zero = std::min(input.find('\0'), size);
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, data, zero, 0) != static_cast<ssize_t>(zero)) std::abort();
  const std::string text(zero < size ? input.substr(zero + 1) : "");
  for (const NerModel& model : models) {
    try {
      check(model, path, text);
    } catch (const DataError&) {
    }
  }
  return 0;
}
