// Text classification, a line each: fastText (`__label__pos text`, any number of labels) and label first (`1 text`).
#include <algorithm>
#include <map>
#include <ostream>
#include <set>

#include "train/formats/format.h"

namespace bib::formats {
namespace {

std::size_t next_blank(std::string_view line, std::size_t from) {
  return std::min(line.find_first_of(" \t", from), line.size());
}

/// Labels lead the line or, where none does, end it. One blank parts them from the text, which stays as it is.
Document parse_fasttext(std::string_view line, std::string_view prefix) {
  Document document;
  while (line.starts_with(prefix)) {
    const std::size_t end = next_blank(line, 0);
    document.labels.emplace_back(line.substr(prefix.size(), end - prefix.size()));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  for (const bool at_end = document.labels.empty(); at_end;) {
    const std::size_t last = line.find_last_of(" \t") + 1;  // npos + 1 is 0
    if (last == 0 || !line.substr(last).starts_with(prefix)) break;
    document.labels.insert(document.labels.begin(), std::string(line.substr(last + prefix.size())));
    line = line.substr(0, last - 1);
  }
  document.text = line;
  document.annotated = !document.labels.empty();
  return document;
}

Likelihood detect_fasttext(const Sample& sample) {
  const auto labelled = std::count_if(sample.filled.begin(), sample.filled.end(),
                                      [](std::string_view line) { return line.starts_with("__label__"); });
  if (labelled == 0) return no;
  return 10 * static_cast<std::size_t>(labelled) >= 9 * sample.filled.size() ? certain : possible;
}

void read_fasttext(const Source& source) {
  const std::string& prefix = source.options.label_prefix;
  if (prefix.empty()) throw DataError("the prefix of labels is empty");
  for_each_line(source.text, [&](const Line& line) {
    Document document = parse_fasttext(line.text, prefix);
    document.line = line.number;
    if (!document.annotated) source.warn(line, 0, "no " + prefix + " on this line: read as a text without labels");
    if (std::find(document.labels.begin(), document.labels.end(), "") != document.labels.end())
      return source.error(line, 0, "a label is empty");
    if (const std::size_t more = document.text.find(" " + prefix); more != std::string::npos)
      source.warn(line, line.text.find(" " + prefix) + 1, "a label amid the text: kept as text");
    source.corpus.documents.push_back(std::move(document));
  });
}

void write_fasttext(const Sink& sink, std::span<const Document> documents) {
  const std::string& prefix = sink.options.label_prefix;
  std::set<std::string> changed;
  for (const Document& document : documents) {
    std::string line;
    std::vector<std::string> labels = document.labels;
    for (std::string& label : labels) {
      const std::string before = label;
      std::replace_if(
          label.begin(), label.end(), [](char c) { return c == ' ' || c == '\t' || c == '\n'; }, '_');
      if (label != before && changed.insert(before).second)
        sink.warn(document,
                  "label " + in_quotes(before) + " is written " + in_quotes(label) + ": labels hold no blanks");
      line += prefix + label + " ";
    }
    line += document.text;
    sink.refuse_line_ends(document);
    const Document again = parse_fasttext(line, prefix);
    if (again.text != document.text || again.labels != labels)
      sink.refuse(document, "the text holds " + in_quotes(prefix) + " itself");
    sink.to << line << '\n';
  }
}

/// Few first words, each many times: numbers convince sooner than words.
Likelihood detect_label_first(const Sample& sample) {
  if (sample.filled.empty()) return no;
  std::map<std::string_view, std::size_t> first;
  bool numbers = true;
  for (const std::string_view line : sample.filled) {
    const std::size_t end = next_blank(line, 0);
    const std::string_view word = line.substr(0, end);
    if (end == 0 || end == line.size() || word.starts_with("__label__")) return no;
    numbers = numbers && word.size() <= 3 && word.find_first_not_of("0123456789-") == std::string_view::npos;
    ++first[word];
  }
  const std::size_t lines = sample.filled.size(), labels = first.size();
  if (numbers && labels <= 100 && 2 * labels <= lines) return likely;
  return labels >= 2 && labels <= 100 && lines >= 50 && 10 * labels <= lines ? possible : no;
}

void read_label_first(const Source& source) {
  for_each_line(source.text, [&](const Line& line) {
    const std::size_t end = next_blank(line.text, 0);
    if (end == 0) return source.error(line, 0, "expected a label, a blank and the text");
    source.corpus.documents.push_back({.text = std::string(line.text.substr(std::min(end + 1, line.text.size()))),
                                       .labels = {std::string(line.text.substr(0, end))},
                                       .annotated = true,
                                       .line = line.number});
  });
}

void write_label_first(const Sink& sink, std::span<const Document> documents) {
  for (const Document& document : documents) {
    if (document.labels.size() != 1) sink.refuse(document, "it has " + count_of(document.labels.size(), "label"));
    const std::string& label = document.labels[0];
    if (label.empty() || label.find_first_of(" \t\n") != std::string::npos)
      sink.refuse(document, "the label " + in_quotes(label) + " is empty or holds blanks");
    sink.refuse_line_ends(document);
    sink.to << label << ' ' << document.text << '\n';
  }
}

}  // namespace

const Format fasttext{"fasttext",    "fastText, __label__class text", false, true, detect_fasttext, read_fasttext,
                      write_fasttext};
const Format label_first{
    "label-first", "a label, a blank, the text", false, true, detect_label_first, read_label_first, write_label_first};

}  // namespace bib::formats
