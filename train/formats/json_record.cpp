#include "train/formats/json_record.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

namespace bib::formats {
namespace {

using nlohmann::json;

const json* find(const json& object, std::initializer_list<const char*> keys) {
  if (!object.is_object()) return nullptr;
  for (const char* key : keys)
    if (const auto at = object.find(key); at != object.end() && !at->is_null()) return &*at;
  return nullptr;
}

/// A label or id as text, whatever its JSON type.
std::string name_of(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

bool is_name(const json& value) { return value.is_string() || value.is_number() || value.is_boolean(); }

/// What the offsets of an answer of `bib predict` for NER count; nothing for any other record.
std::optional<OffsetUnit> unit_of_answer(const json& record) {
  const json *entities = find(record, {"entities"}), *unit = find(record, {"unit"});
  if (!entities || !entities->is_array() || !unit) return {};
  if (*unit == "codepoint") return OffsetUnit::codepoint;
  if (*unit == "utf16") return OffsetUnit::utf16;
  if (*unit == "byte") return OffsetUnit::byte;
  return {};
}

/// An answer of `bib predict` for TC.
bool is_class_answer(const json& record) {
  const json *labels = find(record, {"labels"}), *classes = find(record, {"classes"});
  return labels && labels->is_array() && classes && classes->is_array() &&
         std::all_of(classes->begin(), classes->end(), [](const json& c) { return find(c, {"label"}) != nullptr; });
}

double score_of(const json& answer) {
  const json* score = find(answer, {"score"});
  return score && score->is_number() ? score->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

/// Sorts the spans, and their scores with them. Scores that not every answer has are left out.
void sort_answers(Document& document) {
  std::vector<double>& scores = document.scores;
  const std::size_t answers = document.labels.empty() ? document.spans.size() : document.labels.size();
  if (scores.size() != answers || std::any_of(scores.begin(), scores.end(), [](double s) { return std::isnan(s); }))
    scores.clear();
  std::map<Span, double> of_span;
  for (std::size_t i = 0; i < scores.size() && document.labels.empty(); ++i) of_span[document.spans[i]] = scores[i];
  sort_spans(document.spans);
  for (std::size_t i = 0; i < scores.size() && document.labels.empty(); ++i) scores[i] = of_span[document.spans[i]];
}

}  // namespace

struct RecordReader::Spot {
  Document document;
  OffsetUnit unit = OffsetUnit::codepoint;
  std::optional<OffsetMap> offsets;  // made when the first span needs it
  bool bad = false;

  const OffsetMap& map() {
    if (!offsets) offsets.emplace(document.text, unit);
    return *offsets;
  }
};

void RecordReader::read(const json& record, std::size_t line) {
  Spot spot;
  spot.document.line = line;
  spot.unit = source_.options.offsets.value_or(OffsetUnit::codepoint);
  if (record.is_array())
    read_tuple(spot, record);
  else if (record.is_object())
    read_fields(spot, record);
  else
    source_.report(Severity::error, line, 0, "expected an object with a text, or a pair of a text and its annotation");
}

void RecordReader::keep(Spot& spot) {
  sort_answers(spot.document);
  source_.corpus.documents.push_back(std::move(spot.document));
}

bool RecordReader::read_text(Spot& spot, const json& record) const {
  const std::string& column = source_.options.text_column;
  const json* text =
      column.empty()
          ? find(record, {"text", "sentence", "document", "form", "content", "title", "body", "review", "comment",
                          "comment_text", "문장", "텍스트", "내용", "data"})  // doccano, in some versions
          : find(record, {column.c_str()});
  if (text && text->is_string()) {
    spot.document.text = text->get<std::string>();
    return true;
  }
  std::string keys;
  for (const auto& [key, value] : record.items()) keys += (keys.empty() ? "" : ", ") + key;
  source_.report(Severity::error, spot.document.line, 0,
                 "no text under " + in_quotes(column.empty() ? "text" : column) + "; the keys are: " + keys);
  return false;
}

void RecordReader::read_fields(Spot& spot, const json& record) {
  if (const json* answer = find(record, {"answer"}); answer && *answer != "accept") {  // Prodigy
    return rejected_.add(spot.document.line);
  }
  if (read_tagged(spot, record)) return;
  const json* data = find(record, {"data"});
  const bool studio = data && data->is_object();
  if (studio && !source_.options.offsets) spot.unit = OffsetUnit::utf16;  // Label Studio counts as browsers do
  if (!read_text(spot, studio ? *data : record)) return;
  const std::string& id_column = source_.options.id_column;
  if (const json* id = id_column.empty() ? find(record, {"id", "guid"}) : find(record, {id_column.c_str()});
      id && is_name(*id))
    spot.document.id = name_of(*id);
  if (const json* weight = find(record, {"weight"}); weight && weight->is_number()) {
    spot.document.weight = weight->get<float>();
    if (!(spot.document.weight >= 0 && std::isfinite(spot.document.weight))) {
      source_.report(Severity::error, spot.document.line, 0,
                     "weight " + weight->dump() + " is none: it says how much a text counts, 1 is the default");
      spot.bad = true;
    }
  }
  if (const json* tokens = find(record, {"tokens"})) read_tokens(spot, *tokens);

  read_annotations(spot, record);
  if (std::find(spot.document.labels.begin(), spot.document.labels.end(), "") != spot.document.labels.end()) {
    source_.report(Severity::error, spot.document.line, 0, "a class without a name");
    spot.bad = true;
  }
  if (!spot.bad) keep(spot);
}

namespace {

bool is_texts(const json* value) {
  return value && value->is_array() && !value->empty() &&
         std::all_of(value->begin(), value->end(), [](const json& item) { return item.is_string(); });
}

bool is_blank(std::string_view text) { return words(text).empty(); }

/// Where the tokens stand in the text, one after the other; nothing if they do not.
std::vector<ByteRange> places_of(const json& tokens, std::string_view text) {
  std::vector<ByteRange> places;
  std::size_t at = 0;
  for (const json& item : tokens) {
    const auto& token = item.get_ref<const std::string&>();
    const std::size_t begin = text.find(token, at);
    if (token.empty() || begin == std::string_view::npos || !is_blank(text.substr(at, begin - at))) return {};
    places.push_back({begin, at = begin + token.size()});
  }
  return is_blank(text.substr(at)) ? places : std::vector<ByteRange>{};
}

}  // namespace

/// {"tokens":["서울","에"],"ner_tags":["B-LC","O"]}, as the datasets library writes them: with the text if it is there
/// and holds the tokens, else with what a column format would make of them.
bool RecordReader::read_tagged(Spot& spot, const json& record) {
  const json *tokens = find(record, {"tokens"}), *tags = find(record, {"ner_tags", "tags", "ner", "labels"});
  if (!is_texts(tokens) || !tags || !tags->is_array()) return false;
  const auto fail = [&](const std::string& why) {
    source_.report(Severity::error, spot.document.line, 0, why);
    return true;
  };
  if (!tags->empty() && (*tags)[0].is_number())
    return fail("ner_tags are numbers: write their names (features[\"ner_tags\"].feature.int2str), such as B-PS");
  if (tags->size() != tokens->size())
    return fail(count_of(tokens->size(), "token") + ", but " + count_of(tags->size(), "tag"));
  Document& document = spot.document;
  for (const json& tag : *tags) {
    document.tags.push_back(name_of(tag));
    if (parse_tag(document.tags.back()).letter == 0) return fail(in_quotes(document.tags.back()) + " is not a tag");
  }
  if (const json* text = find(record, {"text", "sentence"}); text && text->is_string()) {
    document.text = text->get<std::string>();
    document.tokens = places_of(*tokens, document.text);
  }
  if (document.tokens.empty()) {
    document.text.clear();
    std::size_t single = 0, ascii = 0, spaces = 0;
    for (const json& item : *tokens) {
      const auto& token = item.get_ref<const std::string&>();
      single += characters(token).size() == 1;
      ascii += std::all_of(token.begin(), token.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
      spaces += token == " ";
    }
    const bool blanks = spaces == 0 && (single < tokens->size() || ascii == tokens->size());
    for (const json& token : *tokens) {
      if (blanks && !document.text.empty()) document.text += ' ';
      const std::size_t begin = document.text.size();
      document.text += token.get_ref<const std::string&>();
      document.tokens.push_back({begin, document.text.size()});
    }
  }
  if (const json* id = find(record, {"id", "guid"}); id && is_name(*id)) document.id = name_of(*id);
  document.annotated = true;
  const std::vector<std::string_view> names(document.tags.begin(), document.tags.end());
  decoder_.decode(document, names, std::vector<Line>(names.size(), Line{{}, document.line}));
  tagged_ = true;
  keep(spot);
  return true;
}

/// Every key that a tool may keep annotation under. An answer of `bib predict` repeats the record that it answers, and
/// so perhaps the truth: there, only what it says itself counts.
void RecordReader::read_annotations(Spot& spot, const json& record) {
  std::vector<const char*> span_keys{"spans", "entities", "ents", "NE"},
      class_keys{"label", "labels", "class", "category", "cats", "accept"};
  const std::optional<OffsetUnit> entities_in = unit_of_answer(record);
  const bool answer = entities_in || is_class_answer(record);
  if (entities_in) {
    span_keys = {"entities"}, class_keys = {};
    spot.unit = source_.options.offsets.value_or(*entities_in);
    spot.offsets.reset();  // tokens are the record's own
  } else if (answer) {
    span_keys = {}, class_keys = {"labels"};
  }
  const std::string& column = source_.options.label_column;
  if (!column.empty()) class_keys = {column.c_str()};
  for (const char* key : span_keys)
    if (const json* value = find(record, {key})) read_annotation(spot, *value, false);
  for (const char* key : class_keys)
    if (const json* value = find(record, {key})) read_annotation(spot, *value, true);
  if (answer && !entities_in) {
    std::map<std::string, double> of_class;
    for (const json& c : record["classes"]) of_class[name_of(c["label"])] = score_of(c);
    for (const std::string& label : spot.document.labels)
      spot.document.scores.push_back(of_class.contains(label) ? of_class[label] : score_of({}));
  }
  if (const json* annotations = answer ? nullptr : find(record, {"annotations"})) read_results(spot, *annotations);
}

/// spaCy's older form: ["text", {"entities": [[0, 5, "ORG"]], "cats": {"pos": 1}}].
void RecordReader::read_tuple(Spot& spot, const json& record) {
  if (record.size() != 2 || !record[0].is_string() || !record[1].is_object()) {
    source_.report(Severity::error, spot.document.line, 0, "expected [\"text\", {\"entities\": [...]}]");
    return;
  }
  spot.document.text = record[0].get<std::string>();
  for (const char* key : {"entities", "spans"})
    if (const json* value = find(record[1], {key})) read_annotation(spot, *value, false);
  if (const json* value = find(record[1], {"cats"})) read_annotation(spot, *value, true);
  if (!spot.bad) keep(spot);
}

/// A value that may hold spans, classes or, for doccano, either: [[0,5,"ORG"]], [{"start":..}], "pos", ["pos"],
/// {"pos":1}.
void RecordReader::read_annotation(Spot& spot, const json& value, bool of_text) {
  Document& document = spot.document;
  document.annotated = true;
  if (of_text && is_name(value)) {
    document.labels.push_back(name_of(value));
  } else if (of_text && value.is_object()) {  // spaCy's cats
    for (const auto& [name, on] : value.items())
      if ((on.is_number() && on.get<double>() >= 0.5) || on == true) document.labels.push_back(name);
  } else if (value.is_array()) {
    for (const json& item : value) {
      if (of_text && is_name(item))
        document.labels.push_back(name_of(item));
      else
        read_span(spot, item);
    }
  } else {
    source_.report(Severity::error, document.line, 0, "annotation that is neither spans nor a class: " + value.dump());
    spot.bad = true;
  }
}

void RecordReader::read_span(Spot& spot, const json& value) {
  if (value.is_array() && value.size() == 3 && value[0].is_number() && value[1].is_number() && is_name(value[2]))
    return add_span(spot, value[0].get<double>(), value[1].get<double>(), name_of(value[2]), nullptr);
  const json *begin = find(value, {"start", "start_offset", "begin", "startOffset"}),
             *end = find(value, {"end", "end_offset", "endOffset"}),
             *label = find(value, {"label", "labels", "type", "tag", "entity_group"}),
             *text = find(value, {"text", "form", "word"});
  std::vector<std::string> names;  // Label Studio: one or more
  if (label && label->is_array()) {
    for (const json& name : *label)
      if (is_name(name)) names.push_back(name_of(name));
  } else if (label && is_name(*label)) {
    names.push_back(name_of(*label));
  }
  if (begin && end && begin->is_number() && end->is_number() && !names.empty()) {
    Document& document = spot.document;
    document.scores.resize(document.spans.size(), score_of({}));
    for (std::string& name : names) add_span(spot, begin->get<double>(), end->get<double>(), std::move(name), text);
    return document.scores.resize(document.spans.size(), score_of(value));
  }
  source_.report(Severity::error, spot.document.line, 0,
                 "a span needs start, end and label: " + value.dump(-1, ' ', false, json::error_handler_t::replace));
  spot.bad = true;
}

void RecordReader::add_span(Spot& spot, double begin, double end, std::string label, const json* text) {
  const std::string& whole = spot.document.text;
  const auto fail = [&](Severity severity, const std::string& why) {
    const auto number = [](double x) {
      return std::floor(x) == x ? json(static_cast<std::int64_t>(x)).dump() : json(x).dump();
    };
    source_.report(severity, spot.document.line, 0,
                   "span " + number(begin) + ".." + number(end) + (label.empty() ? "" : " " + label) + " " + why);
    if (severity == Severity::error) spot.bad = true;
  };
  const double length = static_cast<double>(spot.map().length());
  if (label.empty()) return fail(Severity::error, "has an empty label");
  if (!(begin >= 0 && begin <= end && end <= 9e15 && std::floor(begin) == begin && std::floor(end) == end))
    return fail(Severity::error, "is no range");
  if (begin == end) return fail(Severity::warning, "is empty: left out");
  if (end > length)
    return fail(Severity::error, "passes the text's end at " + std::to_string(spot.map().length()) +
                                     "; do the offsets count another unit?");
  const ByteRange range{spot.map().to_byte(static_cast<std::size_t>(begin)),
                        spot.map().to_byte(static_cast<std::size_t>(end))};
  const auto splits = [&](std::size_t at) {
    return at < whole.size() && (static_cast<unsigned char>(whole[at]) & 0xC0) == 0x80;
  };
  if (splits(range.begin) || splits(range.end) || range.begin == range.end)
    return fail(Severity::error, "cuts a character in two; do the offsets count another unit?");
  const std::string_view found = slice(whole, range);
  if (text && text->is_string() && text->get_ref<const std::string&>() != found)
    return fail(Severity::error, "is " + in_quotes(found) + ", but its annotation says " +
                                     in_quotes(text->get<std::string>()) + "; do the offsets count another unit?");
  spot.document.spans.push_back({range, std::move(label)});
}

/// Label Studio: annotations of one or more annotators, of whom the first who did not skip the text counts. A result is
/// a span, a choice about the whole text, or something else that an annotator was asked for.
void RecordReader::read_results(Spot& spot, const json& annotations) {
  if (!annotations.is_array() || annotations.empty()) return;
  std::vector<const json*> lists;
  std::size_t skipped = 0;
  for (const json& annotation : annotations) {
    const json *list = find(annotation, {"result"}), *cancelled = find(annotation, {"was_cancelled"});
    if (!list) continue;
    cancelled&&* cancelled == true ? void(++skipped) : lists.push_back(list);
  }
  if (lists.empty() && skipped == 0) return read_annotation(spot, annotations, false);
  if (lists.empty()) {
    spot.bad = true;  // which is not to say that nothing stands in it
    return skipped_.add(spot.document.line);
  }
  if (lists.size() > 1) further_.add(spot.document.line);
  spot.document.annotated = true;
  for (const json& result : *lists[0]) {
    const json* value = find(result, {"value"});
    if (!value) continue;  // a relation between spans
    const json *choices = find(*value, {"choices"}), *start = find(*value, {"start", "startOffset"});
    if (choices && !start)
      read_annotation(spot, *choices, true);
    else if (start && !choices)
      read_span(spot, *value);
    else
      other_results_.add(spot.document.line);
  }
}

void RecordReader::read_tokens(Spot& spot, const json& tokens) {
  if (!tokens.is_array()) return;
  std::vector<ByteRange> ranges;
  for (const json& token : tokens) {
    const json *begin = find(token, {"start"}), *end = find(token, {"end"});
    if (!begin || !end || !begin->is_number_unsigned() || !end->is_number_unsigned()) return;
    ranges.push_back({spot.map().to_byte(begin->get<std::size_t>()), spot.map().to_byte(end->get<std::size_t>())});
    const bool follows = ranges.size() == 1 || ranges[ranges.size() - 2].end <= ranges.back().begin;
    if (ranges.back().begin >= ranges.back().end || !follows) return;  // not offsets into this text
  }
  spot.document.tokens = std::move(ranges);
}

void RecordReader::finish() {
  if (tagged_) decoder_.finish();
  const auto say = [&](const Counted& counted, const char* what, const std::string& then) {
    if (counted.count > 0) source_.report(Severity::note, counted.first, 0, count_of(counted.count, what) + then);
  };
  say(rejected_, "record", " whose answer is not accept left out, of which this is the first");
  say(skipped_, "record", " that its annotators skipped left out, of which this is the first");
  say(further_, "record", " with several annotators, of which this is the first: the first of them counts");
  say(other_results_, "result", " that are neither spans nor classes of the text left out, of which this is the first");
}

}  // namespace bib::formats
