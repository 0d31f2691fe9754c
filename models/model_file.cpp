// The layout of the model file: encoding, checksum and a reader that trusts nothing.
#include "models/model_file.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "bib/expect.h"

namespace bib {

namespace {

using Json = nlohmann::json;

constexpr std::size_t length_bytes = 8, checksum_digits = 16, data_alignment = 64;
constexpr std::size_t largest_header = 100'000'000;  // as in the reference reader
constexpr std::string_view prefix = R"({"__metadata__":{"bib.checksum":")";
constexpr std::string_view no_checksum = "0000000000000000";
constexpr std::string_view element_names[] = {"F32", "I32", "U8"};
constexpr std::size_t element_bytes[] = {4, 4, 1};

std::string hex(std::uint64_t value) {
  std::string digits(checksum_digits, '0');
  for (std::size_t i = checksum_digits; i-- > 0; value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
  return digits;
}

/// XXH3-64 over a file given in pieces.
class Checksum {
 public:
  Checksum() { XXH3_64bits_reset(&state_); }
  void add(const void* p, std::size_t n) {
    if (n) XXH3_64bits_update(&state_, p, n);
  }
  std::string digits() const { return hex(XXH3_64bits_digest(&state_)); }

 private:
  XXH3_state_t state_;
};

std::vector<std::map<std::string, Tensor, std::less<>>::const_iterator> ordered(const ModelFile& model) {
  std::vector<std::map<std::string, Tensor, std::less<>>::const_iterator> order;
  for (auto it = model.tensors.begin(); it != model.tensors.end(); ++it) order.push_back(it);
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    const auto rank = [](const Tensor& t) {
      return t.bytes() % data_alignment == 0 ? 0 : element_bytes[static_cast<int>(t.type)] == 4 ? 1 : 2;
    };
    return rank(a->second) < rank(b->second);
  });
  return order;
}

std::uint64_t little_endian(const std::byte* p) {
  std::uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | std::to_integer<std::uint64_t>(p[i]);
  return value;
}

bool begins_with_header(std::span<const std::byte> bytes) {
  return bytes.size() > length_bytes && little_endian(bytes.data()) <= largest_header &&
         bytes[length_bytes] == std::byte{'{'};
}

/// What a reader knows while it works through one file.
struct Reader {
  ModelFile model;
  std::span<const std::byte> bytes, data;
  std::string_view header;

  [[noreturn]] void fail(const std::string& what) const { model.fail(what); }
  [[noreturn]] void damaged(const std::string& what) const {
    fail(what + ": the file is damaged or incomplete; copy or train it again");
  }

  void split();
  void read_metadata(const Json& entries);
  void check_version() const;
  void read_tensor(const std::string& name, const Json& entry, std::map<std::size_t, std::size_t>& extents);
  void verify_checksum() const;
};

void Reader::split() {
  if (bytes.size() < length_bytes) damaged("holds " + std::to_string(bytes.size()) + " bytes, too few for a model");
  const std::uint64_t length = little_endian(bytes.data());
  if (!begins_with_header(bytes)) {
    fail("not a bib model (it is no safetensors file); train one with 'bib train'");
  }
  if (length > bytes.size() - length_bytes) {
    damaged("ends inside its header (" + std::to_string(bytes.size()) + " of " + std::to_string(length + length_bytes) +
            " bytes)");
  }
  header = {reinterpret_cast<const char*>(bytes.data()) + length_bytes, static_cast<std::size_t>(length)};
  data = bytes.subspan(length_bytes + header.size());
}

void Reader::read_metadata(const Json& entries) {
  if (!entries.is_object()) damaged("metadata is not an object");
  for (const auto& [key, value] : entries.items()) {
    if (!value.is_string()) damaged("metadata '" + key + "' is not text");
    model.metadata[key] = value.get<std::string>();
  }
}

void Reader::check_version() const {
  const auto found = model.metadata.find("bib.min_reader");
  if (found == model.metadata.end()) {
    fail("a safetensors file, but not a bib model (it lacks 'bib.min_reader'); train one with 'bib train'");
  }
  const std::string& text = found->second;
  const bool number = !text.empty() && text.size() <= 9 && text.find_first_not_of("0123456789") == std::string::npos;
  if (!number) damaged("'bib.min_reader' is '" + text + "', not a number");
  if (std::stoi(text) > model_format_version) {
    const auto by = model.metadata.find("bib.version");
    fail("needs a reader of format " + text + ", this bib reads up to " + std::to_string(model_format_version) +
         "; use bib " + (by == model.metadata.end() ? "of a newer version" : by->second + " or newer"));
  }
}

void Reader::read_tensor(const std::string& name, const Json& entry, std::map<std::size_t, std::size_t>& extents) {
  const std::string what = "tensor '" + name + "'";
  const auto field = [&](const char* key) -> const Json& {
    if (!entry.is_object() || !entry.contains(key)) damaged(what + " has no " + key);
    return entry[key];
  };
  const Json &dtype = field("dtype"), &shape = field("shape"), &offsets = field("data_offsets");
  if (!dtype.is_string()) damaged(what + " has no usable dtype");
  const auto type = std::find(std::begin(element_names), std::end(element_names), dtype.get_ref<const std::string&>());
  if (type == std::end(element_names)) {
    fail(what + " has element type " + dtype.get<std::string>() + "; this bib reads F32, I32 and U8");
  }
  Tensor tensor{.type = static_cast<ElementType>(type - std::begin(element_names))};

  if (!shape.is_array() || shape.size() > 8) damaged(what + " has no usable shape");
  std::uint64_t size = element_bytes[type - std::begin(element_names)];  // bytes; each factor < 2^31, checked each time
  for (const Json& extent : shape) {
    if (!extent.is_number_unsigned() || extent.get<std::uint64_t>() > std::numeric_limits<int>::max()) {
      damaged(what + " has no usable shape");
    }
    tensor.shape.push_back(extent.get<int>());
    size *= extent.get<std::uint64_t>();
    if (size > data.size()) damaged(what + " is larger than the file");
  }
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    damaged(what + " has no usable data_offsets");
  }
  const auto begin = offsets[0].get<std::uint64_t>(), end = offsets[1].get<std::uint64_t>();
  if (begin > end || end > data.size()) damaged(what + " lies outside the file");
  if (end - begin != size)
    damaged(what + " has " + std::to_string(end - begin) + " bytes, its shape " + std::to_string(size));
  if (begin % element_bytes[type - std::begin(element_names)]) damaged(what + " is not aligned");
  if (size && !extents.emplace(begin, end).second) damaged(what + " overlaps another");
  tensor.data = data.data() + begin;
  model.tensors.emplace(name, std::move(tensor));
}

void Reader::verify_checksum() const {
  if (header.size() < prefix.size() + checksum_digits || header.substr(0, prefix.size()) != prefix) {
    fail("a safetensors file, but not as bib writes it (no checksum at its start); another program rewrote it");
  }
  const std::size_t before = length_bytes + prefix.size(), after = before + checksum_digits;
  Checksum sum;
  sum.add(bytes.data(), before);
  sum.add(no_checksum.data(), checksum_digits);
  sum.add(bytes.data() + after, bytes.size() - after);
  const std::string_view stored = header.substr(prefix.size(), checksum_digits);
  if (sum.digits() != stored) {
    damaged("checksum is " + sum.digits() + ", the file says " + std::string(stored));
  }
}

}  // namespace

std::string_view element_type_name(ElementType type) { return element_names[static_cast<int>(type)]; }

std::int64_t Tensor::size() const {
  std::int64_t n = 1;
  for (int extent : shape) n *= extent;
  return n;
}

std::size_t Tensor::bytes() const { return static_cast<std::size_t>(size()) * element_bytes[static_cast<int>(type)]; }

void ModelFile::fail(const std::string& what) const { throw ModelError("model " + path + ": " + what); }

const std::string& ModelFile::text(std::string_view key) const {
  const auto found = metadata.find(key);
  if (found == metadata.end())
    fail("has no '" + std::string(key) + "' in its metadata; it is not a model of this kind");
  return found->second;
}

void ModelFile::add_borrowed(std::string name, Tensor tensor) {
  expect(!name.empty() && name != "__metadata__", "model file: a tensor needs a name");
  expect(tensor.data || tensor.size() == 0, "model file: tensor '" + name + "' has no values");
  const auto [where, added] = tensors.emplace(std::move(name), std::move(tensor));
  expect(added, "model file: tensor '" + where->first + "' is there already");
}

const Tensor& ModelFile::tensor(std::string_view name, ElementType type, int rank) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) fail("has no tensor '" + std::string(name) + "'; it is not a model of this kind");
  const Tensor& t = found->second;
  if (t.type != type || static_cast<int>(t.shape.size()) != rank) {
    fail("tensor '" + std::string(name) + "' is " + std::string(element_type_name(t.type)) + " of rank " +
         std::to_string(t.shape.size()) + ", expected " + std::string(element_type_name(type)) + " of rank " +
         std::to_string(rank));
  }
  return t;
}

std::vector<const Tensor*> data_order(const ModelFile& model) {
  std::vector<const Tensor*> order;
  for (const auto& it : ordered(model)) order.push_back(&it->second);
  return order;
}

std::string encode_header(const ModelFile& model) {
  std::string json(prefix);
  json.append(no_checksum).append("\"");
  auto metadata = model.metadata;
  metadata.erase("bib.checksum");
  metadata.emplace("bib.format_version", std::to_string(model_format_version));
  metadata.emplace("bib.min_reader", std::to_string(model_format_version));
  for (const auto& [key, value] : metadata) json.append("," + Json(key).dump() + ":" + Json(value).dump());
  json.append("}");
  std::size_t offset = 0;
  for (const auto& it : ordered(model)) {
    const auto& [name, tensor] = *it;
    const std::size_t end = offset + tensor.bytes();
    json.append("," + Json(name).dump() + R"(:{"dtype":")" + std::string(element_type_name(tensor.type)) +
                R"(","shape":)" + Json(tensor.shape).dump() + R"(,"data_offsets":)" + Json({offset, end}).dump() + "}");
    offset = end;
  }
  json.append("}");
  json.append((data_alignment - (length_bytes + json.size()) % data_alignment) % data_alignment, ' ');
  expect(json.size() <= largest_header, "model file: more than 100 MB of metadata; large data belong in a tensor");

  std::string out(length_bytes, '\0');
  for (std::size_t i = 0; i < length_bytes; ++i) out[i] = static_cast<char>(json.size() >> (8 * i) & 255);
  out += json;
  Checksum sum;
  sum.add(out.data(), out.size());
  for (const Tensor* tensor : data_order(model)) sum.add(tensor->data, tensor->bytes());
  out.replace(length_bytes + prefix.size(), checksum_digits, sum.digits());
  return out;
}

std::vector<std::byte> encode(const ModelFile& model) {
  std::vector<std::byte> file;
  const auto append = [&](const void* data, std::size_t bytes) {
    const auto* begin = static_cast<const std::byte*>(data);
    file.insert(file.end(), begin, begin + bytes);
  };
  const std::string header = encode_header(model);
  append(header.data(), header.size());
  for (const Tensor* tensor : data_order(model)) append(tensor->data, tensor->bytes());
  return file;
}

bool looks_like_model(const std::string& path) {
  std::error_code none;
  if (!std::filesystem::is_regular_file(path, none)) return false;  // a pipe must not be read twice
  char begin[length_bytes + 1] = {};
  std::ifstream file(path, std::ios::binary);
  return file.read(begin, sizeof begin) && begins_with_header(std::as_bytes(std::span(begin)));
}

ModelFile parse_model(std::span<const std::byte> bytes, std::string name) {
  Reader reader;
  reader.model.path = std::move(name);
  reader.bytes = bytes;
  reader.split();
  const Json header = Json::parse(reader.header, nullptr, false);
  if (!header.is_object()) reader.damaged("its header is not JSON");
  if (header.contains("__metadata__")) reader.read_metadata(header["__metadata__"]);
  reader.check_version();

  std::map<std::size_t, std::size_t> extents;  // begin -> end
  for (const auto& [key, value] : header.items()) {
    if (key != "__metadata__") reader.read_tensor(key, value, extents);
  }
  std::size_t reached = 0;
  for (const auto& [begin, end] : extents) {
    if (begin != reached) reader.damaged("its tensors overlap or leave a hole");
    reached = end;
  }
  if (reached != reader.data.size()) {
    reader.damaged("its tensors take " + std::to_string(reached) + " bytes, the file has " +
                   std::to_string(reader.data.size()));
  }
  reader.verify_checksum();
  return std::move(reader.model);
}

}  // namespace bib
