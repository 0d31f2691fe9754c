#include "cli/predict_input.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "cli/corpus_flags.h"
#include "cli/line_reader.h"
#include "train/formats/json_slice.h"

namespace bib::cli {
namespace {

using Json = nlohmann::ordered_json;

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
  /// `name` is the file's, for messages.
  LineParser(std::string from, std::string name) : from_(std::move(from)), name_(std::move(name)) {}

  Record parse(const std::string& raw) {
    std::string line = raw;
    if (first_) refuse_other_than_utf8(line);
    if (first_ && line.rfind("\xEF\xBB\xBF", 0) == 0) line.erase(0, 3);
    first_ = false;
    if (from_ == "auto" && !line.empty()) from_ = line[0] == '{' ? "jsonl" : is_list(line) ? "bib-tc" : "text";
    if (from_ == "jsonl" && !line.empty()) return parse_json_line(line);
    Record r;
    if (from_ == "bib-tc" && is_list(line)) {
      Corpus corpus = scan_corpus_text(name_, line + "\n", {.format = "bib-tc", .task = Task::tc});
      for (const Diagnostic& d : corpus.diagnostics)
        if (d.severity == Severity::error && r.error.empty())
          r.error = "not a list: at column " + std::to_string(d.column) + ": " + d.message;
      if (!corpus.documents.empty()) r.document.text = std::move(corpus.documents.front().text);
    } else {
      r.document.text = std::move(line);
    }
    return r;
  }

 private:
  /// Stray bytes are let pass, but not a whole file of them.
  void refuse_other_than_utf8(const std::string& line) const {
    if (line.starts_with("\xFF\xFE") || line.starts_with("\xFE\xFF"))
      throw DataError(name_ + ": begins with a UTF-16 byte order mark; name its encoding (--encoding utf-16)");
    if (line.starts_with("\x1F\x8B")) throw DataError(name_ + ": is compressed; unpack it first (zcat)");
  }
  static bool is_list(const std::string& line) {
    return line.size() >= 4 && line[0] == '[' && (line[1] == '\'' || line[1] == '"') && line.back() == ']';
  }
  std::string from_, name_;
  bool first_ = true;
};

/// A corpus given as a file of texts would have its header and its annotation read as text, without an error.
void warn_of_corpus(const std::string& path) {
  std::error_code none;  // a pipe must not be read twice; what cannot be opened is for the reader to say
  if (!std::filesystem::is_regular_file(path, none)) return;
  std::string head(1 << 16, '\0');
  std::ifstream file(path, std::ios::binary);
  head.resize(static_cast<std::size_t>(file.read(head.data(), static_cast<std::streamsize>(head.size())).gcount()));
  const std::string_view format = likely_format(path, head);
  if (format.empty() || format == "list" || (format == "jsonl" && head[head.find_first_not_of("\xEF\xBB\xBF")] == '{'))
    return;
  warn(path + " looks like " + std::string(format) + ", and is read as texts, one a line; --from " +
       std::string(format) + " reads its texts alone");
}

/// Found out before the first file is answered, so that a misspelt last one does not cost the work of the others.
void require_readable(const std::vector<std::string>& files) {
  if (std::count(files.begin(), files.end(), "-") > 1)
    throw UsageError("- is named twice; standard input can be read once");
  for (const std::string& file : files)
    if (file != "-" && access(file.c_str(), R_OK) != 0)
      throw DataError(file + ": error: cannot be opened: " + std::strerror(errno));
}

bool is_read_by_lines(const InputFlags& flags) {
  static const std::vector<std::string> formats{"auto", "text", "jsonl", "bib-tc"};
  return !flags.as_corpus && std::find(formats.begin(), formats.end(), flags.from) != formats.end();
}

}  // namespace

class PredictInput::Lines final : public TextSource {
 public:
  Lines(PredictInput& input, const std::string& path)
      : input_(input), name_(path == "-" ? "standard input" : path), reader_(path), parser_(input.flags_.from, name_) {}

  bool take(std::vector<Record>& records, std::size_t most) override {
    for (const std::string& line : reader_.next(most - records.size())) {
      records.push_back(parser_.parse(line));
      ++line_, ++input_.lines_;
      if (const std::string& error = records.back().error; !error.empty() && input_.unread_++ == 0)
        input_.first_unread_ = name_ + ":" + std::to_string(line_) + ": " + error;
    }
    return !reader_.ended();
  }

 private:
  PredictInput& input_;
  const std::string name_;
  LineReader reader_;
  LineParser parser_;
  std::size_t line_ = 0;
};

/// A corpus is read whole; its annotation is ignored.
class PredictInput::Documents final : public TextSource {
 public:
  explicit Documents(Corpus corpus) : documents_(std::move(corpus.documents)) {}

  bool take(std::vector<Record>& records, std::size_t most) override {
    for (; taken_ < documents_.size() && records.size() < most; ++taken_)
      records.push_back({.document = std::move(documents_[taken_])});
    return taken_ < documents_.size();
  }

 private:
  std::vector<Document> documents_;
  std::size_t taken_ = 0;
};

PredictInput::PredictInput(const InputFlags& flags) : flags_(flags) {
  require_readable(flags.files);
  if (flags.from != "auto" || flags.as_corpus) return;
  for (const std::string& file : flags.files) warn_of_corpus(file);
}

/// False where there is none, or one that might have to be waited for.
bool PredictInput::open_next(bool may_wait) {
  if (opened_ == flags_.files.size()) return false;
  const std::string& file = flags_.files[opened_];
  std::error_code none;
  if (!may_wait && (file == "-" || !std::filesystem::is_regular_file(file, none))) return false;
  ++opened_;
  if (is_read_by_lines(flags_)) {
    source_ = std::make_unique<Lines>(*this, file);
  } else {
    ReadOptions options = flags_.read;
    options.format = flags_.from;
    Corpus corpus = read_corpus(file, options);
    formats_.push_back(corpus.format);
    source_ = std::make_unique<Documents>(std::move(corpus));
  }
  return true;
}

std::vector<Record> PredictInput::next(std::size_t most) {
  if (failure_) std::rethrow_exception(failure_);
  std::vector<Record> records;
  try {
    while (records.size() < most && (source_ || open_next(records.empty()))) {
      if (source_->take(records, most)) break;
      source_.reset();
    }
  } catch (const DataError&) {  // what stands before it is answered first
    if (records.empty()) throw;
    failure_ = std::current_exception();
  }
  return records;
}

void PredictInput::finish(const char* unread_are) const {
  warn_of_idle_layout(flags_.read, formats_);
  if (unread_ == 0) return;
  const bool other_key = first_unread_.ends_with("\"text\"");  // the usual reason
  warn(std::to_string(unread_) + " of " + std::to_string(lines_) + " lines are " + unread_are +
       "; the first: " + first_unread_ + (other_key ? " (--text-column names another)" : ""));
}

}  // namespace bib::cli
