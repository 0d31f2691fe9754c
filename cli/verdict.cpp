#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/common.h"
#include "cli/evaluate.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "train/error_page.h"
#include "train/metrics_report.h"

namespace bib::cli {

namespace {

struct Gate {
  std::string figure;
  double limit = 0;
};

Gate parse_gate(const std::string& text) {
  static const std::set<std::string> known = {"f1",       "precision", "recall",      "accuracy",
                                              "micro-f1", "macro-f1",  "weighted-f1", "char-f1"};
  const std::size_t equals = text.find('=');
  const Gate gate{text.substr(0, equals), 0};
  if (equals == std::string::npos || known.count(gate.figure) == 0) {
    std::string names;
    for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
    throw UsageError("--fail-under " + text + ": expected FIGURE=LIMIT, such as f1=0.8; figures are " + names);
  }
  double limit = 0;
  const char *begin = text.data() + equals + 1, *end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, limit);
  if (error != std::errc() || stop != end || !(limit >= 0 && limit <= 1)) {
    throw UsageError("--fail-under " + text + ": the limit is a fraction from 0 to 1, such as 0.8");
  }
  return {gate.figure, limit};
}

bool ends_with(const std::string& text, const char* end) {
  const std::size_t n = std::strlen(end);
  return text.size() >= n && text.compare(text.size() - n, n, end) == 0;
}

bool is_html(const std::string& path) { return ends_with(path, ".html") || ends_with(path, ".htm"); }

void apply_gates(const Verdict& verdict, const std::map<std::string, double>& figures) {
  std::string missed;
  for (const std::string& text : verdict.at_least) {
    const Gate gate = parse_gate(text);
    const auto figure = figures.find(gate.figure);
    if (figure == figures.end()) throw UsageError("--fail-under " + text + ": this evaluation has no " + gate.figure);
    if (figure->second >= gate.limit) continue;
    char line[96];
    std::snprintf(line, sizeof line, "%s is %.4f, under the limit of %.4f", gate.figure.c_str(), figure->second,
                  gate.limit);
    missed += (missed.empty() ? "" : "; ") + std::string(line);
  }
  if (!missed.empty()) throw GateFailed(missed);
}

std::size_t text_of(const SpanError& error) { return error.sentence; }
std::size_t text_of(const TcError& error) { return error.document; }

/// The mistakes of one text stay together.
template <class Error>
void put_surest_first(std::vector<Error>& errors, const Certainty<Error>& certainty) {
  std::map<std::size_t, std::optional<double>> surest;
  for (Error& error : errors) {
    error.certainty = certainty(error);
    surest[text_of(error)] = std::max(surest[text_of(error)], error.certainty);
  }
  std::stable_sort(errors.begin(), errors.end(),
                   [&](const Error& a, const Error& b) { return surest.at(text_of(a)) > surest.at(text_of(b)); });
}

std::string report_of(const auto& scores, const Verdict& verdict) {
  using Json = nlohmann::ordered_json;
  if (!verdict.json) return report_text(scores) + verdict.appendix;
  if (verdict.appendix.empty()) return report_json(scores);
  Json json = Json::parse(report_json(scores));
  json.update(Json::parse(verdict.appendix));
  return json.dump(2) + "\n";
}

template <typename Scores>
void conclude(const Scores& scores, const std::vector<Document>& gold, const Verdict& verdict) {
  const std::string report = report_of(scores, verdict);
  std::fwrite(report.data(), 1, report.size(), stdout);
  std::fflush(stdout);
  if (!verdict.errors.empty()) {
    const ErrorPageOptions page{
        .gold_name = verdict.gold_name, .predicted_name = verdict.predicted_name, .file_of = verdict.file_of};
    Output(verdict.errors)
        .write(is_html(verdict.errors) ? error_page(scores, gold, page) : errors_jsonl(scores, gold, verdict.file_of));
  }
  apply_gates(verdict, figures(scores));
}

std::string located(const DataError& error, const Verdict& verdict) {
  return verdict.gold_name + " (gold) and " + verdict.predicted_name + " (prediction): " + error.what() +
         verdict.gold_parts;
}

}  // namespace

void set_gold(Verdict& verdict, const Corpora& gold) {
  verdict.gold_name = gold.name();
  if (gold.names.size() == 1) return;
  verdict.file_of = [&gold](std::size_t i) { return gold.name_of(i); };
  verdict.gold_parts = " (" + gold.parts() + ")";
}

Document answered(Document gold, const NerPrediction& prediction) {
  gold.tags.clear();
  gold.spans.assign(prediction.entities.begin(), prediction.entities.end());
  gold.scores.clear();
  for (const Entity& e : prediction.entities)
    if (e.score) gold.scores.push_back(*e.score);
  return gold;
}

Document answered(Document gold, const TcPrediction& prediction) {
  gold.labels = prediction.labels;
  gold.scores.clear();
  for (std::size_t k = 0; k < gold.labels.size(); ++k) gold.scores.push_back(prediction.classes[k].score);
  return gold;
}

void check(const Verdict& verdict) {
  for (const std::string& gate : verdict.at_least) parse_gate(gate);
  if (!verdict.errors.empty() && !is_html(verdict.errors) && !ends_with(verdict.errors, ".jsonl")) {
    throw UsageError("--errors " + verdict.errors + ": the name must end in .html or .jsonl, which chooses the kind");
  }
}

void conclude_ner(const std::vector<Document>& gold, const std::vector<Document>& predicted, const NerOptions& options,
                  const Verdict& verdict, const Certainty<SpanError>& certainty) {
  NerScores scores;
  try {
    scores = evaluate_ner(gold, predicted, options);
    if (verdict.calibration) scores.calibration = calibration_of(judge_entities(scores.gold, predicted));
  } catch (const DataError& e) {
    throw DataError(located(e, verdict));
  }
  if (scores.ignored_gold_tags > 0) {
    warn(verdict.gold_name + ": " + std::to_string(scores.ignored_gold_tags) +
         " tags belong to no well-formed entity and are not scored in this mode; --mode conll reads them");
  }
  if (certainty) put_surest_first(scores.errors, certainty);
  conclude(scores, gold, verdict);
}

void conclude_tc(const std::vector<Document>& gold, const std::vector<Document>& predicted, Bootstrap bootstrap,
                 const Verdict& verdict, const Certainty<TcError>& certainty) {
  TcScores scores;
  try {
    scores = evaluate_tc(gold, predicted, bootstrap);
    if (verdict.calibration) scores.calibration = calibration_of(judge_classes(gold, predicted));
  } catch (const DataError& e) {
    throw DataError(located(e, verdict));
  }
  if (certainty) put_surest_first(scores.errors, certainty);
  conclude(scores, gold, verdict);
}

}  // namespace bib::cli
