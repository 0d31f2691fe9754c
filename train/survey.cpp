#include "train/survey.h"

#include <algorithm>
#include <iterator>

#include "train/formats/format.h"

namespace bib {
namespace {

std::string quoted(const std::string& text) { return "'" + text + "'"; }

std::vector<LabelCount> ranked(const std::map<std::string, std::size_t>& counts) {
  std::vector<LabelCount> list;
  std::size_t all = 0;
  for (const auto& [label, n] : counts) all += n;
  for (const auto& [label, n] : counts)
    list.push_back({label, n, static_cast<double>(n) / static_cast<double>(all), n < rare_label});
  std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.count > b.count; });
  return list;
}

bool same_annotation(const Document& a, const Document& b) { return a.labels == b.labels && a.spans == b.spans; }

/// The spans that begin or end where no unit does. Units are sorted.
std::vector<Span> misaligned(const std::vector<Span>& spans, const std::vector<ByteRange>& units) {
  std::vector<Span> list;
  std::copy_if(spans.begin(), spans.end(), std::back_inserter(list), [&](const Span& span) {
    const auto first = std::lower_bound(units.begin(), units.end(), span.begin,
                                        [](const ByteRange& unit, std::size_t at) { return unit.begin < at; });
    const auto last = std::lower_bound(units.begin(), units.end(), span.end,
                                       [](const ByteRange& unit, std::size_t at) { return unit.end < at; });
    return first == units.end() || first->begin != span.begin || last == units.end() || last->end != span.end;
  });
  return list;
}

/// Spans, sorted as readers leave them, that begin inside another and end after it: no reading holds both.
std::vector<Span> crossing(const std::vector<Span>& spans) {
  std::vector<Span> list;
  std::vector<std::size_t> ends;  // of the spans that the current one is inside, the innermost last
  for (const Span& span : spans) {
    while (!ends.empty() && ends.back() <= span.begin) ends.pop_back();
    if (!ends.empty() && ends.back() < span.end)
      list.push_back(span);
    else
      ends.push_back(span.end);
  }
  return list;
}

}  // namespace

void Surveyor::know(std::vector<std::string> labels, std::string whose) {
  known_ = {std::make_move_iterator(labels.begin()), std::make_move_iterator(labels.end())};
  whose_ = std::move(whose);
}

Survey Surveyor::look(const Corpus& corpus) {
  Survey survey;
  File file{.path = corpus.path, .texts = {}};
  count(corpus, survey);
  find_duplicates(corpus, file, survey);
  find_unseen(corpus, survey);
  files_.push_back(std::move(file));
  return survey;
}

void Surveyor::count(const Corpus& corpus, Survey& survey) const {
  std::map<std::string, std::size_t> entities, classes;
  survey.documents = corpus.documents.size();
  for (const Document& document : corpus.documents) {
    const std::vector<ByteRange> word_units = words(document.text);
    std::vector<ByteRange> syllables;
    for (const CodePoint& c : characters(document.text)) syllables.push_back(c.bytes);
    const std::size_t length = syllables.size();
    const auto warn = [&](const Span& span, const char* what) {
      survey.diagnostics.push_back({Severity::warning, corpus.path, document.line, 0,
                                    formats::in_quotes(formats::slice(document.text, span)) + " " + span.label + what});
    };
    survey.empty += word_units.empty();
    survey.annotated += document.annotated;
    survey.characters += length;
    survey.longest = std::max(survey.longest, length);
    survey.words += word_units.size();
    survey.tokens += document.tokens.size();
    for (const Span& span : document.spans) ++entities[span.label];
    for (const std::string& label : document.labels) ++classes[label];
    if (document.spans.empty()) continue;
    const FlatSpans flat = flatten(document.spans, Nested::outermost);
    survey.spans += document.spans.size();
    survey.nested += flat.dropped.size();
    survey.inside_words += misaligned(flat.kept, word_units).size();
    if (!document.tokens.empty()) survey.inside_tokens += misaligned(flat.kept, document.tokens).size();
    for (const Span& span : misaligned(flat.kept, syllables)) {
      ++survey.inside_characters;
      warn(span, " begins or ends inside a character, with combining marks: it cannot be learnt");
    }
    for (const Span& span : crossing(document.spans))
      warn(span, " crosses another annotation: one of the two is not learnt");
    for (const Span& span : flat.kept)
      if (const ByteRange inner = trimmed(document.text, span); inner.begin != span.begin || inner.end != span.end)
        warn(span, " begins or ends with white space: it is learnt and found without");
  }
  survey.entities = ranked(entities);
  survey.classes = ranked(classes);
}

void Surveyor::find_duplicates(const Corpus& corpus, File& file, Survey& survey) const {
  for (std::size_t i = 0; i < corpus.documents.size(); ++i) {
    const Document& document = corpus.documents[i];
    if (document.text.empty()) continue;
    for (const File& earlier : files_) survey.shared[earlier.path] += earlier.texts.count(document.text);
    const auto [first, added] = file.texts.try_emplace(document.text, i);
    if (added) continue;
    ++survey.duplicates;
    const Document& before = corpus.documents[first->second];
    if (!document.annotated || !before.annotated || same_annotation(document, before)) continue;
    ++survey.conflicts;
    survey.diagnostics.push_back({Severity::warning, corpus.path, document.line, 0,
                                  "the same text as line " + std::to_string(before.line) + " with other annotation"});
  }
  for (const auto& [path, n] : survey.shared)
    if (n > 0)
      survey.diagnostics.push_back({Severity::warning, corpus.path, 0, 0,
                                    std::to_string(n) + (n == 1 ? " text also stands in " : " texts also stand in ") +
                                        path + ": scores on them would flatter"});
}

void Surveyor::find_unseen(const Corpus& corpus, Survey& survey) {
  std::map<std::string, std::pair<std::size_t, std::size_t>> unseen;  // label -> count, first line
  std::set<std::string> labels;
  const auto see = [&](const std::string& label, std::size_t line) {
    labels.insert(label);
    if (!whose_.empty() && !known_.count(label) && unseen[label].first++ == 0) unseen[label].second = line;
  };
  for (const Document& document : corpus.documents) {
    for (const Span& span : document.spans) see(span.label, document.line);
    for (const std::string& label : document.labels) see(label, document.line);
  }
  for (const auto& [label, where] : unseen)
    survey.diagnostics.push_back({Severity::warning, corpus.path, where.second, 0,
                                  "label " + quoted(label) + " (" + std::to_string(where.first) +
                                      " in this file, the first here) is unknown to " + whose_});
  if (whose_.empty() && !labels.empty()) know({labels.begin(), labels.end()}, corpus.path);
}

}  // namespace bib
