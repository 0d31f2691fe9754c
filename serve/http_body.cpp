#include "serve/http_body.h"

#include <set>
#include <type_traits>

#include "models/text.h"
#include "train/prediction_json.h"

namespace bib::serve {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
T field(const Json& json, const char* name, T fallback) {
  if (!json.contains(name)) return fallback;
  try {
    return json[name].get<T>();
  } catch (const Json::exception&) {
    invalid(name, std::is_same_v<T, std::string> ? "is not a string"
                  : std::is_same_v<T, double>    ? "is not a number"
                                                 : "is not a list of strings");
  }
}

int whole(const Json& json, const char* name, int fallback, int most) {
  if (!json.contains(name)) return fallback;
  const Json& value = json[name];
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(most)) {
    invalid(name, "is not a whole number from 0 to " + std::to_string(most));
  }
  return value.get<int>();
}

/// What no body holds is refused where it stands: objects of very many keys take time by their square, and lists in
/// lists twenty times their size in memory.
Json parse(const std::string& text) {
  static const std::set<std::string> known{"model",  "version", "text",  "texts",    "offsets",
                                           "scores", "nbest",   "top_k", "threshold"};
  const auto look = [](int depth, Json::parse_event_t event, const Json& parsed) {
    if (event == Json::parse_event_t::key && !known.contains(parsed.get_ref<const std::string&>())) {
      invalid(valid_utf8(parsed.get<std::string>().substr(0, 64)),
              "is not known; a body holds model, version, text or texts, and options");
    }
    const bool opens = event == Json::parse_event_t::array_start || event == Json::parse_event_t::object_start;
    if (opens && depth > 1) invalid("body", "has lists or objects in lists or objects");
    return true;
  };
  return Json::parse(text, look, false);
}

}  // namespace

HttpBody read_body(const std::string& text) {
  const Json json = parse(text);
  if (!json.is_object()) invalid("body", "is not a JSON object, such as {\"model\":\"ner\",\"text\":\"...\"}");
  HttpBody b;
  b.question.model_name = field<std::string>(json, "model", "");
  b.question.version = json.contains("version") && json["version"].is_number_unsigned()
                           ? json["version"].dump()
                           : field<std::string>(json, "version", "");
  b.single = json.contains("text");
  if (b.single == json.contains("texts")) invalid("text", "give either text or texts");
  if (b.single) {
    b.texts.push_back(field<std::string>(json, "text", ""));
  } else {
    b.texts = field<std::vector<std::string>>(json, "texts", {});
  }
  b.offsets = field<std::string>(json, "offsets", "codepoint");
  if (b.offsets != "codepoint" && b.offsets != "utf16" && b.offsets != "byte") {
    invalid("offsets", "is none of codepoint, utf16, byte");
  }
  const auto scores = field<std::string>(json, "scores", "entity");
  if (scores != "none" && scores != "entity" && scores != "all") invalid("scores", "is none of none, entity, all");
  b.ner = {.scores = scores != "none", .nbest = whole(json, "nbest", 0, 100)};
  const int top = whole(json, "top_k", 1, 1'000'000);
  b.tc = {.top_k = scores == "all" ? 0 : std::max(1, top), .threshold = field(json, "threshold", 0.5)};
  if (!(b.tc.threshold >= 0 && b.tc.threshold <= 1)) invalid("threshold", "is not between 0 and 1");
  return b;
}

nlohmann::ordered_json answer_json(const Work& work, const HttpBody& body) {
  Json results = Json::array();
  for (std::size_t i = 0; i < work.documents.size(); ++i) {
    const std::string& text = work.documents[i].text;
    Json head{{"text", text}};
    results.push_back(work.model->task() == Task::ner
                          ? to_json(std::move(head), text, work.ner[i], body.offsets, body.ner.nbest > 0)
                          : to_json(std::move(head), work.tc[i], body.ner.scores));
  }
  if (body.single) return results.front();
  return {{"model_version", std::to_string(work.model->version)}, {"results", std::move(results)}};
}

}  // namespace bib::serve
