// Inline annotation: `<서울:LC>에 <<손:AM>바닥:AM>`. A `<` that no `:TAG>` closes is text, and so is a `>` without a
// tag before it; such a pair is a pair of ordinary brackets, as in `<<로이터> 통신:OG>`. A tag is capital letters,
// digits, _ and -, and begins with a letter, after the last colon: `<어벤져스: 엔드게임:POH>`. A bracket behind a
// backslash is text whatever it stands in: `\<서울:LC\>`. Backslashes that are text themselves are doubled before a
// bracket, and nowhere else.
#include "train/formats/inline.h"

#include <algorithm>
#include <ostream>

#include "train/formats/format.h"

namespace bib::formats {
namespace {

bool is_tag_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; }

bool is_tag(std::string_view tag) {
  return !tag.empty() && tag[0] >= 'A' && tag[0] <= 'Z' && std::all_of(tag.begin(), tag.end(), is_tag_letter);
}

/// Where the `:TAG` that ends just before `close` begins; npos if there is none.
std::size_t tag_before(std::string_view line, std::size_t close) {
  std::size_t at = close;
  while (at > 0 && is_tag_letter(line[at - 1])) --at;
  return at > 0 && line[at - 1] == ':' && is_tag(line.substr(at, close - at)) ? at - 1 : std::string_view::npos;
}

/// Of the backslashes that end here.
std::size_t backslashes_before(std::string_view line, std::size_t at) {
  const std::size_t other = line.substr(0, at).find_last_not_of('\\');
  return other == std::string_view::npos ? at : at - other - 1;
}

/// One `<text:TAG>`: positions in the line.
struct Markup {
  std::size_t open, colon, close;
};

/// The markup of a line, in the order of its ends; what its backslashes lose is added to `cuts`.
std::vector<Markup> find_markup(const Source& source, const Line& line, std::vector<ByteRange>& cuts) {
  std::vector<Markup> found;
  std::vector<std::size_t> open;
  for (std::size_t at = line.text.find_first_of("<>"); at != std::string_view::npos;
       at = line.text.find_first_of("<>", at + 1)) {
    const std::size_t backslashes = backslashes_before(line.text, at);
    if (backslashes > 0) cuts.push_back({at - backslashes, at - backslashes / 2});
    if (backslashes % 2 == 1) continue;  // a bracket that is text
    if (line.text[at] == '<') {
      open.push_back(at);
      continue;
    }
    const std::size_t colon = tag_before(line.text, at);
    const bool arrow = at > 0 && (line.text[at - 1] == '-' || line.text[at - 1] == '=');
    if (colon == std::string_view::npos) {
      if (!open.empty() && !arrow) open.pop_back();  // a pair of ordinary brackets
    } else if (open.empty()) {
      source.warn(line, colon, in_quotes(line.text.substr(colon, at + 1 - colon)) + " closes no '<': kept as text");
    } else {
      found.push_back({open.back(), colon, at});
      open.pop_back();
    }
  }
  return found;
}

void read_line(const Source& source, const Line& line) {
  Document document{.annotated = true, .line = line.number};
  std::vector<ByteRange> cuts;  // every one shortens what follows it
  std::vector<Markup> markup = find_markup(source, line, cuts);
  for (const Markup& m : markup) {
    cuts.push_back({m.open, m.open + 1});
    cuts.push_back({m.colon, m.close + 1});
  }
  std::sort(cuts.begin(), cuts.end());
  std::vector<std::size_t> removed{0};  // bytes cut before cut i
  std::size_t at = 0;
  for (const ByteRange& cut : cuts) {
    document.text.append(line.text.substr(at, cut.begin - at));
    at = cut.end;
    removed.push_back(removed.back() + cut.end - cut.begin);
  }
  document.text.append(line.text.substr(at));
  const auto moved = [&](std::size_t from) {
    const auto cut = std::lower_bound(cuts.begin(), cuts.end(), ByteRange{from, 0});
    return from - removed[static_cast<std::size_t>(cut - cuts.begin())];
  };
  // By opening bracket, so that of equal spans the outer comes first.
  std::sort(markup.begin(), markup.end(), [](const Markup& a, const Markup& b) { return a.open < b.open; });
  for (const Markup& m : markup) {
    const Span span{{moved(m.open), moved(m.colon)}, std::string(line.text.substr(m.colon + 1, m.close - m.colon - 1))};
    if (span.begin == span.end)
      source.warn(line, m.open, "an annotation " + span.label + " of no text: left out");
    else
      document.spans.push_back(span);
  }
  sort_spans(document.spans);
  source.corpus.documents.push_back(std::move(document));
}

Likelihood detect(const Sample& sample) {
  std::size_t annotated = 0;
  for (const std::string_view line : sample.filled) {
    if (line.starts_with("## ") || line.starts_with("$<")) return no;  // KLUE, KMOU and 2016klp repeat it in comments
    for (std::size_t at = line.find('>'); at != std::string_view::npos; at = line.find('>', at + 1)) {
      const std::size_t colon = tag_before(line, at);
      if (colon == std::string_view::npos || line.rfind('<', colon) == std::string_view::npos) continue;
      ++annotated;
      break;
    }
  }
  return annotated == 0 ? no : 20 * annotated >= sample.filled.size() ? likely : possible;
}

void read(const Source& source) {
  for_each_line(source.text, [&](const Line& line) { read_line(source, line); });
}

enum class Brackets { bare, escaped };  // those of the text

std::string marked(std::string_view text, std::span<const Span> spans, Brackets brackets) {
  std::string out;
  std::vector<const Span*> open;
  std::size_t at = 0;
  const auto double_backslashes = [&] {
    if (brackets == Brackets::escaped) out.append(backslashes_before(out, out.size()), '\\');
  };
  const auto copy_to = [&](std::size_t end) {
    for (; at < end; ++at) {
      if (brackets == Brackets::escaped && (text[at] == '<' || text[at] == '>')) double_backslashes(), out += '\\';
      out += text[at];
    }
  };
  const auto close_until = [&](std::size_t limit) {
    while (!open.empty() && open.back()->end <= limit) {
      copy_to(open.back()->end);
      out += ":" + open.back()->label + ">";
      open.pop_back();
    }
  };
  for (const Span& span : spans) {
    close_until(span.begin);
    copy_to(span.begin);
    double_backslashes();
    out += "<";
    open.push_back(&span);
  }
  close_until(text.size());
  copy_to(text.size());
  return out;
}

bool reads_as(std::string_view line, std::string_view text, std::span<const Span> spans) {
  Corpus corpus;
  read_line({line, ReadOptions{}, corpus}, {line, 1});
  return corpus.documents[0].text == text && std::ranges::equal(corpus.documents[0].spans, spans);
}

/// Spans that nest are written nested; of spans that cross, the longer.
std::vector<Span> nesting_spans(const Sink& sink, const Document& document) {
  if (sink.options.nested != Nested::all) return sink.flat_spans(document);
  std::vector<Span> kept;
  std::vector<std::size_t> ends;
  for (const Span& span : document.spans) {
    while (!ends.empty() && ends.back() <= span.begin) ends.pop_back();
    if (!ends.empty() && ends.back() < span.end) {
      sink.warn(document, "left out " + in_quotes(slice(document.text, span)) + " " + span.label +
                              ": it crosses another annotation");
      continue;
    }
    ends.push_back(span.end);
    kept.push_back(span);
  }
  return kept;
}

void write(const Sink& sink, std::span<const Document> documents) {
  for (const Document& document : documents) {
    const std::vector<Span> spans = nesting_spans(sink, document);
    for (const Span& span : spans)
      if (!is_tag(span.label))
        sink.refuse(document,
                    "its tags are capital letters, digits, _ and -, which " + in_quotes(span.label) + " is not");
    const std::string line = to_inline(document.text, spans);
    if (line.ends_with('\r') || line.find('\n') != std::string::npos) sink.refuse_line_ends(document);
    sink.to << line << '\n';
  }
}

}  // namespace

std::string to_inline(std::string_view text, std::span<const Span> spans) {
  const std::string line = marked(text, spans, Brackets::bare);
  if (text.find_first_of("<>\\") == std::string_view::npos || reads_as(line, text, spans)) return line;
  return marked(text, spans, Brackets::escaped);
}

const Format inline_ner{"inline", "inline annotation, <text:TAG>", true, false, detect, read, write};

}  // namespace bib::formats
