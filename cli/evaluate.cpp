// bib evaluate: scores of predictions against gold annotation, and the mistakes behind them.
#include "cli/evaluate.h"

#include <algorithm>

#include "cli/common.h"
#include "cli/corpus_flags.h"
#include "cli/dictionary_flag.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "models/model_parts.h"
#include "train/corpus.h"

namespace bib::cli {

namespace {

const std::map<std::string, Task> tasks{{"ner", Task::ner}, {"tc", Task::tc}};
const std::map<std::string, NerMode> modes{
    {"conll", NerMode::conll}, {"strict", NerMode::strict}, {"seqeval", NerMode::seqeval}, {"klue", NerMode::klue}};

struct Flags {
  std::vector<std::string> files;  // MODEL FILE..., or one file with both columns
  std::vector<std::string> gold, predicted;
  ReadOptions layout;  // of the gold file; that of predictions is found out
  std::optional<Task> task;
  std::optional<Scheme> scheme;
  NerOptions ner;
  std::optional<double> threshold;
  DictionaryFlag dictionary;
  Verdict verdict;
  DeviceFlags device;
};

Corpus read(const std::string& path, const Flags& flags, ReadOptions options) {
  options.format = flags.layout.format;
  options.task = flags.task;
  options.nested = Nested::all;
  options.scheme = flags.scheme;
  Corpus corpus = read_corpus(path, options);
  constexpr std::size_t shown = 3;  // predictions may break their scheme thousands of times
  std::size_t warnings = 0;
  for (const Diagnostic& diagnostic : corpus.diagnostics) {
    if (diagnostic.severity == Severity::note || warnings++ >= shown) continue;
    note(to_text(diagnostic));
  }
  if (warnings > shown) note(path + ": " + std::to_string(warnings - shown) + " more warnings");
  if (corpus.documents.empty()) throw DataError(path + ": nothing to evaluate: the file holds no text");
  return corpus;
}

bool has_classes(std::span<const Document> documents) {
  return std::any_of(documents.begin(), documents.end(),
                     [](const Document& document) { return !document.labels.empty(); });
}

/// Tokens are compared by position; that they are also the same words is only a warning, since tools rewrite tokens.
void warn_of_other_tokens(const Corpora& gold, const Corpora& predicted) {
  const auto token = [](const Document& document, std::size_t i) {
    const ByteRange range = document.tokens[i];
    return document.text.substr(range.begin, range.end - range.begin);
  };
  std::size_t different = 0;
  std::string first;
  for (std::size_t d = 0; d < std::min(gold.documents.size(), predicted.documents.size()); ++d) {
    const Document &a = gold.documents[d], &b = predicted.documents[d];
    for (std::size_t i = 0; i < std::min(a.tokens.size(), b.tokens.size()); ++i) {
      if (token(a, i) == token(b, i)) continue;
      if (different++ == 0)
        first = "\"" + token(a, i) + "\" in sentence " + std::to_string(d + 1) + " is \"" + token(b, i) + "\" there";
    }
  }
  if (different > 0) {
    warn(std::to_string(different) + " tokens differ between " + gold.name() + " and " + predicted.name() +
         "; the first: " + first);
  }
}

void conclude(const Corpora& gold, const Corpora& predicted, Flags flags) {
  warn_of_idle_layout(flags.layout, gold.formats);
  set_gold(flags.verdict, gold);
  flags.verdict.predicted_name = predicted.name();
  if (flags.task == Task::tc) {
    conclude_tc(gold.documents, predicted.documents, flags.ner.bootstrap, flags.verdict);
  } else {
    warn_of_other_tokens(gold, predicted);
    conclude_ner(gold.documents, predicted.documents, flags.ner, flags.verdict);
  }
}

/// What the model makes of the gold texts.
Corpora predict(const std::string& model_path, const Corpora& gold, Task task, const Flags& flags) {
  Context ctx(flags.device.options(DeviceUse::predict));
  Corpora predicted{.names = {model_path}, .begins = {0}, .documents = {}};
  const auto add = [&](const auto& answers) {
    for (std::size_t i = 0; i < answers.size(); ++i)
      predicted.documents.push_back(answered(gold.documents[i], answers[i]));
  };
  if (task == Task::ner) {
    const NerModel model = NerModel::load(model_path, ctx);
    const std::optional<NerDictionary> dictionary = flags.dictionary.load(model);
    add(model.predict(ctx, gold.documents,
                      {.scores = flags.verdict.calibration, .dictionary = dictionary ? &*dictionary : nullptr}));
  } else {
    const TcModel model = TcModel::load(model_path, ctx);
    if (flags.dictionary.given()) warn("--dict does nothing: " + model_path + " classifies texts");
    if (flags.threshold && !model.config().multilabel)
      warn("--threshold does nothing: " + model_path + " gives every text one class");
    TcPredictOptions options;
    options.threshold = flags.threshold.value_or(options.threshold);
    add(model.predict(ctx, gold.documents, options));
  }
  return predicted;
}

Corpora read_all(const std::vector<std::string>& paths, const Flags& flags, const ReadOptions& options) {
  return read_corpora(paths, [&](const std::string& path) { return read(path, flags, options); });
}

/// Without this a file for the other task would score 0, as if the model had missed everything.
void require_annotation(const Corpora& corpora, Task task) {
  for (std::size_t i = 0; i < corpora.names.size(); ++i) {
    const std::span<const Document> documents = corpora.documents_of(i);
    const bool classes = has_classes(documents);
    const bool entities = std::any_of(documents.begin(), documents.end(), [](const Document& document) {
      return !document.spans.empty() || !document.tags.empty();
    });
    if (task == Task::tc ? classes || !entities : entities || !classes) continue;
    throw DataError(corpora.names[i] + ": holds " + (classes ? "classes and no entities" : "entities and no classes") +
                    ": nothing to score " + (classes ? "entities" : "classes") + " by");
  }
}

/// The task of the model. Files in its place or before it are the likely mistake: several with columns of both kinds,
/// or another order.
Task task_of_model(const std::vector<std::string>& files) {
  if (looks_like_model(files[0])) return task_of(read_model(files[0]));
  for (const std::string& file : files)
    if (looks_like_model(file))
      throw UsageError("the model comes first: bib evaluate " + file + " " + files[0] + " ...");
  try {
    return task_of(read_model(files[0]));
  } catch (const ModelError& e) {
    throw ModelError(
        std::string(e.what()) + ". Before FILE... evaluate takes a MODEL; files with gold and predicted " +
        "tags as their last columns are scored one at a time, predictions of their own by --gold and --pred");
  }
}

void evaluate_model(Flags flags) {
  const std::string& model = flags.files[0];
  const Task task = task_of_model(flags.files);
  if (flags.task && flags.task != task) throw UsageError(model + " is a model for the other task; leave out --task");
  flags.task = task;
  if (flags.threshold && task == Task::ner) warn("--threshold does nothing: " + model + " finds entities");
  const Corpora gold = read_all({flags.files.begin() + 1, flags.files.end()}, flags, flags.layout);
  require_annotation(gold, task);
  conclude(gold, predict(model, gold, task, flags), flags);
}

void evaluate_files(Flags flags) {
  const Corpora gold = read_all(flags.gold, flags, flags.layout), predicted = read_all(flags.predicted, flags, {});
  if (!flags.task) flags.task = has_classes(gold.documents) ? Task::tc : Task::ner;
  for (const Corpora* side : {&gold, &predicted}) require_annotation(*side, *flags.task);
  conclude(gold, predicted, flags);
}

void evaluate_columns(Flags flags) {
  if (looks_like_model(flags.files[0]))
    throw UsageError(flags.files[0] + " is a model; name the corpus to score it on, too: bib evaluate " +
                     flags.files[0] + " FILE...");
  flags.task = Task::ner;
  if (!flags.layout.tag_column.empty())
    warn("--tag-column does nothing for one FILE, whose last two columns are compared");
  const auto column = [&](const char* tags) {
    return read_corpora(flags.files, [&](const std::string& path) {
      ReadOptions options = flags.layout;
      options.tag_column = tags;
      Corpus corpus = read(path, flags, options);
      if (corpus.format != "conll")  // one annotation, which would be compared with itself
        throw DataError(path + ": is read as " + corpus.format +
                        ", which has no two columns of tags to compare; to score a model: bib evaluate MODEL FILE..., "
                        "to score predictions: bib evaluate --gold FILE --pred FILE");
      return corpus;
    });
  };
  const Corpora gold = column("-2");
  conclude(gold, column("-1"), flags);
}

int evaluate(Flags flags) {
  const bool two_files = !flags.gold.empty() && !flags.predicted.empty();
  const bool half = flags.gold.empty() != flags.predicted.empty();
  if (half || two_files == !flags.files.empty()) {
    throw UsageError(
        "evaluate needs MODEL FILE...; or --gold FILE and --pred FILE; or one FILE with gold and predicted "
        "tags as its last two columns");
  }
  check(flags.verdict);
  for (const auto& inputs : {flags.gold, flags.predicted, flags.files, {flags.dictionary.path}})
    refuse_overwriting(flags.verdict.errors, inputs);
  if (!flags.verdict.errors.empty()) refuse_unwritable(flags.verdict.errors);
  flags.ner.scheme = flags.scheme;
  if (flags.threshold && flags.files.size() < 2)
    throw UsageError("--threshold is for a model's answers; those of a file are made already");
  if (flags.dictionary.given() && flags.files.size() < 2)
    throw UsageError("--dict is for a model's answers; those of a file are made already");
  if (flags.verdict.calibration && !two_files && flags.files.size() < 2)
    throw UsageError(
        "--calibration is for answers with probabilities, which columns of tags lack: give MODEL FILE..., or --gold "
        "FILE and as --pred FILE the answers of 'bib predict --format jsonl'");
  if (two_files) {
    evaluate_files(std::move(flags));
  } else if (flags.files.size() > 1) {
    evaluate_model(std::move(flags));
  } else {
    evaluate_columns(std::move(flags));
  }
  return exit_code::ok;
}

}  // namespace

void add_evaluate(CLI::App& app, Action& action) {
  const auto shared = std::make_shared<Flags>();
  Flags& flags = *shared;
  CLI::App* verb = app.add_subcommand("evaluate", "Score predictions against gold annotation and show the mistakes");
  verb->add_option("files", flags.files,
                   "MODEL FILE..., several files are joined; or one FILE whose last two columns are gold and predicted "
                   "tags");
  verb->add_option("--gold", flags.gold, "The truth, in any corpus format; several files are joined");
  verb->add_option("--pred", flags.predicted,
                   "The predictions for the same texts in the same order; one file or several");
  verb->add_option("--format", flags.layout.format, "Format of the files")->capture_default_str();
  add_layout_flags(*verb, flags.layout);
  add_choice(*verb, "--task", flags.task, tasks, "What to score (found out from the gold file)");
  add_choice(*verb, "--mode", flags.ner.mode, modes, "Whose rules (conll)");
  add_choice(*verb, "--scheme", flags.scheme, tag_schemes, "Of the tags (found out)");
  add_choice(*verb, "--nested", flags.ner.nested, nestings, "Of entities inside entities (outermost)");
  verb->add_option("--threshold", flags.threshold,
                   "TC, multi-label, MODEL FILE...: least probability of an answer (0.5)")
      ->check(in_range(0.0, 1.0));
  flags.dictionary.add(*verb);
  verb->add_flag("--calibration", flags.verdict.calibration,
                 "Judge the probabilities, too: a reliability table, expected calibration error, Brier score");
  verb->add_flag("--json", flags.verdict.json, "One JSON object instead of text");
  verb->add_option("--errors", flags.verdict.errors, "Write the mistakes to FILE.html (a page) or FILE.jsonl");
  verb->add_option("--fail-under", flags.verdict.at_least, "FIGURE=LIMIT, such as f1=0.8: exit 6 below it; repeatable")
      ->allow_extra_args(false);
  verb->add_option("--resamples", flags.ner.bootstrap.resamples, "Draws for the 95 % interval; 0: no interval")
      ->check(in_range(0, 1000000))
      ->capture_default_str();
  verb->add_option("--seed", flags.ner.bootstrap.seed, "Of these draws")->capture_default_str();
  flags.device.add(*verb);
  verb->footer(
      "Examples: bib evaluate ner.bib test.txt --errors mistakes.html\n"
      "          bib evaluate --gold test.conll --pred answers.conll --mode strict --fail-under f1=0.8");
  verb->callback([&action, shared] { action = [shared] { return evaluate(*shared); }; });
}

}  // namespace bib::cli
