// Tables with a header: CSV and TSV. Quotes are RFC 4180's in CSV and ordinary characters in TSV (NSMC: a reader that
// unquotes swallows lines), unless the file or the options say otherwise.
#include <algorithm>
#include <charconv>
#include <map>
#include <ostream>
#include <set>

#include "train/formats/format.h"

namespace bib::formats {
namespace {

using Row = std::vector<std::string>;

constexpr std::string_view text_names[] = {
    "text",      "sentence", "document", "content",      "contents", "comment", "comments", "review", "body",
    "utterance", "query",    "question", "title",        "headline", "문장",    "텍스트",   "내용",   "본문",
    "문서",      "발화",     "제목",     "comment_text", "리뷰",     "댓글",    "질문"};
constexpr std::string_view label_names[] = {
    "label",  "labels", "class",    "category", "target", "intent", "sentiment", "topic_idx", "topic",    "라벨",
    "레이블", "분류",   "카테고리", "감정",     "의도",   "감성",   "극성",      "유형",      "polarity", "emotion"};
constexpr std::string_view id_names[] = {"id", "idx", "index", "guid", "번호"};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return out;
}

/// Calls `use(row, line number, problem)` for every row; `problem` is null or what is wrong with the row's quotes.
template <class Use>
void for_each_row(std::string_view text, char delimiter, bool quotes, Use use) {
  std::size_t at = 0, line = 1;
  while (at < text.size()) {
    Row row(1);
    const std::size_t first_line = line;
    const char* problem = nullptr;
    for (bool more = true; more;) {
      std::string& field = row.back();
      if (quotes && at < text.size() && text[at] == '"') {
        for (++at;;) {
          const std::size_t close = text.find('"', at);
          if (close == std::string_view::npos) problem = "a quoted field has no end";
          const std::size_t end = std::min(close, text.size());
          line += static_cast<std::size_t>(std::count(text.begin() + static_cast<std::ptrdiff_t>(at),
                                                      text.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
          field.append(text.substr(at, end - at));
          at = std::min(end + 1, text.size());
          if (close == std::string_view::npos || at >= text.size() || text[at] != '"') break;
          field += '"';
          ++at;
        }
        if (at < text.size() && text[at] != delimiter && text[at] != '\n' && text[at] != '\r')
          problem = "text follows a closing quote; if quotes are text in this file, read it without quoting";
      }
      const std::size_t quoted = field.size();
      const char stops[] = {delimiter, '\n'};
      const std::size_t end = std::min(text.find_first_of(std::string_view(stops, 2), at), text.size());
      field.append(text.substr(at, end - at));
      at = end + 1;
      more = end < text.size() && text[end] == delimiter;
      if (!more && field.size() > quoted && field.back() == '\r') field.pop_back();
      if (more) row.emplace_back();
    }
    use(row, first_line, problem);
    ++line;
  }
}

char find_delimiter(std::string_view header) {
  char best = '\0';
  std::ptrdiff_t most = 0;
  for (const char c : {'\t', ',', ';', '|'}) {
    const auto n = std::count(header.begin(), header.end(), c);
    if (n > most) most = n, best = c;
    if (best == '\t') break;
  }
  return best;
}

/// Share of rows, in percent, with as many columns as the first.
std::size_t consistency(std::string_view text, char delimiter, bool quotes) {
  std::size_t rows = 0, same = 0, columns = 0;
  for_each_row(text, delimiter, quotes, [&](const Row& row, std::size_t, const char* problem) {
    if (row.size() == 1 && row[0].empty()) return;
    if (rows++ == 0) columns = row.size();
    same += row.size() == columns && !problem;
  });
  return rows == 0 ? 0 : 100 * same / rows;
}

struct Dialect {
  char delimiter = '\0';
  bool quotes = false;
};

Dialect dialect_of(std::string_view text, const ReadOptions& options) {
  Dialect d;
  d.delimiter = options.delimiter ? options.delimiter : find_delimiter(text.substr(0, text.find('\n')));
  const std::string_view sample = text.substr(0, text.size() > (1 << 20) ? text.rfind('\n', 1 << 20) + 1 : text.size());
  d.quotes = options.quoting == Quoting::csv;
  if (options.quoting == Quoting::automatic)
    d.quotes = d.delimiter != '\t' || consistency(sample, '\t', true) > consistency(sample, '\t', false);
  return d;
}

/// Which columns mean what.
struct Columns {
  bool header = true;
  int text = -1, label = -1, id = -1;
  std::vector<std::size_t> flags;  // one 0/1 column a label
  std::vector<std::string> names;
};

int find_name(const std::vector<std::string>& names, std::span<const std::string_view> known) {
  for (const std::string_view name : known)
    for (std::size_t i = 0; i < names.size(); ++i)
      if (lower(names[i]) == name) return static_cast<int>(i);
  return -1;
}

std::string list(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + in_quotes(name);
  return out;
}

/// A column the user named, by its header or its number.
int named_column(const std::string& wanted, const Columns& columns, const std::string& path) {
  const auto found = std::find(columns.names.begin(), columns.names.end(), wanted);
  if (columns.header && found != columns.names.end()) return static_cast<int>(found - columns.names.begin());
  int number = 0;
  const auto parsed = std::from_chars(wanted.data(), wanted.data() + wanted.size(), number);
  const int n = static_cast<int>(columns.names.size());
  if (number < 0) number += n + 1;
  const bool name = parsed.ptr != wanted.data() + wanted.size();
  if (name || number < 1 || number > n)
    throw DataError(path + ": no column " + in_quotes(wanted) + "; the " +
                    (columns.header || name ? "first row has " + list(columns.names)
                                            : "file has columns 1 to " + std::to_string(n)));
  return number - 1;
}

std::vector<std::string> split_names(const std::string& names) {
  std::vector<std::string> out(1);
  for (const char c : names) c == ',' ? void(out.emplace_back()) : void(out.back() += c);
  return out;
}

/// Columns beside text and id whose every value is 0 or 1: one a label. Only where there are several.
std::vector<std::size_t> flag_columns(std::string_view text, const Dialect& dialect, const Columns& columns) {
  std::vector<bool> flag(columns.names.size(), true);
  std::size_t rows = 0;
  for_each_row(text, dialect.delimiter, dialect.quotes, [&](const Row& row, std::size_t, const char*) {
    if (rows++ == 0 || row.size() != flag.size()) return;
    for (std::size_t i = 0; i < row.size(); ++i) flag[i] = flag[i] && (row[i] == "0" || row[i] == "1");
  });
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < flag.size(); ++i)
    if (flag[i] && static_cast<int>(i) != columns.text && static_cast<int>(i) != columns.id && rows > 1)
      found.push_back(i);
  return found.size() > 1 ? found : std::vector<std::size_t>{};
}

Columns columns_of(const Source& source, const Dialect& dialect) {
  const ReadOptions& o = source.options;
  const std::string& path = source.corpus.path;
  Columns columns;
  bool first = true;
  for_each_row(source.text.substr(0, std::max<std::size_t>(source.text.find('\n'), 1 << 16)), dialect.delimiter,
               dialect.quotes, [&](const Row& row, std::size_t, const char*) {
                 if (first) columns.names = row;
                 first = false;
               });
  const int known_text = find_name(columns.names, text_names), known_label = find_name(columns.names, label_names);
  const auto is_name = [&](const std::string& wanted) {
    return !wanted.empty() && std::find(columns.names.begin(), columns.names.end(), wanted) != columns.names.end();
  };
  columns.header =
      o.header.value_or(known_text >= 0 || known_label >= 0 || is_name(o.text_column) || is_name(o.label_column));
  if (columns.header) {
    columns.text = known_text;
    columns.label = known_label;
    columns.id = find_name(columns.names, id_names);
  }
  if (!o.text_column.empty()) columns.text = named_column(o.text_column, columns, path);
  if (!o.id_column.empty()) columns.id = named_column(o.id_column, columns, path);
  if (columns.text < 0)
    throw DataError(path + ":1: which column is the text? Name it, by its header or number; the first row is " +
                    list(columns.names));
  const std::vector<std::string> labels = o.label_column.empty() ? Row{} : split_names(o.label_column);
  if (labels.size() == 1) columns.label = named_column(labels[0], columns, path);
  if (labels.size() > 1) {
    columns.label = -1;
    for (const std::string& label : labels)
      columns.flags.push_back(static_cast<std::size_t>(named_column(label, columns, path)));
  } else if (columns.label < 0 && columns.header) {
    columns.flags = flag_columns(source.text, dialect, columns);
  }
  return columns;
}

void read_labels(const Source& source, const Columns& columns, const Row& row, Document& document) {
  if (columns.label >= 0) {
    const std::string& label = row[static_cast<std::size_t>(columns.label)];
    document.annotated = !label.empty();
    if (label.empty())
      source.report(Severity::warning, document.line, 0, "the label is empty: read as a text without one");
    else
      document.labels = {label};
  }
  for (const std::size_t column : columns.flags) {
    document.annotated = true;
    if (row[column] == "1")
      document.labels.push_back(columns.header ? columns.names[column] : std::to_string(column + 1));
    else if (row[column] != "0")
      source.report(Severity::error, document.line, 0,
                    in_quotes(row[column]) + " in a column of labels: expected 0 or 1");
  }
}

/// A class under a name that is not known would be lost without a word.
void report_unread(const Source& source, const Columns& columns) {
  if (!columns.header || columns.label >= 0 || !columns.flags.empty()) return;
  Row unread;
  for (std::size_t i = 0; i < columns.names.size(); ++i)
    if (static_cast<int>(i) != columns.text && static_cast<int>(i) != columns.id) unread.push_back(columns.names[i]);
  if (!unread.empty())
    source.report(Severity::note, 0, 0, "no column of classes is known among " + list(unread) + ": name it to read it");
}

void read(const Source& source) {
  const Dialect dialect = dialect_of(source.text, source.options);
  const Columns columns = columns_of(source, dialect);
  report_unread(source, columns);
  std::size_t rows = 0, quoted_fields = 0;
  for_each_row(source.text, dialect.delimiter, dialect.quotes, [&](Row& row, std::size_t line, const char* problem) {
    const auto report = [&](Severity severity, std::string what) { source.report(severity, line, 0, std::move(what)); };
    if (rows++ == 0 && columns.header) return;
    if (problem) return report(Severity::error, problem);
    if (row.size() == 1 && row[0].empty() && columns.names.size() > 1)
      return report(Severity::warning, "blank line: skipped");
    if (row.size() != columns.names.size())
      return report(Severity::error,
                    count_of(row.size(), "column") + ", expected " + std::to_string(columns.names.size()));
    Document document{.line = line};
    read_labels(source, columns, row, document);
    if (columns.id >= 0) document.id = std::move(row[static_cast<std::size_t>(columns.id)]);
    document.text = std::move(row[static_cast<std::size_t>(columns.text)]);
    const std::string& t = document.text;
    quoted_fields += !dialect.quotes && t.size() > 1 && t.front() == '"' && t.back() == '"';
    source.corpus.documents.push_back(std::move(document));
  });
  if (quoted_fields > 0)
    source.report(
        Severity::note, 0, 0,
        count_of(quoted_fields, "text") + " in double quotes: the quotes are kept, as the file does not quote");
}

Likelihood detect(const Sample& sample, bool tabs) {
  if (sample.lines.empty()) return no;
  const char delimiter = find_delimiter(sample.lines[0]);
  if (delimiter == '\0' || (delimiter == '\t') != tabs || sample.lines[0].starts_with("{")) return no;
  Row names;
  for_each_row(sample.lines[0], delimiter, true, [&](const Row& row, std::size_t, const char*) { names = row; });
  const bool named = sample.path.ends_with(tabs ? ".tsv" : ".csv");
  const bool text = find_name(names, text_names) >= 0;
  const bool other = find_name(names, label_names) >= 0 || find_name(names, id_names) >= 0;
  if (text && (other || named)) return certain;
  if (consistency(sample.text, delimiter, !tabs) < 90 && consistency(sample.text, delimiter, tabs) < 90) return no;
  return text || (named && other) ? likely : named ? possible : no;
}

Likelihood detect_csv(const Sample& sample) { return detect(sample, false); }
Likelihood detect_tsv(const Sample& sample) { return detect(sample, true); }

std::string csv_field(const std::string& field) {
  if (field.find_first_of(",\"\n\r") == std::string::npos) return field;
  std::string out = "\"";
  for (const char c : field) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

/// One `label` column, or one 0/1 column a label where a document has several or, though annotated, none.
void write(const Sink& sink, std::span<const Document> documents, char delimiter) {
  std::set<std::string> labels;
  bool several = false, ids = false;
  for (const Document& d : documents) {
    labels.insert(d.labels.begin(), d.labels.end());
    several = several || d.labels.size() > 1 || (d.annotated && d.labels.empty());
    ids = ids || !d.id.empty();
  }
  several = several && labels.size() > 1;
  const auto put = [&](const Document& document, const std::string& field) {
    if (delimiter == '\t' && field.find_first_of("\t\n\r") != std::string::npos)
      sink.refuse(document, in_quotes(field) + " holds a tab or line end");
    sink.to << (delimiter == '\t' ? field : csv_field(field));
  };
  if (ids) sink.to << "id" << delimiter;
  sink.to << "text";
  if (several)
    for (const std::string& label : labels) {
      sink.to << delimiter;
      put({}, label);
    }
  else if (!labels.empty())
    sink.to << delimiter << "label";
  sink.to << '\n';
  for (const Document& document : documents) {
    if (ids) {
      put(document, document.id);
      sink.to << delimiter;
    }
    put(document, document.text);
    if (several)
      for (const std::string& label : labels)
        sink.to << delimiter
                << (std::find(document.labels.begin(), document.labels.end(), label) != document.labels.end());
    else if (!labels.empty())
      sink.to << delimiter, put(document, document.labels.empty() ? "" : document.labels[0]);
    sink.to << '\n';
  }
}

void write_csv(const Sink& sink, std::span<const Document> documents) { write(sink, documents, ','); }
void write_tsv(const Sink& sink, std::span<const Document> documents) { write(sink, documents, '\t'); }

}  // namespace

const Format csv{"csv", "a table with a header, commas or semicolons", false, true, detect_csv, read, write_csv, true};
const Format tsv{"tsv", "a table with a header, tabs", false, true, detect_tsv, read, write_tsv, true};

}  // namespace bib::formats
