// Any bytes as a model file: refused with ModelError, or accepted and then safe to use in full.
// The checksum would stop nearly every input, so each is tried as it stands and with its checksum made right.
#include "models/model_file.h"
#include "models/vocabulary.h"
#include "tests/fuzz/checksum.h"

using namespace bib;

namespace {

void use(std::span<const std::byte> bytes) try {
  auto model = std::make_shared<const ModelFile>(parse_model(bytes, "fuzz"));
  std::uint64_t sum = 0;
  for (const auto& [name, t] : model->tensors) sum += XXH3_64bits(t.data, t.bytes());
  const auto attempt = [](auto&& load) {
    try {
      load();
    } catch (const ModelError&) {
    }
  };
  attempt([&] {
    const Vocabulary v = Vocabulary::load(model, "word");
    for (int id = 0; id < v.size(); ++id) sum += static_cast<std::uint64_t>(v.id(v[id]) + v.id("가") + v.count(id));
  });
  attempt([&] {
    const CodepointVocabulary v = CodepointVocabulary::load(*model, "syllable");
    for (char32_t c = 0; c < 0x120000; c += 97) sum += static_cast<std::uint64_t>(v.id(c));
  });
  attempt([&] { sum += static_cast<std::uint64_t>(Labels::load(*model, "labels").size()); });
  volatile std::uint64_t keep = sum;
  static_cast<void>(keep);
} catch (const ModelError&) {
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::byte> bytes(size);
  if (size) std::memcpy(bytes.data(), data, size);
  use(bytes);
  correct_checksum(bytes);
  use(bytes);
  return 0;
}
