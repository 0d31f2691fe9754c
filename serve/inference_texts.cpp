#include "serve/inference_texts.h"

#include "serve/status.h"

namespace bib::serve {
namespace {

/// Elements of a BYTES tensor: each a length of 4 bytes, little-endian, then that many bytes.
std::vector<std::string> split_raw(const std::string& raw) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < raw.size();) {
    std::uint32_t length = 0;
    if (raw.size() - at < 4) invalid("raw_input_contents[0]", "ends inside a length");
    for (int i = 3; i >= 0; --i)
      length = length << 8 | static_cast<unsigned char>(raw[at + static_cast<std::size_t>(i)]);
    at += 4;
    if (length > raw.size() - at) invalid("raw_input_contents[0]", "ends inside a text");
    out.push_back(raw.substr(at, length));
    at += length;
  }
  return out;
}

}  // namespace

std::vector<std::string> texts_of(const inference::ModelInferRequest& request) {
  if (request.inputs_size() != 1 || request.inputs(0).name() != "text") {
    invalid("inputs", "give one input named 'text'");
  }
  const auto& input = request.inputs(0);
  if (input.datatype() != "BYTES") invalid("inputs[0].datatype", "is '" + input.datatype() + "', BYTES is expected");
  std::vector<std::string> texts;
  if (request.raw_input_contents_size() > 1) invalid("raw_input_contents", "has more than the one input");
  if (request.raw_input_contents_size() > 0) {
    texts = split_raw(request.raw_input_contents(0));
  } else {
    for (const std::string& text : input.contents().bytes_contents()) texts.push_back(text);
  }
  std::int64_t size = 1;
  for (const std::int64_t extent : input.shape()) {
    if (extent < 0 || extent > 1'000'000'000) invalid("inputs[0].shape", "has an extent that cannot be");
    if (size <= 1'000'000'000) size *= extent;
  }
  if (size != static_cast<std::int64_t>(texts.size())) {
    invalid("inputs[0].shape", "says " + std::to_string(size) + " texts, there are " + std::to_string(texts.size()));
  }
  return texts;
}

}  // namespace bib::serve
