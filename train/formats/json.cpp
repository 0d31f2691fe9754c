// JSON: one record a line (JSONL), an array of records, or one record; NIKL's corpus files. The dialects differ in
// names only, so one reader serves them all; writers follow each tool.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

#include "train/formats/json_record.h"
#include "train/formats/json_slice.h"

namespace bib::formats {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = skip_json_blanks(text, 0), end = text.find_last_not_of(" \t\r\n");
  return begin >= text.size() ? text.substr(text.size()) : text.substr(begin, end + 1 - begin);
}

/// Parses slices of one file, counting lines on the way: slices must come in order.
class SliceParser {
 public:
  SliceParser(const Source& source) : source_(source) {}

  std::size_t line_of(std::string_view slice) {
    const char* to = slice.data();
    line_ += static_cast<std::size_t>(std::count(counted_, to, '\n'));
    counted_ = to;
    return line_;
  }

  /// The value, or a discarded one after reporting why not, at the place in the file.
  json parse(std::string_view slice) {
    const std::size_t line = line_of(slice);
    if (is_too_deep_json(slice)) {
      source_.report(Severity::error, line, 0,
                     "arrays or objects nest more than " + std::to_string(deepest_json) + " deep");
      return json(json::value_t::discarded);
    }
    try {
      return json::parse(slice.begin(), slice.end());
    } catch (const json::parse_error& e) {
      const std::string_view before = slice.substr(0, std::min(e.byte > 0 ? e.byte - 1 : 0, slice.size()));
      const auto lines = static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n'));
      const std::size_t start = before.rfind('\n') + 1;  // npos + 1 is 0
      const std::size_t indent =
          lines > 0 ? 0 : column_at(source_.text.substr(line_start(slice)), offset_in_line(slice)) - 1;
      source_.report(Severity::error, line + lines, indent + column_at(before.substr(start), before.size() - start),
                     "not JSON: " + std::string(json_error_reason(e.what())));
    } catch (const json::exception& e) {
      source_.report(Severity::error, line, 0, "not JSON: " + std::string(json_error_reason(e.what())));
    }
    return json(json::value_t::discarded);
  }

 private:
  std::size_t line_start(std::string_view slice) const {
    const auto at = static_cast<std::size_t>(slice.data() - source_.text.data());
    return at == 0 ? 0 : source_.text.rfind('\n', at - 1) + 1;
  }
  std::size_t offset_in_line(std::string_view slice) const {
    return static_cast<std::size_t>(slice.data() - source_.text.data()) - line_start(slice);
  }

  const Source& source_;
  const char* counted_ = source_.text.data();
  std::size_t line_ = 1;
};

/// An integer of more than 64 bits, such as an id may be, was read as the nearest double: keeps its digits, as a text.
void keep_digits(json& record, std::string_view slice) {
  if (!record.is_object()) return;
  for_each_member(slice.substr(skip_json_blanks(slice, 0)), [&](std::string_view key, std::string_view value) {
    const auto at = record.find(key);
    if (at != record.end() && at->is_number_float() && value.find_first_of(".eE") == std::string_view::npos)
      *at = std::string(value);
  });
}

/// JSONL: the first line is a value of its own.
bool is_lines(std::string_view text) {
  const std::string_view line = trimmed(text.substr(0, text.find('\n')));
  bool cut = false;
  return (line.starts_with('{') || line.starts_with('[')) && skip_json_value(line, 0, &cut) == line.size() && !cut;
}

bool is_array_of_records(std::string_view text) {
  return text.starts_with('[') && text.find_first_of("[{", 1) == skip_json_blanks(text, 1);
}

void read(const Source& source) {
  RecordReader records(source);
  SliceParser parser(source);
  const auto take = [&](std::string_view slice) {
    json value = parser.parse(slice);
    if (value.is_discarded()) return;
    keep_digits(value, slice);
    records.read(value, parser.line_of(slice));
  };
  const std::string_view whole = trimmed(source.text);
  if (is_array_of_records(whole)) {
    if (!for_each_element(whole, take))
      source.report(Severity::error, parser.line_of(whole.substr(whole.size())), 0, "the array has no end");
  } else if (is_lines(source.text)) {
    for_each_line(source.text, [&](const Line& line) {
      if (!trimmed(line.text).empty()) return take(line.text);
      source.warn(line, 0, "blank line: skipped");
    });
  } else {
    take(whole);
  }
  records.finish();
}

/// {"document":[{"sentence":[{"form":"..","NE":[{"form":"..","label":"PS","begin":0,"end":3}]}]}]}, a sentence at a
/// time.
void read_nikl(const Source& source) {
  RecordReader records(source);
  SliceParser parser(source);
  bool any = false;
  const auto sentence = [&](std::string_view slice) {
    any = true;
    json value = parser.parse(slice);
    if (value.is_discarded()) return;
    if (value.is_object() && !value.contains("NE") && !value.contains("ne")) value["NE"] = json::array();
    records.read(value, parser.line_of(slice));
  };
  const auto document = [&](std::string_view slice) {
    for_each_member(slice, [&](std::string_view key, std::string_view value) {
      if (key == "sentence") for_each_element(value, sentence);
    });
  };
  const bool whole = for_each_member(trimmed(source.text), [&](std::string_view key, std::string_view value) {
    if (key == "document") for_each_element(value, document);
  });
  if (!whole)
    source.report(Severity::error, parser.line_of(source.text.substr(source.text.size())), 0, "the JSON is cut");
  if (!any)
    source.report(Severity::error, 0, 0, "no sentence under document; NIKL files hold document, sentence, form, NE");
  records.finish();
}

Likelihood detect_nikl(const Sample& sample) {
  const std::string_view text = trimmed(sample.text);
  const auto has = [&](const char* key) { return text.find(key) != std::string_view::npos; };
  return text.starts_with('{') && !is_lines(text) && has("\"document\"") && has("\"sentence\"") ? certain : no;
}

Likelihood detect(const Sample& sample) {
  const std::string_view text = trimmed(sample.text);
  if (detect_nikl(sample) != no) return no;
  if (is_array_of_records(text)) return certain;
  if (is_lines(sample.text)) {
    const std::string_view first = trimmed(sample.lines[0]);
    if (first[0] == '{') return certain;
    json tuple = json::parse(first.begin(), first.end(), nullptr, false);
    return tuple.is_array() && tuple.size() == 2 && tuple[1].is_object() ? certain : no;
  }
  return text.starts_with('{') && text.find('"') == skip_json_blanks(text, 1) ? likely : no;
}

Likelihood never(const Sample&) { return no; }

// --- writing ---

ordered_json spans_of(const Sink& sink, const Document& document,
                      ordered_json (*make)(ordered_json, ordered_json, const Span&)) {
  const OffsetMap map(document.text, sink.options.offsets);
  ordered_json list = ordered_json::array();
  for (const Span& span : document.spans)
    list.push_back(make(map.from_byte(span.begin), map.from_byte(span.end), span));
  return list;
}

ordered_json as_object(ordered_json begin, ordered_json end, const Span& span) {
  return {{"start", begin}, {"end", end}, {"label", span.label}};
}
ordered_json as_triple(ordered_json begin, ordered_json end, const Span& span) {
  return ordered_json::array({begin, end, span.label});
}

std::string text_of(const Sink& sink, const Document& document, const ordered_json& record) {
  try {
    return record.dump();
  } catch (const json::type_error&) {
    throw DataError(
        to_text({Severity::error, sink.source, document.line, 0, "the text is not UTF-8, which JSON has to be"}));
  }
}

template <class Make>
void write_lines(const Sink& sink, std::span<const Document> documents, Make make) {
  for (const Document& document : documents) sink.to << text_of(sink, document, make(document)) << '\n';
}

/// Whether a text annotated with nothing is one without classes, not one without entities.
bool holds_classes(std::span<const Document> documents) {
  return std::any_of(documents.begin(), documents.end(), [](const Document& d) { return !d.labels.empty(); }) &&
         std::all_of(documents.begin(), documents.end(), [](const Document& d) { return d.spans.empty(); });
}

/// bib's own, which Prodigy and most tools read too.
void write_jsonl(const Sink& sink, std::span<const Document> documents) {
  const bool classes = holds_classes(documents);
  write_lines(sink, documents, [&](const Document& d) {
    ordered_json record;
    if (!d.id.empty()) record["id"] = d.id;
    record["text"] = d.text;
    if (!d.spans.empty() || (d.annotated && d.labels.empty()))
      record[classes ? "labels" : "spans"] = spans_of(sink, d, as_object);
    if (d.labels.size() == 1) record["label"] = d.labels[0];
    if (d.labels.size() > 1) record["labels"] = d.labels;
    if (d.weight != 1) record["weight"] = d.weight;
    return record;
  });
}

void write_doccano(const Sink& sink, std::span<const Document> documents) {
  write_lines(sink, documents, [&](const Document& d) {
    ordered_json record;
    if (!d.id.empty()) record["id"] = d.id;
    record["text"] = d.text;
    if (d.annotated) record["label"] = d.labels.empty() ? spans_of(sink, d, as_triple) : ordered_json(d.labels);
    return record;
  });
}

void write_spacy(const Sink& sink, std::span<const Document> documents) {
  const bool classes = holds_classes(documents);
  write_lines(sink, documents, [&](const Document& d) {
    ordered_json annotation = ordered_json::object();
    if (!d.spans.empty() || (d.annotated && d.labels.empty()))
      annotation[classes ? "cats" : "entities"] = classes ? ordered_json::object() : spans_of(sink, d, as_triple);
    for (const std::string& label : d.labels) annotation["cats"][label] = 1;
    return ordered_json::array({d.text, annotation});
  });
}

}  // namespace

const Format jsonl{"jsonl",     "JSON records: text with spans or label; Prodigy, Label Studio",
                   true,        true,
                   detect,      read,
                   write_jsonl, true,
                   true};
const Format doccano{"doccano", "doccano's JSONL, label: [[start,end,name]]", true, true, never, read, write_doccano,
                     true};
const Format spacy{"spacy", "spaCy's pairs, [text,{entities:[...]}]", true, true, never, read, write_spacy};
const Format nikl{"nikl", "NIKL named-entity JSON: document, sentence, NE", true, false, detect_nikl, read_nikl,
                  nullptr};

}  // namespace bib::formats
