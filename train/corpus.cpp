#include "train/corpus.h"

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "models/nearest.h"
#include "train/formats/files.h"

namespace bib {
namespace {

using formats::Format;
using formats::Likelihood;

std::string list_formats(const std::vector<const Format*>& formats) {
  std::string names;
  for (const Format* format : formats) names += (names.empty() ? "" : ", ") + std::string(format->name);
  return names;
}

bool serves(const Format& format, const std::optional<Task>& task) {
  return !task || (*task == Task::ner ? format.ner : format.tc);
}

formats::Sample sample_of(const Corpus& corpus, std::string_view text) {
  constexpr std::size_t bytes = 1 << 18, lines = 1000;
  formats::Sample sample{.path = corpus.path, .text = text.substr(0, bytes), .lines = {}, .filled = {}};
  formats::for_each_line(sample.text, [&](const formats::Line& line) {
    if (sample.lines.size() >= lines) return;
    sample.lines.push_back(line.text);
    if (line.text.find_first_not_of(" \t") != std::string_view::npos) sample.filled.push_back(line.text);
  });
  if (text.size() > bytes && sample.lines.size() > 1 && sample.lines.size() < lines) {
    if (!sample.filled.empty() && sample.filled.back().data() == sample.lines.back().data()) sample.filled.pop_back();
    sample.lines.pop_back();  // cut in the middle
  }
  return sample;
}

const Format& detect(const Corpus& corpus, std::string_view text, const std::optional<Task>& task) {
  const formats::Sample sample = sample_of(corpus, text);
  Likelihood best = formats::no, best_other = formats::no;
  std::vector<const Format*> candidates, others;
  for (const Format& format : formats::all()) {
    const Likelihood found = format.detect(sample);
    Likelihood& highest = serves(format, task) ? best : best_other;
    auto& list = serves(format, task) ? candidates : others;
    if (found > highest) list.clear();
    highest = std::max(highest, found);
    if (found == highest && found != formats::no) list.push_back(&format);
  }
  if (best_other >= formats::likely && best_other > best)
    throw DataError(corpus.path + ": looks like " + list_formats(others) + ", which holds no " +
                    (*task == Task::ner ? "entities" : "classes") + "; if it is something else, name its format");
  if (candidates.size() != 1)
    throw DataError(corpus.path + ": the format is not clear, it could be " + list_formats(candidates) +
                    "; name the one it is");
  return *candidates.front();
}

const Format& named(const std::string& name) {
  std::vector<const Format*> known;
  for (const Format& format : formats::all()) {
    if (format.name == formats::canonical_name(name)) return format;
    known.push_back(&format);
  }
  std::vector<std::string> names;
  for (const Format* format : known) names.emplace_back(format->name);
  const std::string close = nearest(name, names);
  throw DataError("unknown corpus format '" + name + "'; " +
                  (close.empty() ? "known: " + list_formats(known) : "did you mean " + close + "?"));
}

void keep_nested(Corpus& corpus, Nested nested) {
  if (nested == Nested::all) return;
  std::size_t dropped = 0, lines = 0, first_line = 0;
  for (Document& document : corpus.documents) {
    FlatSpans flat = flatten(std::move(document.spans), nested);
    document.spans = std::move(flat.kept);
    if (flat.dropped.empty()) continue;
    if (lines++ == 0) first_line = document.line;
    dropped += flat.dropped.size();
  }
  if (dropped > 0)
    corpus.diagnostics.push_back({Severity::note, corpus.path, first_line, 0,
                                  formats::count_of(dropped, "nested annotation") + " left out in " +
                                      formats::count_of(lines, "document") + ", of which this is the first: only the " +
                                      (nested == Nested::outermost ? "outermost" : "innermost") + " are used"});
}

/// Entities have no place in a format for classes, nor classes in one for entities; few hold names and weights.
void report_foreign(const Format& format, std::span<const Document> documents, const std::string& source,
                    std::vector<Diagnostic>& diagnostics) {
  std::size_t spans = 0, labels = 0, ids = 0, weights = 0;
  for (const Document& document : documents) {
    spans += format.ner ? 0 : document.spans.size();
    labels += format.tc ? 0 : document.labels.size();
    ids += !format.ids && !document.id.empty();
    weights += !format.weights && document.weight != 1;
  }
  const auto report = [&](Severity severity, std::size_t n, const char* what) {
    if (n > 0)
      diagnostics.push_back({severity, source, 0, 0,
                             formats::count_of(n, what) + " left out: " + std::string(format.name) + " holds none"});
  };
  report(Severity::warning, spans, "entity annotation");
  report(Severity::warning, labels, "class label");
  report(Severity::warning, weights, "weight");
  report(Severity::note, ids, "id");
}

/// The texts of a folder that have BRAT's annotation beside them, by name; none for any other path.
std::vector<std::string> brat_texts(const std::string& folder) {
  std::vector<std::string> texts;
  std::error_code ignored;
  if (folder == "-" || !std::filesystem::is_directory(folder, ignored)) return texts;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    std::filesystem::path text = entry.path();
    if (text.extension() != ".ann") continue;
    texts.push_back(text.replace_extension(".txt").string());
  }
  std::sort(texts.begin(), texts.end());
  return texts;
}

Corpus checked(Corpus corpus) {
  refuse_errors(corpus);
  return corpus;
}

}  // namespace

std::string to_text(const Diagnostic& d) {
  constexpr const char* names[] = {"note", "warning", "error"};
  std::string where = d.file;
  if (d.line > 0) where += ":" + std::to_string(d.line);
  if (d.line > 0 && d.column > 0) where += ":" + std::to_string(d.column);
  return where + ": " + names[static_cast<int>(d.severity)] + ": " + d.message;
}

void refuse_errors(const Corpus& corpus) {
  constexpr std::size_t shown = 10;
  std::size_t errors = 0;
  std::string list;
  for (const Diagnostic& d : corpus.diagnostics)
    if (d.severity == Severity::error && errors++ < shown) list += "\n" + to_text(d);
  if (errors > shown) list += "\n... and " + formats::count_of(errors - shown, "more error");
  if (errors > 0) throw DataError(formats::count_of(errors, "error") + " in " + corpus.path + list);
}

std::size_t Corpus::count(Severity severity) const {
  return static_cast<std::size_t>(std::count_if(diagnostics.begin(), diagnostics.end(),
                                                [&](const Diagnostic& d) { return d.severity == severity; }));
}

std::string_view likely_format(const std::string& path, std::string_view begin) {
  Corpus corpus;
  corpus.path = path;
  const formats::Sample sample = sample_of(corpus, begin);
  std::string_view name;
  Likelihood best = formats::possible;
  for (const Format& format : formats::all())
    if (const Likelihood found = format.detect(sample); found > best) best = found, name = format.name;
  return name;
}

Corpus scan_corpus_text(const std::string& name, std::string content, const ReadOptions& options) {
  Corpus corpus{
      .path = name == "-" ? "standard input" : name, .format = {}, .documents = {}, .diagnostics = {}, .scheme = {}};
  if (content.empty()) throw DataError(corpus.path + ": is empty");
  formats::to_utf8(content, options, corpus);
  if (content.empty()) throw DataError(corpus.path + ": is empty but for a byte order mark");
  if (corpus.count(Severity::error) > 0) return corpus;
  const Format& format = options.format == "auto" ? detect(corpus, content, options.task) : named(options.format);
  corpus.format = format.name;
  format.read({content, options, corpus});
  keep_nested(corpus, options.nested);
  return corpus;
}

Corpus scan_corpus(const std::string& path, const ReadOptions& options) {
  if (const std::vector<std::string> texts = brat_texts(path); !texts.empty()) {
    Corpus all{.path = path, .format = "brat", .documents = {}, .diagnostics = {}, .scheme = {}};
    ReadOptions brat = options;
    if (brat.format == "auto") brat.format = "brat";
    for (const std::string& text : texts) {
      Corpus one = scan_corpus_text(text, formats::read_file(text), brat);
      all.format = one.format;
      std::move(one.documents.begin(), one.documents.end(), std::back_inserter(all.documents));
      std::move(one.diagnostics.begin(), one.diagnostics.end(), std::back_inserter(all.diagnostics));
    }
    return all;
  }
  return scan_corpus_text(path, formats::read_file(path), options);
}

Corpus read_corpus_text(const std::string& name, std::string content, const ReadOptions& options) {
  return checked(scan_corpus_text(name, std::move(content), options));
}

Corpus read_corpus(const std::string& path, const ReadOptions& options) { return checked(scan_corpus(path, options)); }

std::vector<Diagnostic> write_corpus(std::ostream& to, std::span<const Document> documents, const WriteOptions& options,
                                     const std::string& source) {
  const Format& format = named(options.format);
  if (!format.write) throw DataError("corpus format '" + options.format + "' can be read, not written");
  std::vector<Diagnostic> diagnostics;
  report_foreign(format, documents, source, diagnostics);
  format.write({to, options, source, diagnostics}, documents);
  return diagnostics;
}

std::vector<CorpusFormat> corpus_formats() {
  std::vector<CorpusFormat> list;
  for (const Format& f : formats::all()) list.push_back({f.name, f.what, f.ner, f.tc, f.write != nullptr});
  return list;
}

}  // namespace bib
