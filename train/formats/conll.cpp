// Column formats: a token a line, sentences parted by blank lines. CoNLL (IOB1, IOB2, BIOES, BILOU), KLUE and KMOU (the
// space is a token), 2016klp (B_PS and a bare I), GermEval (two layers of tags), Naver (LOC_B), WikiANN (en:token).
#include <algorithm>
#include <charconv>
#include <ostream>

#include "train/formats/tag_decoder.h"

namespace bib::formats {
namespace {

using Columns = std::vector<std::string_view>;

/// Tabs part columns where the file has any, so that a token may hold or be a space; else runs of blanks do.
void split(std::string_view line, bool tabs, Columns& columns) {
  columns.clear();
  if (!tabs) {
    for (std::size_t at = 0; (at = line.find_first_not_of(' ', at)) != std::string_view::npos;) {
      const std::size_t end = std::min(line.find(' ', at), line.size());
      columns.push_back(line.substr(at, end - at));
      at = end;
    }
    return;
  }
  for (std::size_t at = 0;;) {
    const std::size_t end = line.find('\t', at);
    columns.push_back(line.substr(at, end - at));
    if (end == std::string_view::npos) break;
    at = end + 1;
  }
}

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t") == std::string_view::npos; }
bool is_tag(std::string_view tag) { return parse_tag(tag).letter != 0; }
bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}
bool is_one_character(std::string_view token) {
  return 1 == std::count_if(token.begin(), token.end(), [](char c) { return (c & 0xC0) != 0x80; });
}
/// A letter such as `a` may be a word; a column of single characters that are more than that is one of characters.
bool is_ascii(std::string_view token) {
  return std::all_of(token.begin(), token.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}
bool is_document_mark(std::string_view line) { return line.starts_with("-DOCSTART-"); }
/// A line that may be a comment: not an address such as #hashtag, which is a token.
bool looks_like_comment(std::string_view line) {
  return line.starts_with("# ") || line.starts_with("#\t") || line.starts_with("##") || line.starts_with("; ") ||
         line.starts_with("$");
}
/// A space as KMOU writes it: `_ _ _ O`.
bool is_underscore_space(const Columns& c) { return c.size() > 2 && c[0] == "_" && c[1] == "_"; }

/// How a file uses its columns.
struct Layout {
  bool tabs = false;
  std::size_t columns = 0;  // of most lines
  std::size_t token = 0;
  std::vector<std::size_t> tags;  // outermost layer first
  bool tiles = false;             // spaces are tokens, or all are characters: tokens follow one another directly
  bool characters = false;        // all are
  std::string prefix;             // language before every token, "en:"
};

/// `#` at a block's start begins a comment unless the line is a token with a tag like the others.
bool is_comment(std::string_view line, const Columns& columns, const Layout& layout) {
  return looks_like_comment(line) && (columns.size() != layout.columns || !is_tag(columns[layout.tags.front()]));
}

std::size_t column_option(const std::string& name, const std::string& value, std::size_t columns,
                          const std::string& path) {
  int number = value == "first" ? 1 : value == "last" ? -1 : 0;
  std::from_chars(value.data(), value.data() + value.size(), number);
  if (number < 0) number += static_cast<int>(columns) + 1;
  if (number < 1 || number > static_cast<int>(columns))
    throw DataError(path + ": " + name + " column " + in_quotes(value) + ": the file has columns 1 to " +
                    std::to_string(columns));
  return static_cast<std::size_t>(number - 1);
}

/// What most lines of the sample have in common.
Layout survey(const std::vector<std::string_view>& lines) {
  Layout layout;
  std::vector<Columns> rows;
  std::vector<std::size_t> counts;
  std::size_t with_tab = 0, without = 0;  // a stray tab must not change how the other lines are read
  for (const std::string_view line : lines)
    if (!looks_like_comment(line) && !is_blank(line) && !is_document_mark(line))
      ++(line.find('\t') != std::string_view::npos ? with_tab : without);
  layout.tabs = with_tab > 0 && with_tab >= without;
  for (const std::string_view line : lines) {
    if (is_blank(line) || is_document_mark(line)) continue;
    Columns columns;
    split(line, layout.tabs, columns);
    if (looks_like_comment(line) && !is_tag(columns.back())) continue;
    counts.resize(std::max(counts.size(), columns.size() + 1));
    ++counts[columns.size()];
    rows.push_back(std::move(columns));
  }
  if (rows.empty()) return layout;
  layout.columns = static_cast<std::size_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
  const std::size_t n = layout.columns;
  std::erase_if(rows, [&](const Columns& row) { return row.size() != n; });
  const auto all = [&](std::size_t column, bool (*test)(std::string_view)) {
    return std::all_of(rows.begin(), rows.end(), [&](const Columns& row) { return test(row[column]); });
  };
  const bool numbered = n >= 3 && all(0, is_number);
  layout.token = numbered ? 1 : 0;
  if (n >= 2 && !all(n - 1, is_tag) && all(0, is_tag)) {
    layout.tags = {0};
    layout.token = 1;
  } else if (n >= 4 && numbered && all(n - 1, is_tag) && all(n - 2, is_tag)) {
    layout.tags = {n - 2, n - 1};
  } else if (n >= 2) {
    layout.tags = {n - 1};
  }
  layout.tiles = std::any_of(rows.begin(), rows.end(),
                             [&](const Columns& row) { return row[layout.token] == " " || is_underscore_space(row); });
  const std::string_view first = rows.front()[layout.token], prefix = first.substr(0, first.find(':') + 1);
  if (prefix.size() >= 3 && prefix.size() <= 4 &&
      std::all_of(rows.begin(), rows.end(), [&](const Columns& r) { return r[layout.token].starts_with(prefix); }))
    layout.prefix = prefix;
  layout.characters = !layout.tiles && std::all_of(rows.begin(), rows.end(), [&](const Columns& row) {
    return is_one_character(row[layout.token].substr(layout.prefix.size()));
  }) && std::any_of(rows.begin(), rows.end(), [&](const Columns& row) { return !is_ascii(row[layout.token]); });
  layout.tiles = layout.tiles || layout.characters;
  return layout;
}

/// Whether entities have no types: every tag is a bare B, I, E, S or O, as in files of one kind of term.
bool untyped(const std::vector<std::string_view>& lines, const Layout& layout) {
  Columns columns;
  bool entities = false;
  for (const std::string_view line : lines) {
    split(line, layout.tabs, columns);
    if (columns.size() != layout.columns || is_comment(line, columns, layout)) continue;
    const FileTag tag = parse_tag(columns[layout.tags.front()]);
    if (!tag.label.empty()) return false;
    entities = entities || (tag.letter != 0 && tag.letter != 'O');
  }
  return entities;
}

Likelihood detect(const Sample& sample) {
  const Layout layout = survey(sample.lines);
  if (layout.columns < 2 || layout.tags.empty()) return no;
  std::size_t rows = 0, good = 0, entities = 0, named = 0, blank = 0;
  Columns columns;
  for (const std::string_view line : sample.lines) {
    blank += is_blank(line);
    if (is_blank(line) || is_document_mark(line) || looks_like_comment(line)) continue;
    split(line, layout.tabs, columns);
    ++rows;
    if (columns.size() != layout.columns) continue;
    const FileTag tag = parse_tag(columns[layout.tags.front()]);
    good += tag.letter != 0;
    entities += tag.letter != 0 && tag.letter != 'O';
    named += !tag.label.empty();
  }
  // Broken lines are errors to report, not a reason to take the file for plain text.
  if (10 * good < 9 * rows || rows == 0) return 2 * good > rows && named > 0 ? likely : no;
  if (entities > 0) return blank > 0 || layout.tabs ? certain : likely;
  return blank > 0 && good == rows ? likely : possible;
}

/// One sentence while its lines arrive.
struct Sentence {
  Document document{.annotated = true};
  std::vector<Line> lines;              // of each token
  std::vector<std::string_view> inner;  // tags of a second layer
  std::vector<std::string_view> comments;
};

class ColumnReader {
 public:
  explicit ColumnReader(const Source& source) : source_(source), decoder_(source) {
    std::vector<std::string_view> sample;
    for_each_line(source.text, [&](const Line& line) {
      if (sample.size() < 5000) sample.push_back(line.text);
    });
    layout_ = survey(sample);
    const ReadOptions& o = source.options;
    const std::string& path = source.corpus.path;
    if (layout_.columns < 2 && o.tag_column.empty())
      throw DataError(path + ": one column only; a column format needs a token and a tag on each line");
    if (!o.token_column.empty()) layout_.token = column_option("token", o.token_column, layout_.columns, path);
    if (!o.tag_column.empty()) layout_.tags = {column_option("tag", o.tag_column, layout_.columns, path)};
    if (!layout_.prefix.empty())
      source.report(Severity::note, 0, 0, "every token begins with " + in_quotes(layout_.prefix) + ": cut off");
    untyped_ = untyped(sample, layout_);
    if (untyped_)
      source.report(Severity::note, 0, 0, "no tag has a type: every entity is read as " + std::string(only_type));
    if (layout_.characters)
      source.report(Severity::note, 0, 0, "every token is one character: read without blanks between them");
  }

  void read() {
    for_each_line(source_.text, [&](const Line& line) { take(line); });
    finish();
    decoder_.finish();
  }

 private:
  void take(const Line& line) {
    if (is_blank(line.text)) return finish();
    if (is_document_mark(line.text)) return finish();
    split(line.text, layout_.tabs, columns_);
    if (sentence_.lines.empty() && is_comment(line.text, columns_, layout_)) {
      if (sentence_.comments.empty()) sentence_.document.line = line.number;
      sentence_.comments.push_back(line.text);
      return;
    }
    if (columns_.size() != layout_.columns)
      return source_.error(line, 0,
                           count_of(columns_.size(), "column") + ", expected " + std::to_string(layout_.columns));
    std::string_view token = columns_[layout_.token];
    if (token.starts_with(layout_.prefix)) token.remove_prefix(layout_.prefix.size());
    if (token.empty()) return source_.error(line, 0, "the token is empty");
    for (const std::size_t column : layout_.tags)
      if (!is_tag(columns_[column]))
        return source_.error(line, static_cast<std::size_t>(columns_[column].data() - line.text.data()),
                             in_quotes(columns_[column]) + " is not a tag: expected O, B-LABEL or I-LABEL");
    add(line, token);
  }

  void add(const Line& line, std::string_view token) {
    Document& document = sentence_.document;
    if (sentence_.lines.empty() && sentence_.comments.empty()) document.line = line.number;
    if (!layout_.tiles && !sentence_.lines.empty()) document.text += ' ';
    const std::size_t begin = document.text.size();
    document.text += layout_.tiles && is_underscore_space(columns_) ? " " : token;
    document.tokens.push_back({begin, document.text.size()});
    std::string& tag = document.tags.emplace_back(columns_[layout_.tags.front()]);
    if (untyped_ && parse_tag(tag).letter != 'O') tag += "-" + std::string(only_type);
    if (layout_.tags.size() > 1) sentence_.inner.push_back(columns_[layout_.tags[1]]);
    sentence_.lines.push_back(line);
  }

  void finish() {
    if (sentence_.lines.empty()) {
      sentence_ = {};
      return;
    }
    Document& document = sentence_.document;
    decoder_.decode(document, std::vector<std::string_view>(document.tags.begin(), document.tags.end()),
                    sentence_.lines);
    if (!sentence_.inner.empty()) decoder_.decode(document, sentence_.inner, sentence_.lines);
    sort_spans(document.spans);
    document.id = id();
    source_.corpus.documents.push_back(std::move(document));
    sentence_ = {};
  }

  /// A name in the comments before a sentence: KLUE's `## id<TAB>inline`, KMOU's `## 1`, CoNLL-U's `# sent_id = x`.
  std::string id() const {
    for (auto comment = sentence_.comments.rbegin(); comment != sentence_.comments.rend(); ++comment) {
      std::string_view rest = comment->substr(std::min(comment->find_first_not_of("#; "), comment->size()));
      if (rest.starts_with("sent_id = ")) return std::string(rest.substr(10));
      if (const std::size_t tab = rest.find('\t'); tab != std::string_view::npos)
        return std::string(rest.substr(0, tab));
      if (is_number(rest)) return std::string(rest);
    }
    return {};
  }

  const Source& source_;
  static constexpr std::string_view only_type = "ENTITY";

  Layout layout_;
  bool untyped_ = false;
  Columns columns_;
  Sentence sentence_;
  TagDecoder decoder_;
};

void read(const Source& source) { ColumnReader(source).read(); }

std::vector<ByteRange> units_of(const Document& document, TokenUnit unit) {
  if (unit == TokenUnit::given && !document.tokens.empty()) return document.tokens;
  if (unit != TokenUnit::character) return words(document.text);
  std::vector<ByteRange> units;
  for (const CodePoint& c : characters(document.text)) units.push_back(c.bytes);
  return units;
}

/// Counts the texts that the reader will not put together again, as it sees tokens and not what stood between them.
class BlankCheck {
 public:
  void see(const Document& document, const std::vector<ByteRange>& units) {
    for (const ByteRange& unit : units) {
      const std::string_view token = slice(document.text, unit);
      ascii_ = ascii_ && is_ascii(token);
      tiles_ = tiles_ || token == " ";
      characters_ = characters_ && is_one_character(token);
    }
    if (units.empty()) return;  // reported on its own
    count(document, units, "", tiling_);
    count(document, units, " ", spaced_);
  }

  void report(const Sink& sink) const {
    const bool tiling = tiles_ || (characters_ && !ascii_);
    const Changed& changed = tiling ? tiling_ : spaced_;
    if (changed.texts > 0)
      sink.diagnostics.push_back({Severity::warning, sink.source, changed.first_line, 0,
                                  count_of(changed.texts, "text") +
                                      " will read back with other blanks, of which this is the first: " +
                                      (tiling ? "as spaces are tokens, none is put between the others"
                                              : "one stands between tokens; characters as tokens keep all")});
  }

 private:
  struct Changed {
    std::size_t texts = 0, first_line = 0;
  };
  static void count(const Document& document, const std::vector<ByteRange>& units, std::string_view between,
                    Changed& changed) {
    std::string again;
    for (const ByteRange& unit : units) {
      if (unit.begin != units.front().begin) again += between;
      again += slice(document.text, unit);
    }
    if (again != document.text && changed.texts++ == 0) changed.first_line = document.line;
  }

  bool tiles_ = false, characters_ = true, ascii_ = true;
  Changed tiling_, spaced_;
};

void write(const Sink& sink, std::span<const Document> documents) {
  const TagSet tags(span_labels(documents), sink.options.scheme);
  for (const std::string& label : tags.labels())
    if (label.find_first_of("\t\n\r") != std::string::npos)
      sink.refuse({}, "the label " + in_quotes(label) + " holds a tab or line end");
  std::size_t empty = 0, left_out = 0;
  const std::size_t before = sink.diagnostics.size();
  BlankCheck blanks;
  for (const Document& document : documents) {
    const std::vector<ByteRange> units = units_of(document, sink.options.unit);
    empty += units.empty();
    blanks.see(document, units);
    const std::vector<Span> spans = sink.flat_spans(document);
    const TaggedUnits tagged = tag_units(units, spans, tags, sink.options.align);
    const auto report = [&](const std::vector<std::size_t>& which, const char* what) {
      for (const std::size_t i : which)
        sink.warn(document, in_quotes(slice(document.text, spans[i])) + " " + spans[i].label + what);
    };
    left_out += tagged.misaligned.size();
    report(tagged.misaligned, " does not end where tokens end: left out");
    report(tagged.overlapping, " shares a token with another annotation: left out");
    report(tagged.moved, sink.options.align == Align::expand ? " does not end where tokens end: widened to them"
                                                             : " does not end where tokens end: narrowed to them");
    for (std::size_t i = 0; i < units.size(); ++i) {
      const std::string_view token = slice(document.text, units[i]);
      if (token.find_first_of("\t\n\r") != std::string_view::npos)
        sink.refuse(document, "a token is or holds a tab or line end");
      if (is_document_mark(token))
        sink.refuse(document, in_quotes(token) + " would read as the mark between documents, not as a token");
      sink.to << token << '\t' << tags.name(std::max(tagged.tags[i], 0)) << '\n';
    }
    sink.to << '\n';
  }
  const std::size_t details = sink.diagnostics.size();
  if (left_out > 1)
    sink.diagnostics.push_back({Severity::warning, sink.source, 0, 0,
                                std::to_string(left_out) +
                                    " annotations in all end inside tokens and are left out; characters as tokens keep "
                                    "them, or say how to align them"});
  blanks.report(sink);
  if (empty > 0)
    sink.diagnostics.push_back({Severity::warning, sink.source, 0, 0,
                                count_of(empty, "document") + " without a token: the format cannot hold them"});
  // What holds for the whole file comes first: the rest may be a warning for every text.
  const auto at = [&](std::size_t i) { return sink.diagnostics.begin() + static_cast<std::ptrdiff_t>(i); };
  std::rotate(at(before), at(details), sink.diagnostics.end());
}

}  // namespace

const Format conll{"conll", "a token and its tags a line: CoNLL, KLUE, KMOU, ...", true, false, detect, read, write};

}  // namespace bib::formats
