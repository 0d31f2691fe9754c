// bib predict MODEL [FILE...]: one record in, one record out, in order.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "bib/apart.h"
#include "bib/ner.h"
#include "bib/tc.h"
#include "cli/common.h"
#include "cli/corpus_flags.h"
#include "cli/dictionary_flag.h"
#include "cli/output.h"
#include "cli/predict_input.h"
#include "models/model_parts.h"
#include "models/text.h"
#include "train/formats/inline.h"
#include "train/prediction_json.h"

namespace bib::cli {
namespace {

using Json = nlohmann::ordered_json;

struct PredictFlags {
  std::string model, output = "-", format = "auto", offsets = "codepoint", scores = "entity";
  InputFlags input;
  int nbest = 0, top_k = 1;
  std::size_t least_sure = 0;  // texts; 0: all are answered, in order
  double threshold = 0.5;
  bool timing = false;
  DictionaryFlag dictionary;
  DeviceFlags device;
};

/// What --timing prints: how long the model took to load, and everything after that (reading, predicting, writing).
class Stopwatch {
 public:
  using Clock = std::chrono::steady_clock;
  void loaded() { loaded_ = Clock::now(); }
  void count(std::size_t texts) { texts_ += texts; }
  void print() const {
    const auto seconds = [](Clock::time_point a, Clock::time_point b) {
      return std::chrono::duration<double>(b - a).count();
    };
    const double load = seconds(started_, loaded_), work = seconds(loaded_, Clock::now());
    std::fprintf(stderr, "bib: model loaded in %.1f ms; %zu texts in %.1f ms, %.0f texts/s\n", load * 1e3, texts_,
                 work * 1e3, static_cast<double>(texts_) / std::max(work, 1e-9));
  }

 private:
  Clock::time_point started_ = Clock::now(), loaded_ = started_;
  std::size_t texts_ = 0;
};

Json head_of(const Record& r) {
  Json out = Json::object();
  if (!r.fields && !r.document.id.empty()) out["id"] = r.document.id;
  if (!r.fields) out["text"] = valid_utf8(r.document.text);
  return out;
}

/// The record's fields, then the answer's; one that has the name of an answer gives way to it.
std::string answer_line(const Record& r, const Json& answer) {
  std::string line = "{";
  if (r.fields) {
    for (const Record::Field& field : *r.fields)
      if (!answer.contains(field.name)) line += Json(field.name).dump() + ":" + field.value + ",";
  }
  return line + json_line(answer).substr(1);
}

std::string error_line(const Record& r) {
  return answer_line(r, {{"error", {{"code", "bad_input"}, {"message", r.error}}}});
}

std::string ner_json(const Record& r, const NerPrediction& p, const PredictFlags& flags) {
  return answer_line(r, to_json(head_of(r), r.document.text, p, flags.offsets, flags.nbest > 0));
}

/// For answers of one line each: line ends within a text become blanks. Offsets stay what they are.
std::string in_one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

/// <서울:LC>에 간다
std::string ner_inline(const Record& r, const NerPrediction& p) {
  const std::vector<Span> spans(p.entities.begin(), p.entities.end());
  return formats::to_inline(in_one_line(r.document.text), spans) + "\n";
}

/// In colour: the entity underlined, with its label and score behind it.
std::string ner_coloured(const Record& r, const NerPrediction& p) {
  const std::string line = in_one_line(r.document.text);
  std::string out;
  std::size_t at = 0;
  for (const Entity& e : p.entities) {
    out.append(line, at, e.begin - at);
    char score[16] = "";
    if (e.score) std::snprintf(score, sizeof score, " %.2f", *e.score);
    out += "[\033[1;4m" + line.substr(e.begin, e.end - e.begin) + "\033[0m \033[36m" + e.label + score + "\033[0m]";
    at = e.end;
  }
  return out.append(line, at, std::string::npos) + "\n";
}

std::string tc_json(const Record& r, const TcPrediction& p, const PredictFlags& flags) {
  return answer_line(r, to_json(head_of(r), p, flags.scores != "none"));
}

std::string tc_text(const Record& r, const TcPrediction& p) {
  std::string labels;
  for (const std::string& label : p.labels) labels += (labels.empty() ? "" : ",") + label;
  return labels + "\t" + in_one_line(r.document.text) + "\n";
}

/// The lines of records 0..n-1, made on the context's threads.
template <class F>
std::string lines_of(Context& ctx, std::size_t n, F&& line) {
  constexpr std::size_t at_once = 32;
  std::vector<std::string> parts((n + at_once - 1) / at_once);
  each_apart(ctx, static_cast<int>(parts.size()), [&](Context&, int part) {
    const std::size_t begin = static_cast<std::size_t>(part) * at_once;
    for (std::size_t i = begin; i < std::min(begin + at_once, n); ++i) parts[static_cast<std::size_t>(part)] += line(i);
  });
  std::string text;
  for (const std::string& part : parts) text += part;
  return text;
}

/// What was asked for and has a place in JSON alone; empty: nothing.
std::string asked_of_json(const PredictFlags& flags, Task task) {
  if (task == Task::ner) return flags.nbest > 0 ? "--nbest" : "";
  return flags.top_k != 1 ? "--top-k" : flags.scores == "all" ? "--scores all" : "";
}

std::string chosen_format(const PredictFlags& flags, const Output& output, Task task) {
  if (flags.format != "auto") return flags.format;
  return output.terminal() && asked_of_json(flags, task).empty() ? "inline" : "jsonl";
}

bool use_colour(const Output& output) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return output.terminal() && !(no_colour && *no_colour) && term && std::strcmp(term, "dumb") != 0;
}

double confidence_of(const NerPrediction& p) { return p.confidence.value_or(1); }
double confidence_of(const TcPrediction& p) { return p.confidence; }

/// The answers of which the model is least sure. A text that comes twice is there once.
class LeastSure {
 public:
  explicit LeastSure(std::size_t most) : most_(most) {}

  template <class F>
  void add(double confidence, const std::string& text, F&& line) {
    const std::pair<double, std::string> key(confidence, text);
    if (kept_.size() == most_ && key >= kept_.rbegin()->first) return;
    kept_.try_emplace(key, line());
    if (kept_.size() > most_) kept_.erase(std::prev(kept_.end()));
  }
  /// The least sure first.
  std::string lines() const {
    std::string all;
    for (const auto& [key, line] : kept_) all += line;
    return all;
  }

 private:
  const std::size_t most_;
  std::map<std::pair<double, std::string>, std::string> kept_;
};

constexpr std::size_t texts_at_once = 512;

/// Calls predict(records) for batch after batch of the input, of which the first is read, and writes the answers: the
/// line(record, answer) of each, or of those that the model is least sure of.
template <class Predict, class Line>
void answer_all(Context& ctx, std::vector<Record> records, PredictInput& input, Output& output, std::size_t least_sure,
                Predict&& predict, Line&& line) {
  LeastSure kept(least_sure);
  for (; !records.empty(); records = input.next(texts_at_once)) {
    const auto answers = predict(records);
    if (least_sure == 0) {
      output.write(lines_of(ctx, records.size(), [&](std::size_t i) {
        return records[i].error.empty() ? line(records[i], answers[i]) : error_line(records[i]);
      }));
      continue;
    }
    for (std::size_t i = 0; i < records.size(); ++i)
      if (records[i].error.empty() && !words(records[i].document.text).empty())  // in blanks nothing can be annotated
        kept.add(confidence_of(answers[i]), records[i].document.text, [&] { return line(records[i], answers[i]); });
  }
  output.write(kept.lines());
  input.finish(least_sure == 0 ? "answered by an error" : "left out");
}

std::vector<Document> documents_of(const std::vector<Record>& records) {
  std::vector<Document> documents;
  for (const Record& r : records) documents.push_back(r.document);
  return documents;
}

/// A flag of the other task does nothing, which the user should not have to find out.
void warn_of_idle_flags(const PredictFlags& flags, Task task) {
  if (task == Task::tc && flags.nbest > 0) warn("--nbest does nothing: " + flags.model + " classifies texts");
  if (task == Task::tc && flags.dictionary.given()) warn("--dict does nothing: " + flags.model + " classifies texts");
  if (task == Task::ner && (flags.top_k != 1 || flags.threshold != 0.5))
    warn("--top-k and --threshold do nothing: " + flags.model + " finds entities");
  if (const std::string asked = asked_of_json(flags, task);
      !asked.empty() && flags.format != "auto" && flags.format != "jsonl")
    warn(asked + " does nothing: --format " + flags.format + " has no place for it; --format jsonl has");
}

int predict(const PredictFlags& flags) {
  refuse_overwriting(flags.output, {flags.model, flags.dictionary.path});
  refuse_overwriting(flags.output, flags.input.files);
  Context ctx(flags.device.options(DeviceUse::predict));
  Stopwatch watch;
  const Task task = task_of(read_model(flags.model));
  warn_of_idle_flags(flags, task);
  PredictInput input(flags.input);
  if (task == Task::ner) {
    const NerModel model = NerModel::load(flags.model, ctx);
    const std::optional<NerDictionary> dictionary = flags.dictionary.load(model);
    watch.loaded();
    // What cannot be read is known before answers take the place of earlier ones.
    std::vector<Record> first = input.next(texts_at_once);
    Output output(flags.output);
    const std::string format = chosen_format(flags, output, task);
    const bool colour = format == "inline" && use_colour(output);
    const NerPredictOptions options{.scores = flags.scores != "none" && (format == "jsonl" || colour),
                                    .confidence = flags.least_sure > 0,
                                    .nbest = flags.nbest,
                                    .dictionary = dictionary ? &*dictionary : nullptr};
    const auto predict = [&](const std::vector<Record>& records) {
      watch.count(records.size());
      return model.predict(ctx, documents_of(records), options);
    };
    answer_all(ctx, std::move(first), input, output, flags.least_sure, predict,
               [&](const Record& record, const NerPrediction& answer) {
                 if (format == "jsonl") return ner_json(record, answer, flags);
                 return colour ? ner_coloured(record, answer) : ner_inline(record, answer);
               });
  } else {
    const TcModel model = TcModel::load(flags.model, ctx);
    watch.loaded();
    // What cannot be read is known before answers take the place of earlier ones.
    std::vector<Record> first = input.next(texts_at_once);
    Output output(flags.output);
    const std::string format = chosen_format(flags, output, task);
    const TcPredictOptions options{.top_k = flags.scores == "all" ? 0 : flags.top_k, .threshold = flags.threshold};
    const auto predict = [&](const std::vector<Record>& records) {
      watch.count(records.size());
      return model.predict(ctx, documents_of(records), options);
    };
    answer_all(ctx, std::move(first), input, output, flags.least_sure, predict,
               [&](const Record& record, const TcPrediction& answer) {
                 return format == "jsonl" ? tc_json(record, answer, flags) : tc_text(record, answer);
               });
  }
  if (flags.timing) watch.print();
  return exit_code::ok;
}

}  // namespace

void add_predict(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("predict", "Find entities or classes in texts");
  auto flags = std::make_shared<PredictFlags>();
  verb->add_option("model", flags->model, "Model file")->required();
  verb->add_option(
          "files", flags->input.files,
          "Texts, one a line, or JSON lines with a \"text\"; several files are read as one; - is standard input")
      ->capture_default_str();
  verb->add_option("-o,--output", flags->output, "Where the answers go; - is standard output")->capture_default_str();
  verb->add_option("--from", flags->input.from,
                   "Input format: auto, text, jsonl, or a corpus format ('bib convert --formats')")
      ->capture_default_str();
  add_layout_flags(*verb, flags->input.read);
  verb->add_option("--format", flags->format, "jsonl, inline or text; auto is inline on a terminal, else jsonl")
      ->check(CLI::IsMember({"auto", "jsonl", "inline", "text"}))
      ->capture_default_str();
  verb->add_option("--offsets", flags->offsets, "How start and end count")
      ->check(CLI::IsMember({"codepoint", "utf16", "byte"}))
      ->capture_default_str();
  verb->add_option("--scores", flags->scores, "none; entity, a probability each; all, TC: that of every class")
      ->check(CLI::IsMember({"none", "entity", "all"}))
      ->capture_default_str();
  verb->add_option("--nbest", flags->nbest, "NER: the K best readings with their probabilities")
      ->check(in_range(0, 100));
  flags->dictionary.add(*verb);
  verb->add_option("--top-k", flags->top_k, "TC: how many classes to list")->check(in_range(1, 1000000));
  verb->add_option("--threshold", flags->threshold, "TC, multi-label: least probability of an answer")
      ->check(in_range(0.0, 1.0));
  verb->add_option("--least-sure", flags->least_sure,
                   "Of all texts, the N that the model is least sure of, least sure first: what to annotate next")
      ->check(in_range<std::size_t>(1, 1'000'000'000));
  verb->add_flag("--timing", flags->timing, "Print the seconds of loading and of predicting on standard error");
  flags->device.add(*verb);
  verb->footer("Example: echo '서울에 사는 김민수' | bib predict ner.bib");
  verb->callback([&action, flags, verb] {
    flags->input.as_corpus = has_layout_flags(*verb);
    action = [flags] { return predict(*flags); };
  });
}

}  // namespace bib::cli
