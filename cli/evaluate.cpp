// bib evaluate: scores of predictions against gold annotation, and the mistakes behind them.
#include "cli/evaluate.h"

#include <algorithm>

#include "cli/common.h"
#include "cli/verbs.h"
#include "train/corpus.h"

namespace bib::cli {

namespace {

struct Flags {
  std::string file, gold, predicted;
  std::string format = "auto";
  std::optional<Task> task;
  std::optional<Scheme> scheme;
  NerOptions ner;
  Verdict verdict;
};

Corpus read(const std::string& path, const Flags& flags, const char* tag_column) {
  ReadOptions options{.format = flags.format, .task = flags.task, .nested = Nested::all, .scheme = flags.scheme};
  if (tag_column != nullptr) options.tag_column = tag_column;
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

bool has_classes(const Corpus& corpus) {
  return std::any_of(corpus.documents.begin(), corpus.documents.end(),
                     [](const Document& document) { return !document.labels.empty(); });
}

/// Tokens are compared by position; that they are also the same words is only a warning, since tools rewrite tokens.
void warn_of_other_tokens(const Corpus& gold, const Corpus& predicted) {
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
    warn(std::to_string(different) + " tokens differ between " + gold.path + " and " + predicted.path +
         "; the first: " + first);
  }
}

int evaluate(Flags flags) {
  const bool two_files = !flags.gold.empty() && !flags.predicted.empty();
  if (two_files == !flags.file.empty() || flags.gold.empty() != flags.predicted.empty()) {
    throw UsageError(
        "evaluate needs --gold FILE and --pred FILE, or one FILE with gold and predicted tags as its "
        "last two columns");
  }
  check(flags.verdict);
  flags.ner.scheme = flags.scheme;
  if (!two_files) flags.task = Task::ner;
  const Corpus gold = read(two_files ? flags.gold : flags.file, flags, two_files ? nullptr : "-2");
  const Corpus predicted = read(two_files ? flags.predicted : flags.file, flags, two_files ? nullptr : "-1");
  flags.verdict.gold_name = gold.path;
  flags.verdict.predicted_name = predicted.path;
  if (flags.task == Task::tc || (!flags.task && has_classes(gold))) {
    conclude_tc(gold.documents, predicted.documents, flags.ner.bootstrap, flags.verdict);
  } else {
    warn_of_other_tokens(gold, predicted);
    conclude_ner(gold.documents, predicted.documents, flags.ner, flags.verdict);
  }
  return exit_code::ok;
}

}  // namespace

void add_evaluate(CLI::App& app, Action& action) {
  static Flags flags;
  CLI::App* verb = app.add_subcommand("evaluate", "Score predictions against gold annotation and show the mistakes");
  verb->add_option("file", flags.file, "One file with gold and predicted tags as its last two columns");
  verb->add_option("--gold", flags.gold, "The truth, in any corpus format");
  verb->add_option("--pred", flags.predicted, "The predictions for the same texts in the same order");
  verb->add_option("--format", flags.format, "Format of the files")->capture_default_str();
  verb->add_option("--task", flags.task, "ner or tc; found out from the gold file if left out")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Task>{{"ner", Task::ner}, {"tc", Task::tc}}));
  verb->add_option("--mode", flags.ner.mode, "Whose rules: conll (default), strict, seqeval or klue")
      ->transform(CLI::CheckedTransformer(std::map<std::string, NerMode>{{"conll", NerMode::conll},
                                                                         {"strict", NerMode::strict},
                                                                         {"seqeval", NerMode::seqeval},
                                                                         {"klue", NerMode::klue}}));
  verb->add_option("--scheme", flags.scheme, "Of the tags: iob1, iob2, bioes or bilou; found out if left out")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Scheme>{
          {"iob1", Scheme::iob1}, {"iob2", Scheme::iob2}, {"bioes", Scheme::bioes}, {"bilou", Scheme::bilou}}));
  verb->add_option("--nested", flags.ner.nested, "Of entities inside entities: outermost (default), innermost or all")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Nested>{
          {"outermost", Nested::outermost}, {"innermost", Nested::innermost}, {"all", Nested::all}}));
  verb->add_flag("--json", flags.verdict.json, "One JSON object instead of text");
  verb->add_option("--errors", flags.verdict.errors, "Write the mistakes to FILE.html (a page) or FILE.jsonl");
  verb->add_option("--fail-under", flags.verdict.at_least, "FIGURE=LIMIT, such as f1=0.8: exit 6 below it; repeatable")
      ->allow_extra_args(false);
  verb->add_option("--resamples", flags.ner.bootstrap.resamples, "Draws for the 95 % interval; 0: no interval")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  verb->add_option("--seed", flags.ner.bootstrap.seed, "Of these draws")->capture_default_str();
  verb->callback([&action] { action = [] { return evaluate(flags); }; });
}

}  // namespace bib::cli
