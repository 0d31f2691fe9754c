// bib predict MODEL [FILE|-]: one record in, one record out, in order.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "bib/apart.h"
#include "bib/ner.h"
#include "bib/tc.h"
#include "cli/common.h"
#include "cli/corpus_flags.h"
#include "cli/line_reader.h"
#include "models/model_parts.h"
#include "train/corpus.h"
#include "train/formats/json_slice.h"
#include "train/prediction_json.h"

namespace bib::cli {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::size_t lines_at_once = 512;

struct PredictFlags {
  std::string model, input = "-", output = "-", from = "auto", format = "auto", offsets = "codepoint",
                     scores = "entity";
  int nbest = 0, top_k = 1;
  double threshold = 0.5;
  bool timing = false;
  bool as_corpus = false;  // a flag says how columns or bytes are meant, so the input is no stream of lines
  ReadOptions read;
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

/// One input line: the text, and the fields of the JSON object it came in, which are passed through as they were
/// written: a number of any length keeps its digits.
struct Record {
  struct Field {
    std::string name, value;
  };
  Document document;
  std::optional<std::vector<Field>> fields;
  std::string error;
};

/// Of a name that comes twice the last value counts, as for the parser.
std::vector<Record::Field> fields_of(std::string_view object) {
  std::vector<Record::Field> fields;
  object.remove_prefix(formats::skip_json_blanks(object, 0));
  formats::for_each_member(object, [&](std::string_view key, std::string_view value) {
    const std::string name = key.find('\\') == std::string_view::npos
                                 ? std::string(key)
                                 : Json::parse("\"" + std::string(key) + "\"").get<std::string>();
    const auto same = std::find_if(fields.begin(), fields.end(), [&](const auto& f) { return f.name == name; });
    same == fields.end() ? void(fields.push_back({name, std::string(value)})) : void(same->value = value);
  });
  return fields;
}

Record parse_json_line(const std::string& line) {
  Record r;
  const auto wrong = [&](const std::string& why) {
    r.error = "not a JSON object" + why;
    return r;
  };
  if (formats::is_too_deep_json(line))
    return wrong(" that can be read: it nests more than " + std::to_string(formats::deepest_json) + " deep");
  Json object;
  try {
    object = Json::parse(line);
  } catch (const Json::parse_error& e) {
    return wrong(": at byte " + std::to_string(e.byte) + ": " + std::string(formats::json_error_reason(e.what())));
  } catch (const Json::exception& e) {
    return wrong(": " + std::string(formats::json_error_reason(e.what())));
  }
  if (!object.is_object()) return wrong("");
  r.fields = fields_of(line);
  if (!object.contains("text") || !object["text"].is_string()) {
    r.error = "has no string field \"text\"";
    return r;
  }
  r.document.text = object["text"].get<std::string>();
  for (Record::Field& field : *r.fields)
    if (field.name == "text") field.value = object["text"].dump();
  return r;
}

/// Lines as plain text, as JSON objects with a "text", or as the original's lists of one string.
class LineParser {
 public:
  LineParser(const std::string& from, const std::string& input) : from_(from), input_(input) {}

  Record parse(const std::string& raw) {
    std::string line = raw;
    if (first_) refuse_other_than_utf8(line);
    if (first_ && line.rfind("\xEF\xBB\xBF", 0) == 0) line.erase(0, 3);
    first_ = false;
    if (from_ == "auto" && !line.empty()) from_ = line[0] == '{' ? "jsonl" : is_list(line) ? "bib-tc" : "text";
    if (from_ == "jsonl" && !line.empty()) return parse_json_line(line);
    Record r;
    if (from_ == "bib-tc" && is_list(line)) {
      Corpus corpus = read_corpus_text("input", line + "\n", {.format = "bib-tc", .task = Task::tc});
      if (!corpus.documents.empty()) r.document.text = corpus.documents.front().text;
    } else {
      r.document.text = std::move(line);
    }
    return r;
  }

 private:
  /// Stray bytes are let pass, but not a whole file of them.
  void refuse_other_than_utf8(const std::string& line) const {
    const std::string name = input_ == "-" ? "standard input" : input_;
    if (line.starts_with("\xFF\xFE") || line.starts_with("\xFE\xFF"))
      throw DataError(name + ": begins with a UTF-16 byte order mark; name its encoding (--encoding utf-16)");
    if (line.starts_with("\x1F\x8B")) throw DataError(name + ": is compressed; unpack it first (zcat)");
  }
  static bool is_list(const std::string& line) {
    return line.size() >= 4 && line[0] == '[' && (line[1] == '\'' || line[1] == '"') && line.back() == ']';
  }
  std::string from_, input_;
  bool first_ = true;
};

/// Writes whole batches and notices a reader that has gone: then the program ends quietly, as filters do.
class Output {
 public:
  explicit Output(const std::string& path) : path_(path == "-" ? "standard output" : path) {
    file_ = path == "-" ? stdout : std::fopen(path.c_str(), "wb");
    if (!file_) throw std::runtime_error(path_ + ": cannot be written: " + std::strerror(errno));
  }
  ~Output() {
    if (file_ && file_ != stdout) std::fclose(file_);
  }
  bool terminal() const { return isatty(fileno(file_)); }
  void write(const std::string& text) {
    if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) {
      throw std::runtime_error(path_ + ": cannot be written: " + std::strerror(errno));
    }
  }

 private:
  std::string path_;
  std::FILE* file_;
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

/// <서울:LC>에 간다 — or, in colour, the entity underlined with its label and score behind it.
std::string ner_inline(const Record& r, const NerPrediction& p, bool colour) {
  const std::string line = in_one_line(r.document.text);
  std::string out;
  std::size_t at = 0;
  for (const Entity& e : p.entities) {
    out.append(line, at, e.begin - at);
    const std::string text = line.substr(e.begin, e.end - e.begin);
    if (colour) {
      char score[16] = "";
      if (e.score) std::snprintf(score, sizeof score, " %.2f", *e.score);
      out += "[\033[1;4m" + text + "\033[0m \033[36m" + e.label + score + "\033[0m]";
    } else {
      out += "<" + text + ":" + e.label + ">";
    }
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

std::string chosen_format(const PredictFlags& flags, const Output& output) {
  if (flags.format != "auto") return flags.format;
  return output.terminal() ? "inline" : "jsonl";
}

bool use_colour(const Output& output) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return output.terminal() && !(no_colour && *no_colour) && term && std::strcmp(term, "dumb") != 0;
}

/// Calls answer(records) for batch after batch of the input and writes what it returns.
template <class F>
void each_batch(const PredictFlags& flags, Output& output, F&& answer) {
  const bool lines = flags.from == "auto" || flags.from == "text" || flags.from == "jsonl" || flags.from == "bib-tc";
  if (!lines || flags.as_corpus) {
    ReadOptions options = flags.read;
    options.format = flags.from;
    const Corpus corpus = read_corpus(flags.input, options);
    for (std::size_t begin = 0; begin < corpus.documents.size(); begin += lines_at_once) {
      std::vector<Record> records;
      for (std::size_t i = begin; i < std::min(begin + lines_at_once, corpus.documents.size()); ++i) {
        records.push_back({.document = corpus.documents[i]});
      }
      output.write(answer(records));
    }
    return;
  }
  LineReader reader(flags.input);
  LineParser parser(flags.from, flags.input);
  std::size_t lines_read = 0, unread = 0;
  std::string first;  // of those that could not be read
  for (std::vector<std::string> batch = reader.next(lines_at_once); !batch.empty();
       batch = reader.next(lines_at_once)) {
    std::vector<Record> records;
    for (const std::string& line : batch) {
      records.push_back(parser.parse(line));
      ++lines_read;
      if (!records.back().error.empty() && unread++ == 0)
        first = "line " + std::to_string(lines_read) + ": " + records.back().error;
    }
    output.write(answer(records));
  }
  // The answers say so, too, but nobody looks at each; another key is the usual reason.
  if (unread > 0)
    warn(std::to_string(unread) + " of " + std::to_string(lines_read) + " lines are answered by an error; the first: " +
         first + (first.ends_with("\"text\"") ? " (--text-column names another)" : ""));
}

/// A corpus given as a file of texts would have its header and its annotation read as text, without an error.
void warn_of_corpus(const PredictFlags& flags) {
  std::error_code none;  // a pipe must not be read twice; what cannot be opened is for the reader to say
  if (flags.from != "auto" || flags.as_corpus || !std::filesystem::is_regular_file(flags.input, none)) return;
  std::string head(1 << 16, '\0');
  std::ifstream file(flags.input, std::ios::binary);
  head.resize(static_cast<std::size_t>(file.read(head.data(), static_cast<std::streamsize>(head.size())).gcount()));
  const std::string_view format = likely_format(flags.input, head);
  if (format.empty() || format == "list" || (format == "jsonl" && head[head.find_first_not_of("\xEF\xBB\xBF")] == '{'))
    return;
  warn(flags.input + " looks like " + std::string(format) + ", and is read as texts, one a line; --from " +
       std::string(format) + " reads its texts alone");
}

std::vector<Document> documents_of(const std::vector<Record>& records) {
  std::vector<Document> documents;
  for (const Record& r : records) documents.push_back(r.document);
  return documents;
}

/// A flag of the other task does nothing, which the user should not have to find out.
void warn_of_idle_flags(const PredictFlags& flags, Task task) {
  if (task == Task::tc && flags.nbest > 0) warn("--nbest does nothing: " + flags.model + " classifies texts");
  if (task == Task::ner && (flags.top_k != 1 || flags.threshold != 0.5))
    warn("--top-k and --threshold do nothing: " + flags.model + " finds entities");
}

int predict(const PredictFlags& flags) {
  refuse_overwriting(flags.output, {flags.model, flags.input});
  Context ctx(flags.device.options(DeviceUse::predict));
  Stopwatch watch;
  const Task task = task_of(read_model(flags.model));
  warn_of_idle_flags(flags, task);
  warn_of_corpus(flags);
  if (task == Task::ner) {
    const NerModel model = NerModel::load(flags.model, ctx);
    watch.loaded();
    Output output(flags.output);
    const std::string format = chosen_format(flags, output);
    const bool colour = format == "inline" && use_colour(output);
    const NerPredictOptions options{.scores = flags.scores != "none" && (format == "jsonl" || colour),
                                    .nbest = flags.nbest};
    each_batch(flags, output, [&](const std::vector<Record>& records) {
      const std::vector<NerPrediction> answers = model.predict(ctx, documents_of(records), options);
      watch.count(records.size());
      return lines_of(ctx, records.size(), [&](std::size_t i) {
        if (!records[i].error.empty()) return error_line(records[i]);
        return format == "jsonl" ? ner_json(records[i], answers[i], flags) : ner_inline(records[i], answers[i], colour);
      });
    });
  } else {
    const TcModel model = TcModel::load(flags.model, ctx);
    watch.loaded();
    Output output(flags.output);
    const std::string format = chosen_format(flags, output);
    const TcPredictOptions options{.top_k = flags.scores == "all" ? 0 : flags.top_k, .threshold = flags.threshold};
    each_batch(flags, output, [&](const std::vector<Record>& records) {
      const std::vector<TcPrediction> answers = model.predict(ctx, documents_of(records), options);
      watch.count(records.size());
      return lines_of(ctx, records.size(), [&](std::size_t i) {
        if (!records[i].error.empty()) return error_line(records[i]);
        return format == "jsonl" ? tc_json(records[i], answers[i], flags) : tc_text(records[i], answers[i]);
      });
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
  verb->add_option("input", flags->input, "Texts, one a line, or JSON lines with a \"text\"; - is standard input")
      ->capture_default_str();
  verb->add_option("-o,--output", flags->output, "Where the answers go; - is standard output")->capture_default_str();
  verb->add_option("--from", flags->from,
                   "Input format: auto, text, jsonl, or a corpus format ('bib convert --formats')")
      ->capture_default_str();
  add_layout_flags(*verb, flags->read);
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
      ->check(CLI::Range(0, 100));
  verb->add_option("--top-k", flags->top_k, "TC: how many classes to list")->check(CLI::Range(1, 1000000));
  verb->add_option("--threshold", flags->threshold, "TC, multi-label: least probability of an answer")
      ->check(CLI::Range(0.0, 1.0));
  verb->add_flag("--timing", flags->timing, "Print the seconds of loading and of predicting on standard error");
  flags->device.add(*verb);
  verb->footer("Example: echo '서울에 사는 김민수' | bib predict ner.bib");
  verb->callback([&action, flags, verb] {
    flags->as_corpus = has_layout_flags(*verb);
    action = [flags] { return predict(*flags); };
  });
}

}  // namespace bib::cli
