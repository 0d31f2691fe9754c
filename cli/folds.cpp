#include "cli/folds.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "cli/run_table.h"
#include "models/model_parts.h"
#include "train/base.h"
#include "train/folds.h"
#include "train/formats/format.h"

namespace bib::cli {
namespace {

using Texts = std::vector<std::size_t>;  // their numbers in the corpus

/// What the models made of the texts that they had not seen, in the order of the corpus.
struct Answers {
  std::vector<Document> documents;
  std::vector<std::map<ByteRange, double>> readings;  // NER: how probable what was read is, of answer and annotation
  std::vector<double> certainty;                      // TC: of the surest decision that is another than the annotation
};

std::vector<Document> pick(const std::vector<Document>& documents, const Texts& texts) {
  std::vector<Document> picked;
  for (const std::size_t i : texts) picked.push_back(documents[i]);
  return picked;
}

bool holds(const std::vector<std::string>& labels, const std::string& label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

/// Of one class for each text the answer is the decision; of any number each class is.
double certainty_of_mistake(const TcPrediction& prediction, const std::vector<std::string>& gold, bool multilabel) {
  double most = 0;
  for (const ClassScore& c : prediction.classes) {
    const bool answer = holds(prediction.labels, c.label);
    if (answer == holds(gold, c.label) || !(answer || multilabel)) continue;
    most = std::max(most, answer ? c.score : 1 - c.score);
  }
  return most;
}

void answer(Context& ctx, const std::vector<std::byte>& model, const Config& config, const std::vector<Document>& gold,
            const Texts& texts, Answers& answers) {
  const auto file = std::make_shared<const ModelFile>(parse_model(model, "of a fold"));
  const std::vector<Document> unseen = pick(gold, texts);
  if (config.task == Task::ner) {
    const auto found = load_ner(ctx, file).predict(ctx, unseen, {.span_scores = true});
    for (std::size_t i = 0; i < texts.size(); ++i) {
      answers.documents[texts[i]] = answered(unseen[i], found[i]);
      std::map<ByteRange, double>& readings = answers.readings[texts[i]];
      for (std::size_t s = 0; s < unseen[i].spans.size(); ++s) readings[unseen[i].spans[s]] = found[i].span_scores[s];
      for (const Entity& e : found[i].entities) readings[e] = *e.score;
    }
  } else {
    const auto found = load_tc(ctx, file).predict(ctx, unseen, {.top_k = config.multilabel ? 0 : 1});
    for (std::size_t i = 0; i < texts.size(); ++i) {
      answers.documents[texts[i]] = answered(unseen[i], found[i]);
      answers.certainty[texts[i]] = certainty_of_mistake(found[i], unseen[i].labels, config.multilabel);
    }
  }
}

/// By the rules of the report: a flat model is not blamed for the entities inside others.
NerOptions ner_options(const Config& config) {
  return {
      .scheme = {}, .nested = config.nested == "innermost" ? Nested::innermost : Nested::outermost, .bootstrap = {}};
}

/// As the dev score counts.
double score_of(const Config& config, const std::vector<Document>& gold, const std::vector<Document>& predicted) {
  constexpr Bootstrap none{.resamples = 0};
  if (config.task == Task::ner) {
    NerOptions options = ner_options(config);
    options.bootstrap = none;
    return evaluate_ner(gold, predicted, options).f1();
  }
  const TcScores scores = evaluate_tc(gold, predicted, none);
  return config.multilabel ? scores.micro.f1() : scores.accuracy();
}

std::string json_of(const std::string& metric, const std::vector<FinishedRun>& runs, const std::vector<Texts>& texts) {
  std::vector<double> scores;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < runs.size(); ++i) {
    scores.push_back(runs[i].score);
    list.push_back({{"texts", texts[i].size()},
                    {"score", runs[i].score},
                    {"epoch", runs[i].epoch},
                    {"seconds", *runs[i].seconds}});
  }
  const Spread spread = spread_of(scores);
  return nlohmann::ordered_json{
      {"folds", {{"metric", metric}, {"mean", spread.mean}, {"deviation", *spread.deviation}, {"runs", list}}}}
      .dump();
}

void warn_of_unseen(const std::vector<std::string>& labels) {
  if (labels.empty()) return;
  constexpr std::size_t shown = 10;
  std::string names;
  for (std::size_t i = 0; i < std::min(shown, labels.size()); ++i) names += (i ? ", " : "") + labels[i];
  warn(std::to_string(labels.size()) +
       (labels.size() == 1 ? " label stands in one fold alone, whose model cannot know it: "
                           : " labels stand each in one fold alone, whose model cannot know them: ") +
       names + (labels.size() > shown ? ", ..." : ""));
}

/// The texts of every fold.
std::vector<Texts> parts_of(const std::vector<int>& fold_of_document, int folds) {
  std::vector<Texts> parts(static_cast<std::size_t>(folds));
  for (std::size_t i = 0; i < fold_of_document.size(); ++i)
    parts[static_cast<std::size_t>(fold_of_document[i])].push_back(i);
  return parts;
}

std::vector<Document> others(const std::vector<Document>& documents, const std::vector<int>& fold_of_document,
                             int fold) {
  std::vector<Document> rest;
  for (std::size_t i = 0; i < documents.size(); ++i)
    if (fold_of_document[i] != fold) rest.push_back(documents[i]);
  return rest;
}

}  // namespace

bool cross_validate(const Config& config, FoldOptions folds, Corpora gold, const Corpora& dev,
                    ProgressPrinter& progress, const TrainOptions& options) {
  for (Document& d : gold.documents)
    d.annotated = true;  // as training takes it: of many classes none is an answer, too
  const Folds drawn = draw_folds(gold.documents, folds.folds, config);
  warn_of_unseen(drawn.unseen);
  const std::vector<Texts> parts = parts_of(drawn.of_document, folds.folds);
  const std::size_t count = gold.documents.size();
  Answers answers{.documents = std::vector<Document>(count),
                  .readings = std::vector<std::map<ByteRange, double>>(count),
                  .certainty = std::vector<double>(count)};
  std::vector<FinishedRun> runs;
  for (int fold = 0; fold < folds.folds; ++fold) {
    const Texts& texts = parts[static_cast<std::size_t>(fold)];
    const std::string name = std::to_string(fold + 1), place = "fold " + name + " of " + std::to_string(folds.folds);
    progress.begin_run(fold + 1, folds.folds, "fold");
    if (!folds.quiet) note(place + ": " + formats::count_of(texts.size(), "text") + " for a model of the others");
    std::vector<std::byte> model;
    TrainOptions in_memory = options;
    in_memory.memory = &model;
    Context ctx(folds.context);
    const auto began = std::chrono::steady_clock::now();
    TrainResult result;
    try {
      result = train(ctx, config, others(gold.documents, drawn.of_document, fold), dev.documents, in_memory);
    } catch (const DataError& e) {
      throw DataError(place + ": " + e.what());
    }
    if (result.interrupted) {
      note("stopped in " + place + "; nothing of it is kept, so that there is nothing to --resume");
      return false;
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
    answer(ctx, model, config, gold.documents, texts, answers);
    runs.push_back({name, score_of(config, pick(gold.documents, texts), pick(answers.documents, texts)),
                    result.best_epoch, seconds.count()});
  }
  Verdict& verdict = folds.verdict;
  set_gold(verdict, gold);
  verdict.predicted_name = std::to_string(folds.folds) + "-fold cross-validation";
  const std::string metric = metric_of(config);
  verdict.appendix = verdict.json ? json_of(metric, runs, parts) : "\n" + run_table("fold", metric, runs);
  if (config.task == Task::ner) {
    conclude_ner(gold.documents, answers.documents, ner_options(config), verdict,
                 [&](const SpanError& error) -> std::optional<double> {
                   const auto& readings = answers.readings[error.sentence];
                   const auto found = readings.find(error.predicted ? *error.predicted : *error.gold);
                   return found == readings.end() ? std::nullopt : std::optional(found->second);
                 });
  } else {
    conclude_tc(gold.documents, answers.documents, {}, verdict,
                [&](const TcError& error) { return std::optional(answers.certainty[error.document]); });
  }
  return true;
}

}  // namespace bib::cli
