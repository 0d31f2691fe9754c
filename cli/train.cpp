// bib train ner|tc: from corpus files to a model file.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <set>

#include "cli/common.h"
#include "cli/corpora.h"
#include "cli/corpus_flags.h"
#include "cli/folds.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/repeat.h"
#include "models/model_parts.h"
#include "models/number.h"
#include "train/base.h"
#include "train/corpus.h"
#include "train/formats/files.h"
#include "train/training_data.h"

namespace bib::cli {
namespace {

volatile std::sig_atomic_t stop_requested = 0;

/// The first Ctrl-C (or SIGTERM, or a terminal that closes) stops after this batch, with a checkpoint; the second ends
/// the program at once.
void on_signal(int signal) {
  stop_requested = signal;
  std::signal(signal, SIG_DFL);
}

void stop_on_signals() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  struct sigaction hang_up {};
  if (sigaction(SIGHUP, nullptr, &hang_up) == 0 && hang_up.sa_handler != SIG_IGN)  // nohup's
    std::signal(SIGHUP, on_signal);
}

int code_of_stop() {
  return stop_requested == SIGTERM  ? exit_code::drained
         : stop_requested == SIGHUP ? exit_code::hung_up
                                    : exit_code::interrupted;
}

struct TrainFlags {
  Task task = Task::ner;
  std::string base, output, config_file, progress = "auto", name, item_id;
  std::vector<std::string> train, dev, set;
  int repeat = 1, folds = 0;
  bool print_config = false, resume = false, quiet = false, profile = false, json = false;
  std::string errors;
  std::optional<double> checkpoint_seconds;
  ReadOptions read;
  DeviceFlags device;
};

/// Defaults, or what the base has, then the file, then --set and the flags of their own.
Config resolve(const TrainFlags& flags) {
  Config config = default_config(flags.task);
  std::string text;
  if (!flags.config_file.empty()) text = formats::read_file(flags.config_file);
  // The unit decides the other defaults, so it is looked for first.
  Config probe = from_toml(text, flags.config_file, config);
  for (const std::string& s : flags.set) set_field(probe, s);
  config = flags.base.empty() ? default_config(flags.task, probe.unit)
                              : continued(config_of(*read_base(flags.task, flags.base)));
  config = from_toml(text, flags.config_file, config);
  for (const std::string& s : flags.set) set_field(config, s);
  if (config.task != flags.task) {
    throw DataError((flags.config_file.empty() ? "--set task" : flags.config_file) +
                    ": error: it is for the other task; this is bib train " + (flags.task == Task::ner ? "ner" : "tc"));
  }
  check(config);
  return config;
}

/// A setting that was changed and that nothing here reads: who balances classes should hear that entities are not.
void warn_of_idle_settings(const Config& c) {
  const Config usual = default_config(c.task, c.unit);
  std::string names;
  const auto warn_of = [&](const char* why) {
    if (!names.empty()) warn("set, but not read by this model (" + std::string(why) + "): " + names);
    names.clear();
  };
  const auto look = [&](const char* name, const auto& value, const auto& other) {
    if (value != other) names += (names.empty() ? "" : ", ") + std::string(name);
  };
  if (c.task == Task::ner) {
    look("windows", c.windows, usual.windows), look("filters", c.filters, usual.filters);
    look("multilabel", c.multilabel, usual.multilabel), look("balanced", c.balanced, usual.balanced);
    warn_of("task ner");
  } else {
    look("hidden", c.hidden, usual.hidden), look("layers", c.layers, usual.layers);
    look("scheme", c.scheme, usual.scheme), look("nested", c.nested, usual.nested);
    look("dropout_recurrent", c.dropout_recurrent, usual.dropout_recurrent);
    warn_of("task tc");
  }
  if (c.unit == Unit::syllable) {
    look("affix", c.affix, usual.affix), look("characters", c.characters, usual.characters);
    warn_of("unit syllable");
  } else {
    look("syllable", c.syllable, usual.syllable), look("bigram", c.bigram, usual.bigram);
    look("trigram", c.trigram, usual.trigram), look("jamo", c.jamo, usual.jamo);
    warn_of("unit word");
  }
}

Corpus read_one(const std::string& path, const Config& config, const TrainFlags& flags) {
  ReadOptions options = flags.read;
  options.task = flags.task;
  Corpus corpus = read_corpus(path, options);
  constexpr std::size_t shown = 5;
  std::size_t warnings = 0;
  for (const Diagnostic& d : corpus.diagnostics) {
    if (d.severity == Severity::warning && ++warnings <= shown) std::cerr << to_text(d) << '\n';
  }
  if (warnings > shown) note(std::to_string(warnings - shown) + " more warnings; 'bib check " + path + "' lists them");
  const bool classes = std::any_of(corpus.documents.begin(), corpus.documents.end(),
                                   [](const Document& d) { return !d.labels.empty(); });
  for (const Document& d : corpus.documents) {
    if (config.task == Task::ner ? d.annotated : config.multilabel || !d.labels.empty()) continue;
    if (classes && d.annotated)
      throw DataError(to_text({Severity::error, corpus.path, d.line, 0,
                               "a text of no class; if a text may have none or several, --set multilabel=true"}));
    throw DataError(to_text({Severity::error, corpus.path, d.line, 0,
                             "a text without annotation (the file is read as " + corpus.format + "); training needs " +
                                 (config.task == Task::ner ? "entities marked, as in <서울:LC>에 간다" : "its class") +
                                 ". If it is another format, name it with --format"}));
  }
  return corpus;
}

Corpora read(const std::vector<std::string>& paths, const Config& config, const TrainFlags& flags) {
  return read_corpora(paths, [&](const std::string& path) { return read_one(path, config, flags); });
}

std::string count_from(const Corpora& corpora) {
  return std::to_string(corpora.documents.size()) + " documents from " + corpora.name();
}

/// Seconds and shares of a run; `read` is what came before train().
void print_profile(const TrainProfile& p, double read) {
  const std::pair<const char*, double> phases[] = {
      {"read", read},       {"encode", p.encode},     {"batch", p.batch}, {"network", p.network},
      {"update", p.update}, {"evaluate", p.evaluate}, {"other", p.other}};
  double sum = 0;
  for (const auto& [name, seconds] : phases) sum += seconds;
  std::fprintf(stderr, "bib: where %.2f s went:\n", sum);
  for (const auto& [name, seconds] : phases)
    std::fprintf(stderr, "bib:   %-9s %9.3f s %5.1f%%\n", name, seconds, 100 * seconds / sum);
}

std::string device_text(const TrainFlags& flags) {
  const Context ctx(flags.device.options());
  if (ctx.device() != Device::cpu)
    return "cuda:" + std::to_string(ctx.device_index()) + " (" + flags.device.math + " math)";
  return std::string("cpu (") + cpu_isa_name() + ", " + std::to_string(ctx.threads()) + " threads" +
         (has_cuda && flags.device.device == "auto" ? "; " + cuda_info().why : "") + ")";
}

/// What a training says, each thing once however often it runs.
TrainOptions options_of(const TrainFlags& flags, ProgressPrinter& printer, TrainProfile& profile) {
  TrainOptions options{.output = flags.output, .base = flags.base, .resume = flags.resume};
  if (flags.checkpoint_seconds) options.checkpoint_seconds = *flags.checkpoint_seconds;
  const auto once = [said = std::make_shared<std::set<std::string>>()](auto say) {
    return [said, say](const std::string& text) {
      if (said->insert(text).second) say(text);
    };
  };
  if (!flags.quiet) options.note = once(note);
  options.warn = once(warn);
  options.progress = [&printer](const TrainProgress& p) {
    printer.show(p);
    return stop_requested == 0;
  };
  if (flags.profile) options.profile = &profile;
  return options;
}

/// Of the model that is written; of several runs `seed` is the best one's.
void tell_model(const TrainFlags& flags, const TrainResult& result, const std::string& seed, const char* metric) {
  std::string text = flags.output + ": " + std::to_string(std::filesystem::file_size(flags.output) >> 10) + " KiB" +
                     seed + ", epoch " + std::to_string(result.best_epoch);
  if (result.best_score) {
    const auto percent = [](double score) { return fixed_text(100 * score, 2); };
    text += std::string(", dev ") + metric + " " + percent(*result.best_score);
    if (result.base_score) text += " (the base's is " + percent(*result.base_score) + ")";
  }
  note(text);
}

/// Each run in a context of its own: none depends on those before it.
Repeated repeat(const TrainFlags& flags, const Config& config, const Corpora& documents, const Corpora& dev,
                ProgressPrinter& printer, const TrainOptions& options) {
  const std::string base = flags.base.empty() ? "" : hash_of_base(read_base(flags.task, flags.base).get());
  const RepeatOptions repeat{
      .output = flags.output,
      .times = flags.repeat,
      .dev_given = !dev.documents.empty(),
      .resume = flags.resume,
      .quiet = flags.quiet,
      .data = hash_of(documents.documents) + hash_of(dev.documents) + hash_of_vectors(config) + base};
  return train_repeatedly(config, repeat, printer, [&](const Config& c, const std::string& output, bool resume) {
    Context ctx(flags.device.options());
    TrainOptions run = options;
    run.output = output;
    run.resume = resume;
    return train(ctx, c, documents.documents, dev.documents, run);
  });
}

TrainResult train_once(const TrainFlags& flags, const Config& config, Corpora documents, Corpora dev,
                       const TrainOptions& options) {
  if (flags.resume && std::filesystem::exists(finished_runs_of(flags.output)))
    throw UsageError(finished_runs_of(flags.output) + " is of a training that was repeated; to go on with it give " +
                     "--repeat, too");
  Context ctx(flags.device.options());
  const TrainResult result = train(ctx, config, std::move(documents.documents), std::move(dev.documents), options);
  if (result.interrupted)
    note("stopped; go on with the same command and --resume (checkpoint " + flags.output + ".checkpoint)");
  return result;
}

/// What asks for something that cross-validation does not do must not be passed over in silence.
void check_folds(const TrainFlags& flags) {
  if (flags.folds == 0 && (flags.json || !flags.errors.empty()))
    throw UsageError(std::string(flags.json ? "--json" : "--errors") +
                     " goes with --folds; 'bib evaluate' scores a model that is trained");
  if (flags.folds == 0) return;
  struct Refused {
    bool given;
    const char *flag, *why;
  };
  for (const auto& [given, flag, why] :
       {Refused{!flags.output.empty(), "--output", "its models are thrown away; train another one without --folds"},
        Refused{flags.repeat > 1, "--repeat", "another --seed draws other folds"},
        Refused{flags.resume, "--resume", "what was interrupted has left nothing to go on with"},
        Refused{flags.checkpoint_seconds.has_value(), "--checkpoint-seconds", "there are no checkpoints"}})
    if (given) throw UsageError("--folds takes no " + std::string(flag) + ": " + why);
}

int train_model(TrainFlags& flags) {
  if (flags.output == "-") throw UsageError("--output -: a model cannot go to standard output; name a file");
  check_folds(flags);
  const Config config = resolve(flags);
  for (const std::string& written : {flags.output, flags.errors})
    for (const auto& inputs : {flags.train, flags.dev, {flags.base, flags.config_file, config.vectors}})
      if (!written.empty()) refuse_overwriting(written, inputs);
  const Verdict verdict{.json = flags.json, .errors = flags.errors};
  check(verdict);
  if (!flags.errors.empty()) refuse_unwritable(flags.errors);
  if (flags.repeat > 1) check_repeat(config, flags.repeat, !flags.dev.empty());
  warn_of_idle_settings(config);
  const std::string device = device_text(flags);  // one that is not there is refused before anything is read
  const auto began = std::chrono::steady_clock::now();
  Corpora documents = read(flags.train, config, flags), dev = read(flags.dev, config, flags);
  std::vector<std::string> formats = documents.formats;
  formats.insert(formats.end(), dev.formats.begin(), dev.formats.end());
  warn_of_idle_layout(flags.read, std::move(formats));
  const double reading = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  if (flags.name.empty())
    flags.name = std::filesystem::path(flags.folds ? flags.train.front() : flags.output).stem().string();
  if (!flags.quiet)
    note(count_from(documents) + (dev.documents.empty() ? "" : ", " + count_from(dev)) + "; device " + device +
         ", seed" + (flags.repeat > 1 ? "s from " : " ") + std::to_string(config.seed));
  const char* metric = metric_of(config);
  const auto printer = make_progress(flags.quiet && flags.progress == "auto" ? "none" : flags.progress, flags.task,
                                     metric, flags.name, flags.item_id);
  TrainProfile profile;
  const TrainOptions options = options_of(flags, *printer, profile);
  stop_on_signals();
  if (flags.folds) {
    const FoldOptions folds{
        .folds = flags.folds, .quiet = flags.quiet, .context = flags.device.options(), .verdict = verdict};
    const bool whole = cross_validate(config, folds, std::move(documents), dev, *printer, options);
    if (whole) printer->finish();
    if (flags.profile) print_profile(profile, reading);
    return whole ? exit_code::ok : code_of_stop();
  }
  const Repeated done =
      flags.repeat > 1 ? repeat(flags, config, documents, dev, *printer, options)
                       : Repeated{.best = train_once(flags, config, std::move(documents), std::move(dev), options)};
  if (!done.best.interrupted) printer->finish();
  if (flags.profile) print_profile(profile, reading);
  if (done.best.interrupted) return code_of_stop();
  if (!flags.quiet) tell_model(flags, done.best, flags.repeat > 1 ? ", seed " + std::to_string(done.seed) : "", metric);
  return exit_code::ok;
}

void add_flags(CLI::App& verb, TrainFlags& flags) {
  CLI::Option* train = verb.add_option("--train", flags.train, "Corpus to learn from; several are joined")->required();
  verb.add_option("--dev", flags.dev, "Corpus, or several, to choose the best epoch by (default: part of --train)");
  verb.add_option("--base", flags.base, "Model to go on from; the data's new words and labels are added to it");
  CLI::Option* output = verb.add_option("-o,--output", flags.output, "Model file to write")->required();
  verb.add_flag_callback(
      "--print-config",
      [&flags, train, output] {
        flags.print_config = true;
        for (CLI::Option* option : {train, output}) option->required(false);  // nothing is trained
      },
      "Print every setting, as --config, --set and the like make it, and stop");
  verb.add_option("--folds", flags.folds,
                  "Cross-validate in so many parts, without -o: what models make of unseen texts")
      ->check(in_range(2, 10000))
      ->each([output](const std::string&) { output->required(false); });
  verb.add_flag("--json", flags.json, "With --folds: the report as one JSON object");
  verb.add_option("--errors", flags.errors,
                  "With --folds: write the mistakes to FILE.html (a page) or FILE.jsonl, the surest ones first");
  verb.add_option("-c,--config", flags.config_file, "Settings, TOML ('bib train ner --print-config' shows all)");
  verb.add_option("--set", flags.set, "One setting, section.key=value; may be given more than once");
  verb.add_flag("--resume", flags.resume, "Go on from the checkpoint of an interrupted run");
  verb.add_option("--repeat", flags.repeat, "Train so often with seeds one after another; the best model is kept")
      ->check(in_range(1, 100));
  verb.add_option("--format", flags.read.format, "Corpus format; auto finds it out")->capture_default_str();
  add_layout_flags(verb, flags.read);
  verb.add_option("--progress", flags.progress, "How to show where training stands")
      ->check(CLI::IsMember({"auto", "bar", "plain", "json", "none"}))
      ->capture_default_str();
  verb.add_option("--name", flags.name, "Model name in --progress json (default: the file's)");
  verb.add_option("--item-id", flags.item_id, "pipeline_item_id in --progress json");
  verb.add_option("--checkpoint-seconds", flags.checkpoint_seconds, "Least time between checkpoints (60)")
      ->check(in_range(0.0, 1e9));
  verb.add_flag("--profile", flags.profile, "At the end, print on standard error where the time went");
  verb.add_flag("-q,--quiet", flags.quiet, "Only warnings, errors and the progress that --progress names");
  flags.device.add(verb);
  // The settings asked for most have flags of their own: shorthands of --set.
  const auto shorthand = [&](const char* flag, const char* key, const char* help) {
    verb.add_option_function<std::string>(
        flag, [&flags, key](const std::string& value) { flags.set.push_back(std::string(key) + "=" + value); }, help);
  };
  shorthand("--epochs", "train.epochs", "Passes over the data");
  shorthand("--seed", "train.seed", "Seed of all random numbers");
  shorthand("--train-rate", "train.train_rate", "Share of --train to train on when there is no --dev");
  shorthand("--batch", "train.batch", "Documents per step");
  shorthand("--lr", "train.lr", "Highest learning rate");
  shorthand("--patience", "train.patience", "Stop after this many epochs without a better dev score");
  shorthand("--unit", "features.unit", "syllable or word");
  shorthand("--vectors", "features.vectors", "Pretrained vectors, .vec or .bin");
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  CLI::App* train = app.add_subcommand("train", "Train a model");
  train->require_subcommand(1);
  for (const Task task : {Task::ner, Task::tc}) {
    const bool ner = task == Task::ner;
    CLI::App* verb =
        train->add_subcommand(ner ? "ner" : "tc", ner ? "Named-entity recognition" : "Text classification");
    auto flags = std::make_shared<TrainFlags>();
    flags->task = task;
    add_flags(*verb, *flags);
    verb->footer(ner ? "Example: bib train ner --train train.txt --dev dev.txt -o ner.bib"
                     : "Example: bib train tc --train reviews.tsv --train-rate 0.8 -o tc.bib");
    verb->callback([&action, flags] {
      action = [flags] {
        if (!flags->print_config) return train_model(*flags);
        std::printf("%s", to_toml(resolve(*flags)).c_str());
        return exit_code::ok;
      };
    });
  }
}

}  // namespace bib::cli
