// Lists of quoted strings, one a line: `['text','','','class','']`. The first string is the text, the rest are slots of
// which exactly one holds the class's name; a list of one string is a text without a class. A name in another class's
// slot is noted: the name decides.
#include <algorithm>
#include <map>
#include <ostream>

#include "train/formats/format.h"

namespace bib::formats {
namespace {

constexpr std::size_t npos = std::string_view::npos;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = static_cast<char>(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// Reads one line's list; on failure `at` is the byte and `problem` says what is wrong there.
class ListParser {
 public:
  explicit ListParser(std::string_view line) : line_(line) {}

  bool parse() {
    skip_blanks();
    if (!take('[')) return fail("expected '['");
    skip_blanks();
    if (!take(']')) {
      do {
        skip_blanks();
        if (peek() == ']' && !items.empty()) break;  // a trailing comma is Python's too
        if (!string()) return false;
        skip_blanks();
      } while (take(','));
      if (!take(']')) return fail("expected ',' or ']'");
    }
    skip_blanks();
    return at == line_.size() || fail("something follows the list");
  }

  std::vector<std::string> items;
  std::vector<std::size_t> starts;
  std::size_t at = 0;
  const char* problem = "";

 private:
  bool fail(const char* what) {
    problem = what;
    return false;
  }
  char peek() const { return at < line_.size() ? line_[at] : '\0'; }
  bool take(char c) { return at < line_.size() && line_[at] == c ? ++at, true : false; }
  void skip_blanks() {
    while (peek() == ' ' || peek() == '\t') ++at;
  }

  bool string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return fail("expected a quoted string");
    starts.push_back(at++);
    std::string& out = items.emplace_back();
    const char stops[] = {quote, '\\', '\0'};
    for (;;) {
      const std::size_t stop = line_.find_first_of(stops, at);
      if (stop == npos) {
        at = starts.back();
        return fail("the string that begins here has no end");
      }
      out.append(line_.substr(at, stop - at));
      at = stop + 1;
      if (line_[stop] == quote) return true;
      if (!escape(out)) return false;
    }
  }

  bool escape(std::string& out) {
    const char c = peek();
    if (at >= line_.size()) return fail("a backslash ends the line");
    ++at;
    switch (c) {
      case 'n': out += '\n'; return true;
      case 't': out += '\t'; return true;
      case 'r': out += '\r'; return true;
      case '\\':
      case '\'':
      case '"': out += c; return true;
      case 'x': return code(2, out);
      case 'u': return code(4, out);
      case 'U': return code(8, out);
      default:
        out += '\\';
        out += c;
        return true;  // as Python does
    }
  }

  bool code(int digits, std::string& out) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const int digit = hex_digit(peek());
      if (digit < 0) return fail("an escape with too few hexadecimal digits");
      value = value << 4 | static_cast<char32_t>(digit);
      ++at;
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return fail("an escape that is no character");
    append_utf8(out, value);
    return true;
  }

  std::string_view line_;
};

/// The class each slot mostly holds, and a note for every name elsewhere.
void note_foreign_slots(const Source& source, const std::vector<std::size_t>& slots) {
  std::map<std::size_t, std::map<std::string, std::size_t>> counts;
  const auto& documents = source.corpus.documents;
  for (std::size_t i = 0; i < documents.size(); ++i)
    if (slots[i] > 0) ++counts[slots[i]][documents[i].labels[0]];
  std::map<std::size_t, std::string> owner;
  for (const auto& [slot, names] : counts)
    owner[slot] = std::max_element(names.begin(), names.end(), [](const auto& a, const auto& b) {
                    return a.second < b.second;
                  })->first;
  for (std::size_t i = 0; i < documents.size(); ++i)
    if (slots[i] > 0 && documents[i].labels[0] != owner[slots[i]])
      source.report(Severity::note, documents[i].line, 0,
                    "class " + in_quotes(documents[i].labels[0]) + " stands in the slot of " +
                        in_quotes(owner[slots[i]]) + ": the name decides");
}

Likelihood detect(const Sample& sample) {
  if (sample.filled.empty()) return no;
  std::size_t lists = 0;
  for (const std::string_view line : sample.filled) {
    ListParser list(line);
    lists += list.parse() && !list.items.empty();
  }
  return lists == sample.filled.size() ? certain : 2 * lists > sample.filled.size() ? likely : no;
}

void read(const Source& source) {
  std::vector<std::size_t> slots;  // of each document's class, 0: none
  for_each_line(source.text, [&](const Line& line) {
    if (line.text.empty()) return source.warn(line, 0, "blank line: skipped");
    ListParser list(line.text);
    if (!list.parse()) return source.error(line, list.at, list.problem);
    if (list.items.empty()) return source.error(line, 0, "the list is empty: no text");
    Document document{.text = std::move(list.items[0]), .annotated = list.items.size() > 1, .line = line.number};
    std::size_t slot = 0;
    for (std::size_t i = 1; i < list.items.size(); ++i) {
      if (list.items[i].empty()) continue;
      document.labels.push_back(std::move(list.items[i]));
      slot = document.labels.size() == 1 ? i : 0;
    }
    if (document.annotated && document.labels.empty())
      source.warn(line, 0, "no slot holds a class: read as a text without classes");
    slots.push_back(slot);
    source.corpus.documents.push_back(std::move(document));
  });
  note_foreign_slots(source, slots);
}

std::string literal(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else
      out += c;
  }
  return out + "'";
}

void write(const Sink& sink, std::span<const Document> documents) {
  std::map<std::string, std::size_t> slot;
  for (const Document& document : documents)
    for (const std::string& label : document.labels) slot[label] = 0;
  std::size_t next = 0;
  for (auto& [label, at] : slot) at = next++;
  for (const Document& document : documents) {
    std::vector<std::string> fields(slot.size());
    for (const std::string& label : document.labels) fields[slot[label]] = label;
    sink.to << '[' << literal(document.text);
    for (const std::string& field : fields) sink.to << ',' << literal(field);
    sink.to << "]\n";
  }
}

}  // namespace

const Format tc_list{"list", "lists of quoted strings, ['text','','class',...]", false, true, detect, read, write};

}  // namespace bib::formats
