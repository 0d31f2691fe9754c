// A model file with bytes changed and its checksum made right: refused with ModelError, or loaded and then able to
// answer. The input is a list of edits to one of three small models; model_file_fuzz tries any bytes at all.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "models/model_parts.h"
#include "tests/fuzz/checksum.h"

using namespace bib;

namespace {

template <class Impl>
std::vector<std::byte> bytes_of(Context& ctx, Impl model) {
  model.parameters.allocate(ctx, 1);
  ModelFile file;
  save(ctx, model, file);
  const std::string header = encode_header(file);
  std::vector<std::byte> bytes(header.size());
  std::memcpy(bytes.data(), header.data(), header.size());
  for (const Tensor* t : data_order(file)) {
    const std::byte* data = static_cast<const std::byte*>(t->data);
    bytes.insert(bytes.end(), data, data + t->bytes());
  }
  return bytes;
}

Config small(Task task, Unit unit) {
  Config c = default_config(task, unit);
  c.syllable = c.bigram = c.jamo = c.shape = 2, c.hidden = c.filters = 3, c.windows = {1, 2};
  if (unit == Unit::word) c.word = c.affix = c.characters = 2, c.character_filters = 3;
  return c;
}

std::vector<std::byte> ner(Context& ctx, Unit unit) {
  const Config c = small(Task::ner, unit);
  const std::vector<Document> documents{{.text = "서울 사는 Kim"}, {.text = "부산 2024"}};
  return bytes_of(ctx, make_ner(c, Features::build(c, documents), TagSet({"LC", "PS"}, c.scheme)));
}

std::vector<std::byte> tc(Context& ctx) {
  const Config c = small(Task::tc, Unit::syllable);
  return bytes_of(ctx,
                  make_tc(c, Features::build(c, {{.text = "좋아요"}, {.text = "별로"}}), Labels({"긍정", "부정"})));
}

template <class Model>
void load_and_ask(const std::string& path, Context& ctx) try {
  const Model model = Model::load(path, ctx);
  for (const char* text : {"", "서울", "부산 사는 Kim, 없는 words"}) {
    try {
      model.predict(ctx, text);
    } catch (const std::invalid_argument&) {  // weights that are no numbers
    }
  }
} catch (const ModelError&) {
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Context ctx({.threads = 1});
  static const std::vector<std::byte> models[] = {ner(ctx, Unit::syllable), ner(ctx, Unit::word), tc(ctx)};
  static const int fd = ::memfd_create("model", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(fd);
  if (size == 0) return 0;
  const int which = data[0] % 3;
  std::vector<std::byte> bytes = models[which];
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  for (std::size_t i = 1; i + 4 <= size; i += 4) {  // where: in the header twice as often as in the data; what
    const std::size_t range = data[i] % 3 ? 8 + header : bytes.size();
    bytes[(data[i + 1] * 256u + data[i + 2]) % range] = std::byte{data[i + 3]};
  }
  correct_checksum(bytes);
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    std::abort();
  which == 2 ? load_and_ask<TcModel>(path, ctx) : load_and_ask<NerModel>(path, ctx);
  return 0;
}
