// The model file: one safetensors file (https://huggingface.co/docs/safetensors) that any safetensors reader opens.
//   8 bytes    N, length of the header, little-endian
//   N bytes    JSON {"__metadata__":{"bib.checksum":"<16 hex digits>",...},
//   "<name>":{"dtype","shape","data_offsets"},...}
//              followed by spaces, so that the data begin at a multiple of 64 bytes
//   the rest   the tensors, without holes: first those whose size is a multiple of 64 bytes (so they stay aligned), the
//              others by falling element size
// The checksum is XXH3-64 over the whole file with its own 16 digits read as '0'.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bib/error.h"
#include "bib/view.h"

namespace bib {

/// Version of the layout and of the names in it. A file says the oldest reader that understands it (min_reader).
inline constexpr int model_format_version = 1;

enum class ElementType : std::uint8_t { f32, i32, u8 };

template <class T>
constexpr ElementType element_type_of() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, std::int32_t> || std::is_same_v<T, std::uint8_t>);
  if constexpr (std::is_same_v<T, float>) return ElementType::f32;
  if constexpr (std::is_same_v<T, std::int32_t>) return ElementType::i32;
  return ElementType::u8;
}
std::string_view element_type_name(ElementType type);  // "F32", "I32", "U8"

/// A tensor in a model file: borrowed, like a View, with type and rank known at run time only.
struct Tensor {
  ElementType type = ElementType::f32;
  std::vector<int> shape;
  const void* data = nullptr;

  std::int64_t size() const;
  std::size_t bytes() const;
};

struct ModelFile {
  std::string path;  // where it was read from, for messages
  std::map<std::string, std::string, std::less<>> metadata;
  std::map<std::string, Tensor, std::less<>> tensors;
  std::vector<std::shared_ptr<const void>> memory;  // keeps what the tensors point into alive; empty: the caller does

  /// Borrows the values: they must live until the file is written.
  template <class T, int R>
  void add(std::string name, View<const T, R> v) {
    add_borrowed(std::move(name), {element_type_of<T>(), {v.shape.begin(), v.shape.end()}, v.data});
  }
  void add_borrowed(std::string name, Tensor tensor);
  /// Takes the values over.
  template <class T>
  void add(std::string name, std::vector<T> values, std::vector<int> shape) {
    auto owned = std::make_shared<const std::vector<T>>(std::move(values));
    add_borrowed(std::move(name), {element_type_of<T>(), std::move(shape), owned->data()});
    memory.push_back(std::move(owned));
  }

  /// The tensor of this name, type and rank; throws ModelError saying what is missing or different.
  template <class T, int R>
  View<const T, R> get(std::string_view name) const {
    const Tensor& t = tensor(name, element_type_of<T>(), R);
    View<const T, R> v{.data = static_cast<const T*>(t.data)};
    for (int i = 0; i < R; ++i) v.shape[i] = t.shape[i];
    return v;
  }
  template <class T>
  std::span<const T> get_span(std::string_view name) const {
    const View<const T, 1> v = get<T, 1>(name);
    return {v.data, static_cast<std::size_t>(v.size())};
  }

  bool has(std::string_view name) const { return tensors.find(name) != tensors.end(); }
  /// A metadata entry; throws ModelError when the file has none of this name.
  const std::string& text(std::string_view key) const;
  /// ModelError "model FILE: what" for readers of its content.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  const Tensor& tensor(std::string_view name, ElementType type, int rank) const;
};

/// Maps the file and verifies everything: structure, version, checksum. Tensors point into the mapping.
/// Throws ModelError naming the file, what is wrong and what to do.
ModelFile read_model(const std::string& path);

/// The same for bytes in memory, which must outlive the result; `name` stands for the path in messages.
ModelFile parse_model(std::span<const std::byte> bytes, std::string name);

/// Whether the file begins as a model does, however it goes on: tells one from a text.
bool looks_like_model(const std::string& path);

/// Header with its length, checksum and padding: the file is this followed by the tensors in `data_order`.
std::string encode_header(const ModelFile& model);
std::vector<const Tensor*> data_order(const ModelFile& model);

/// The bytes of the file.
std::vector<std::byte> encode(const ModelFile& model);

/// A model file that cannot be written; `error` is the system's number (ENOSPC, EROFS...).
struct WriteError : std::runtime_error {
  int error;
  WriteError(int e, const std::string& message) : std::runtime_error(message), error(e) {}
};

/// Writes to a temporary name in the same folder, syncs and renames: the path holds the old file or the new one, never
/// a part. Throws WriteError with the reason; nothing is left behind.
void write_model(const std::string& path, const ModelFile& model);
/// Throws the WriteError that write_model() would begin with.
void require_writable(const std::string& path);

}  // namespace bib
