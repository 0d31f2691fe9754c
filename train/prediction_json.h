// One prediction as one JSON object: the same in `bib predict`, over HTTP and in the client.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "bib/ner.h"
#include "bib/tc.h"
#include "models/text.h"

namespace bib {

/// "codepoint", "utf16" or "byte"; anything else counts as "codepoint".
OffsetUnit offset_unit(const std::string& name);

/// `head` (fields passed through, or {"text": ...}, by valid_utf8) with "entities", "alternatives" if asked for, and
/// "unit".
nlohmann::ordered_json to_json(nlohmann::ordered_json head, const std::string& text, const NerPrediction& prediction,
                               const std::string& offsets, bool alternatives);
/// `head` with "labels" and "classes".
nlohmann::ordered_json to_json(nlohmann::ordered_json head, const TcPrediction& prediction, bool scores);

/// One line with its newline; what is no UTF-8 is shown as U+FFFD.
std::string json_line(const nlohmann::ordered_json& json);

}  // namespace bib
