// The JSON that POST /v1/predict takes and gives.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "serve/ask.h"

namespace bib::serve {

/// What a body asks for.
struct HttpBody {
  Question question;
  std::vector<std::string> texts;
  bool single = false;  // "text" rather than "texts"
  std::string offsets = "codepoint";
  NerPredictOptions ner;
  TcPredictOptions tc;
};

/// Throws Refusal INVALID_ARGUMENT naming the field.
HttpBody read_body(const std::string& text);
/// For "text" the line of `bib predict`, for "texts" an object with "model_version" and "results".
nlohmann::ordered_json answer_json(const Work& work, const HttpBody& body);

}  // namespace bib::serve
