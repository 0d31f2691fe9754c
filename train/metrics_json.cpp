#include <nlohmann/json.hpp>

#include "models/text.h"
#include "train/metrics_report.h"

namespace bib {

namespace {

using Json = nlohmann::ordered_json;

/// A label or text that is not UTF-8 becomes U+FFFD: JSON has no other way.
std::string dump(const Json& json, int indent) { return json.dump(indent, ' ', false, Json::error_handler_t::replace); }

Json json_of(const Score& score) {
  return {{"precision", score.precision()}, {"recall", score.recall()}, {"f1", score.f1()},
          {"support", score.gold},          {"found", score.found},     {"correct", score.correct}};
}

Json json_of(const Average& average) {
  return {{"precision", average.precision}, {"recall", average.recall}, {"f1", average.f1}};
}

Json json_of(const std::optional<Interval>& interval) {
  return interval ? Json::array({interval->low, interval->high}) : Json(nullptr);
}

Json json_of(const ScoreByLabel& labels) {
  Json json = Json::object();
  for (const auto& [label, score] : labels) json[label] = json_of(score);
  return json;
}

Json json_of(const Confusion& confusion) { return {{"labels", confusion.labels}, {"counts", confusion.counts}}; }

Json json_of(const ReliabilityBin& bin) {
  return {{"low", bin.low},
          {"high", bin.high},
          {"answers", bin.answers},
          {"mean_probability", bin.mean_probability()},
          {"right", bin.share_right()}};
}

Json json_of(const Calibration& calibration) {
  Json json{{"answers", calibration.all.answers},
            {"mean_probability", calibration.all.mean_probability()},
            {"right", calibration.all.share_right()},
            {"ece", calibration.ece},
            {"brier", calibration.brier},
            {"bins", Json::array()}};
  for (const ReliabilityBin& bin : calibration.bins) json["bins"].push_back(json_of(bin));
  return json;
}

const char* name_of(NerMode mode) {
  switch (mode) {
    case NerMode::conll: return "conll";
    case NerMode::strict: return "strict";
    case NerMode::seqeval: return "seqeval";
    case NerMode::klue: return "klue";
  }
  return "";
}

Json json_of(const std::optional<Span>& span, const std::string& text, const OffsetMap& offsets) {
  if (!span) return nullptr;
  return {{"start", offsets.from_byte(span->begin)},
          {"end", offsets.from_byte(span->end)},
          {"label", span->label},
          {"text", text.substr(span->begin, span->end - span->begin)}};
}

}  // namespace

std::string report_json(const NerScores& s) {
  Json json{{"task", "ner"},
            {"mode", name_of(s.mode)},
            {"sentences", s.sentences},
            {s.characters ? "characters" : "tokens", s.tokens},
            {"f1", s.f1()},
            {"f1_interval", json_of(s.f1_interval)},
            {"accuracy", s.accuracy()},
            {"micro", json_of(s.micro)},
            {"macro", json_of(s.macro)},
            {"weighted", json_of(s.weighted)}};
  if (s.character_macro_f1) json["character_macro_f1"] = *s.character_macro_f1;
  json["types"] = json_of(s.types);
  json["errors"] = Json::object();
  for (const auto& [kind, count] : count_kinds(s)) json["errors"][bib::name_of(kind)] = count;
  json["confusion"] = json_of(s.confusion);
  if (s.calibration) json["calibration"] = json_of(*s.calibration);
  return dump(json, 2) + "\n";
}

std::string report_json(const TcScores& s) {
  Json json{{"task", "tc"},
            {"multi_label", s.multi_label},
            {"documents", s.documents},
            {s.multi_label ? "subset_accuracy" : "accuracy", s.accuracy()},
            {"accuracy_interval", json_of(s.accuracy_interval)},
            {"f1", s.f1()},
            {"f1_interval", json_of(s.f1_interval)},
            {"micro", json_of(s.micro)},
            {"macro", json_of(s.macro)},
            {"weighted", json_of(s.weighted)},
            {"classes", json_of(s.labels)}};
  if (!s.multi_label) json["confusion"] = json_of(s.confusion);
  if (s.calibration) json["calibration"] = json_of(*s.calibration);
  return dump(json, 2) + "\n";
}

std::string errors_jsonl(const NerScores& scores, const std::vector<Document>& gold, const FileOf& file_of) {
  std::string lines;
  for (const SpanError& error : scores.errors) {
    const Document& document = gold.at(error.sentence);
    const OffsetMap offsets(document.text, OffsetUnit::codepoint);
    Json json{{"sentence", error.sentence + 1}};
    if (file_of) json["file"] = file_of(error.sentence);
    json.update({{"line", document.line},
                 {"kind", bib::name_of(error.kind)},
                 {"gold", json_of(error.gold, document.text, offsets)},
                 {"predicted", json_of(error.predicted, document.text, offsets)},
                 {"text", document.text},
                 {"unit", "codepoint"}});
    if (error.certainty) json["certainty"] = *error.certainty;
    lines += dump(json, -1) + "\n";
  }
  return lines;
}

std::string errors_jsonl(const TcScores& scores, const std::vector<Document>& gold, const FileOf& file_of) {
  std::string lines;
  for (const TcError& error : scores.errors) {
    const Document& document = gold.at(error.document);
    Json json{{"document", error.document + 1}};
    if (file_of) json["file"] = file_of(error.document);
    json.update(
        {{"line", document.line}, {"gold", error.gold}, {"predicted", error.predicted}, {"text", document.text}});
    if (error.certainty) json["certainty"] = *error.certainty;
    lines += dump(json, -1) + "\n";
  }
  return lines;
}

}  // namespace bib
