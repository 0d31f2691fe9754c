#include "train/prediction_json.h"

namespace bib {

using Json = nlohmann::ordered_json;

namespace {

Json entity_list(const std::vector<Entity>& entities, const std::string& text, const OffsetMap& offsets) {
  Json list = Json::array();
  for (const Entity& e : entities) {
    Json item{{"start", offsets.from_byte(e.begin)},
              {"end", offsets.from_byte(e.end)},
              {"label", e.label},
              {"text", valid_utf8(std::string_view(text).substr(e.begin, e.end - e.begin))}};
    if (e.score) item["score"] = *e.score;
    list.push_back(std::move(item));
  }
  return list;
}

}  // namespace

OffsetUnit offset_unit(const std::string& name) {
  if (name == "utf16") return OffsetUnit::utf16;
  return name == "byte" ? OffsetUnit::byte : OffsetUnit::codepoint;
}

Json to_json(Json head, const std::string& text, const NerPrediction& prediction, const std::string& offsets,
             bool alternatives) {
  const OffsetMap map(text, offset_unit(offsets));
  head["entities"] = entity_list(prediction.entities, text, map);
  if (alternatives) {
    head["alternatives"] = Json::array();
    for (const NerAlternative& a : prediction.alternatives) {
      head["alternatives"].push_back(
          {{"probability", a.probability}, {"entities", entity_list(a.entities, text, map)}});
    }
  }
  head["unit"] = offsets;
  return head;
}

Json to_json(Json head, const TcPrediction& prediction, bool scores) {
  head["labels"] = prediction.labels;
  head["classes"] = Json::array();
  for (const ClassScore& c : prediction.classes) {
    head["classes"].push_back({{"label", c.label}});
    if (scores) head["classes"].back()["score"] = c.score;
  }
  return head;
}

std::string json_line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

}  // namespace bib
