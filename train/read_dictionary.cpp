// Reading term<TAB>label[<TAB>weight] lines.
#include <cmath>

#include "models/model_parts.h"
#include "models/number.h"
#include "train/dictionary.h"
#include "train/formats/files.h"
#include "train/formats/format.h"

namespace bib {
namespace {

using formats::Line;
using formats::Source;

/// The fields of a line without the blanks around them, and where each begins.
struct Field {
  std::string_view text;
  std::size_t at = 0;
};
std::vector<Field> fields_of(std::string_view line) {
  std::vector<Field> fields;
  for (std::size_t begin = 0;;) {
    const std::size_t end = std::min(line.find('\t', begin), line.size());
    while (begin < end && line[begin] == ' ') ++begin;
    std::size_t size = end - begin;
    while (size > 0 && line[begin + size - 1] == ' ') --size;
    fields.push_back({line.substr(begin, size), begin});
    if (end == line.size()) return fields;
    begin = end + 1;
  }
}

/// NaN: no weight.
double weight_of(std::string_view text) {
  if (text == "hard" || text == "inf") return NerTerm::hard;
  double weight = 0;
  return take_number(text, weight) && text.empty() ? weight : std::numeric_limits<double>::quiet_NaN();
}

void read_line(const Source& source, const Line& line, const Features& features, NerDictionary::Impl& to) {
  if (const std::size_t at = find_invalid_utf8(line.text); at != std::string_view::npos)
    return source.error(line, at, "not UTF-8; convert the file (iconv -f cp949 -t utf-8)");
  const std::vector<Field> fields = fields_of(line.text);
  if (line.text.starts_with('#') || (fields.size() == 1 && fields[0].text.empty())) return;
  if (fields.size() < 2 || fields.size() > 3)
    return source.error(line, fields.size() > 3 ? fields[3].at : line.text.size(),
                        formats::count_of(fields.size(), "column") +
                            "; expected a term, its label and, if given, a "
                            "weight, with tabs between them");
  const double weight = fields.size() == 3 ? weight_of(fields[2].text) : NerTerm::usual;
  if (std::isnan(weight))
    return source.error(line, fields[2].at,
                        "'" + std::string(fields[2].text) + "' is no weight; write a number or hard");
  try {
    to.add(features, fields[0].text, fields[1].text, weight);
  } catch (const TermRefused& e) {
    source.error(line, fields[e.part].at, e.what());
  }
}

}  // namespace

NerDictionary NerDictionary::load(const std::string& path, const NerModel& model) {
  Corpus corpus{.path = path, .format = {}, .documents = {}, .diagnostics = {}, .scheme = {}};
  std::string content = formats::read_file(path);
  const ReadOptions options{.allow_invalid_utf8 = true};  // read_line says where
  formats::to_utf8(content, options, corpus);
  const auto impl = std::make_shared<Impl>(model);
  const Source source{content, options, corpus};
  formats::for_each_line(content, [&](const Line& line) { read_line(source, line, model.impl().features, *impl); });
  refuse_errors(corpus);
  return NerDictionary(impl);
}

}  // namespace bib
