#include "train/error_page.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "models/text.h"
#include "train/error_page_assets.h"

namespace bib {

namespace {

/// Text for an element or a quoted attribute. Invalid bytes and control characters, which HTML cannot hold, become
/// U+FFFD; so do the marks that turn the direction of text around them and would let data rewrite what one reads.
std::string escaped(std::string_view text) {
  std::string out;
  for (const CodePoint& c : decode(text)) {
    const bool control = (c.value < 0x20 && c.value != '\t' && c.value != '\n') || (c.value >= 0x7F && c.value < 0xA0);
    const bool direction = (c.value >= 0x202A && c.value <= 0x202E) || (c.value >= 0x2066 && c.value <= 0x2069);
    switch (c.value) {
      case U'&': out += "&amp;"; break;
      case U'<': out += "&lt;"; break;
      case U'>': out += "&gt;"; break;
      case U'"': out += "&quot;"; break;
      case U'\'': out += "&#39;"; break;
      default: append_utf8(out, control || direction ? U'\uFFFD' : c.value);
    }
  }
  return out;
}

std::string percent(double fraction) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", 100 * fraction);
  return text;
}

/// A number for the head of the page, with its interval below where there is one.
struct Figure {
  std::string name, value;
  std::optional<Interval> interval = std::nullopt;
};

struct Kind {
  const char *sign, *name;
  std::size_t count = 0;
};

/// One text with its mistakes.
struct Card {
  std::string heading, body;                       // HTML
  std::vector<std::array<std::size_t, 3>> errors;  // kind, gold label, predicted label
};

/// What both tasks' pages are made of.
struct Page {
  std::string title;
  std::vector<Figure> figures;
  std::vector<Kind> kinds;
  const ScoreByLabel* scores = nullptr;
  const char* label_name = "type";
  const Confusion* confusion = nullptr;
  std::string extra;  // HTML before the texts
  bool surest_first = false;
  std::vector<Card> cards;
  std::size_t texts = 0;  // with a mistake, shown or not
};

std::string heading_html(const Page& page, const ErrorPageOptions& options) {
  const std::string subject = options.gold_name == options.predicted_name
                                  ? "gold and predicted columns of " + escaped(options.gold_name)
                                  : escaped(options.predicted_name) + " against " + escaped(options.gold_name);
  std::string html = "<h1>" + page.title + "</h1>\n<p class=soft>" + subject + "</p>\n<ul class=figures>\n";
  for (const auto& [name, value, interval] : page.figures) {
    html += "<li>" + name + "<b>" + value + "</b>";
    if (interval)
      html += "<span class=soft>95 %: " + percent(interval->low) + " to " + percent(interval->high) + "</span>";
    html += "</li>\n";
  }
  return html + "</ul>\n";
}

std::string scores_html(const Page& page) {
  std::string html = std::string("<h2>By ") + page.label_name + "</h2>\n<div class=wide><table><thead><tr><th>" +
                     page.label_name +
                     "<th>precision<th>recall<th>F1<th>gold<th>found<th>correct</tr></thead><tbody>\n";
  for (const auto& [label, s] : *page.scores) {
    html += "<tr><th>" + escaped(label) + "<td>" + percent(s.precision()) + "<td>" + percent(s.recall()) + "<td>" +
            percent(s.f1()) + "<td>" + std::to_string(s.gold) + "<td>" + std::to_string(s.found) + "<td>" +
            std::to_string(s.correct) + "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string label_html(const std::string& label) { return label.empty() ? "<i>none</i>" : escaped(label); }

/// Cells are shaded by their share of the row; those with mistakes on this page are buttons.
std::string matrix_html(const Page& page) {
  const Confusion& confusion = *page.confusion;
  if (confusion.labels.empty()) return "";
  std::set<std::pair<std::size_t, std::size_t>> with_texts;
  for (const Card& card : page.cards) {
    for (const auto& [kind, gold, predicted] : card.errors) with_texts.emplace(gold, predicted);
  }
  std::string html =
      "<h2>Confusion</h2>\n<p class=soft>Rows are gold, columns are predicted. Press a number to see its texts.</p>\n"
      "<div class=wide><table class=matrix><thead><tr><th>";
  for (const std::string& label : confusion.labels) html += "<th>" + label_html(label);
  html += "</tr></thead><tbody>\n";
  for (std::size_t g = 0; g < confusion.labels.size(); ++g) {
    const auto& row = confusion.counts[g];
    const std::size_t total = std::accumulate(row.begin(), row.end(), std::size_t{0});
    html += "<tr><th>" + label_html(confusion.labels[g]);
    for (std::size_t p = 0; p < row.size(); ++p) {
      if (row[p] == 0) {
        html += "<td>";
        continue;
      }
      const std::string shade = std::to_string(25 + 75 * row[p] / total), number = std::to_string(row[p]);
      html += std::string("<td") + (g == p ? " class=same" : "") + " style=\"background:color-mix(in srgb,var(--" +
              (g == p ? "right" : "wrong") + ") " + shade + "%,transparent)\">";
      if (with_texts.count({g, p}) > 0) {
        html += "<button data-cell=\"" + std::to_string(g) + "," + std::to_string(p) + "\" aria-pressed=false>" +
                number + "</button>";
      } else {
        html += "<span>" + number + "</span>";
      }
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string filters_html(const Page& page, const std::vector<std::string>& labels) {
  std::string html = "<div class=filters hidden>\n";
  for (std::size_t k = 0; k < page.kinds.size(); ++k) {
    const Kind& kind = page.kinds[k];
    if (kind.count == 0) continue;
    html += "<label><input type=checkbox name=kind value=" + std::to_string(k) + " checked> " + kind.sign + " " +
            kind.name + " (" + std::to_string(kind.count) + ")</label>\n";
  }
  html += std::string("<label>") + page.label_name + " <select id=label><option value=\"\">all</option>";
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (!labels[i].empty()) html += "<option value=" + std::to_string(i) + ">" + escaped(labels[i]) + "</option>";
  }
  return html +
         "</select></label>\n<label>text <input type=search id=words></label>\n"
         "<button id=reset>show all</button>\n<span class=soft id=shown aria-live=polite></span>\n</div>\n";
}

std::string card_html(const Page& page, const Card& card) {
  std::string mistakes, kinds;
  std::map<std::size_t, std::size_t> counts;
  for (const auto& [kind, gold, predicted] : card.errors) {
    mistakes += (mistakes.empty() ? "" : " ") + std::to_string(kind) + "," + std::to_string(gold) + "," +
                std::to_string(predicted);
    ++counts[kind];
  }
  for (const auto& [kind, count] : counts) {
    kinds += std::string("<span class=kind>") + page.kinds[kind].sign + " " + page.kinds[kind].name +
             (count > 1 ? " ×" + std::to_string(count) : "") + "</span>";
  }
  return "<article data-e=\"" + mistakes + "\"><header>" + card.heading + kinds + "</header>" + card.body +
         "</article>\n";
}

std::string render(const Page& page, const std::vector<std::string>& labels, const ErrorPageOptions& options) {
  std::string html =
      "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
      "<meta name=viewport content=\"width=device-width,initial-scale=1\">\n"
      "<meta http-equiv=Content-Security-Policy content=\"default-src 'none';style-src 'unsafe-inline';"
      "script-src 'unsafe-inline'\">\n<title>" +
      page.title + "</title>\n<style>" + error_page_assets::style + "</style>\n</head>\n<body>\n";
  html += heading_html(page, options) + scores_html(page) + matrix_html(page) + page.extra;
  html += "<h2>Texts</h2>\n";
  if (page.texts == 0) html += "<p>No mistakes.</p>\n";
  if (page.surest_first)
    html +=
        "<p class=soft>Those of which the model was surest come first: there the annotation is the likeliest to be "
        "wrong.</p>\n";
  if (page.cards.size() < page.texts) {
    html += "<p class=soft>The first " + std::to_string(page.cards.size()) + " of " + std::to_string(page.texts) +
            " texts with mistakes; JSON lines hold them all.</p>\n";
  }
  html += filters_html(page, labels);
  for (const Card& card : page.cards) html += card_html(page, card);
  return html + "<script>" + error_page_assets::script + "</script>\n</body>\n</html>\n";
}

// ---- Entities ----

constexpr const char* signs[] = {"≠", "↔", "⇄", "−", "+"};  // in the order of SpanErrorKind

/// The text with its spans marked; spans are sorted, and one that crosses an earlier one is left to the other mistakes.
class MarkedText {
 public:
  MarkedText(const std::string& text, const std::vector<Span>& spans, const std::map<Span, std::string>& wrong)
      : text_(text), spans_(spans), wrong_(wrong) {}

  std::string html() { return until(0, text_.size()); }

 private:
  std::string until(std::size_t begin, std::size_t end) {
    std::string out;
    while (next_ < spans_.size() && spans_[next_].begin < end) {
      const Span& span = spans_[next_++];
      if (span.end > end || span.begin < begin) continue;
      out += escaped(slice(begin, span.begin));
      const auto sign = wrong_.find(span);
      out += sign == wrong_.end() ? "<mark>" : "<mark class=wrong>";
      out += until(span.begin, span.end);
      out += "<small>" + (sign == wrong_.end() ? "" : sign->second + " ") + escaped(span.label) + "</small></mark>";
      begin = span.end;
    }
    return out + escaped(slice(begin, end));
  }
  std::string_view slice(std::size_t begin, std::size_t end) const {
    return std::string_view(text_).substr(begin, end - begin);
  }

  const std::string& text_;
  const std::vector<Span>& spans_;
  const std::map<Span, std::string>& wrong_;
  std::size_t next_ = 0;
};

std::vector<Span> longest_first(std::vector<Span> spans) {
  std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) {
    return std::tuple(a.begin, b.end, a.label) < std::tuple(b.begin, a.end, b.label);
  });
  return spans;
}

std::size_t index_of(const Confusion& confusion, const std::optional<Span>& span) {
  if (!span) return confusion.labels.size() - 1;
  const auto end = confusion.labels.end() - 1;
  return static_cast<std::size_t>(std::lower_bound(confusion.labels.begin(), end, span->label) -
                                  confusion.labels.begin());
}

std::string position_html(const char* what, std::size_t index, std::size_t line, const FileOf& file_of,
                          std::optional<double> certainty) {
  std::string html = std::string("<span>") + what + " " + std::to_string(index + 1);
  if (file_of) html += ", " + escaped(file_of(index));
  if (line > 0) html += ", line " + std::to_string(line);
  if (certainty) html += ", certainty " + percent(*certainty) + " %";
  return html + "</span>";
}

using ErrorIterator = std::vector<SpanError>::const_iterator;

Card ner_card(const NerScores& scores, const Document& document, const FileOf& file_of, ErrorIterator first,
              ErrorIterator last) {
  const std::size_t i = first->sentence;
  const auto surest =
      std::max_element(first, last, [](const auto& a, const auto& b) { return a.certainty < b.certainty; });
  Card card{
      .heading = position_html("sentence", i, document.line, file_of, surest->certainty), .body = "", .errors = {}};
  std::map<Span, std::string> wrong_gold, wrong_predicted;
  for (; first != last; ++first) {
    const auto kind = static_cast<std::size_t>(first->kind);
    card.errors.push_back(
        {kind, index_of(scores.confusion, first->gold), index_of(scores.confusion, first->predicted)});
    if (first->gold) wrong_gold[*first->gold] = signs[kind];
    if (first->predicted) wrong_predicted[*first->predicted] = signs[kind];
  }
  const std::vector<Span> gold = longest_first(scores.gold[i]), predicted = longest_first(scores.predicted[i]);
  card.body = "<dl><dt>gold<dd>" + MarkedText(document.text, gold, wrong_gold).html() + "<dt>predicted<dd>" +
              MarkedText(document.text, predicted, wrong_predicted).html() + "</dl>";
  return card;
}

/// The mistakes that come back: the same words, the same labels.
std::string frequent_html(const NerScores& scores, const std::vector<Document>& gold) {
  constexpr std::size_t most = 15;
  using Key = std::tuple<SpanErrorKind, std::string, std::string>;
  std::map<Key, std::size_t> counts;
  const auto words = [&](const SpanError& error, const std::optional<Span>& span) {
    if (!span) return std::string("<i>nothing</i>");
    return escaped(gold[error.sentence].text.substr(span->begin, span->end - span->begin)) + " <small>" +
           escaped(span->label) + "</small>";
  };
  for (const SpanError& error : scores.errors) {
    ++counts[{error.kind, words(error, error.gold), words(error, error.predicted)}];
  }
  std::vector<std::pair<std::size_t, Key>> repeated;
  for (const auto& [key, count] : counts) {
    if (count > 1) repeated.emplace_back(count, key);
  }
  if (repeated.empty()) return "";
  std::stable_sort(repeated.begin(), repeated.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  repeated.resize(std::min(repeated.size(), most));
  std::string html =
      "<h2>Mistakes that come back</h2>\n<div class=wide><table><thead><tr><th>kind<th>times<th class=text>gold<th "
      "class=text>predicted"
      "</tr></thead><tbody>\n";
  for (const auto& [count, key] : repeated) {
    const auto& [kind, in_gold, in_prediction] = key;
    html += std::string("<tr><th>") + signs[static_cast<std::size_t>(kind)] + " " + name_of(kind) + "<td>" +
            std::to_string(count) + "<td class=text>" + in_gold + "<td class=text>" + in_prediction + "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

}  // namespace

std::string error_page(const NerScores& scores, const std::vector<Document>& gold, const ErrorPageOptions& options) {
  const bool klue = scores.mode == NerMode::klue;
  Page page{.title = "Entities: mistakes", .figures = {}, .kinds = {}, .scores = &scores.types};
  page.confusion = &scores.confusion;
  page.figures = {{klue ? "macro F1" : "micro F1", percent(scores.f1()), scores.f1_interval},
                  {"precision", percent(klue ? scores.macro.precision : scores.micro.precision())},
                  {"recall", percent(klue ? scores.macro.recall : scores.micro.recall())},
                  {scores.characters ? "character accuracy" : "token accuracy", percent(scores.accuracy())},
                  {"gold", std::to_string(scores.micro.gold)},
                  {"found", std::to_string(scores.micro.found)},
                  {"correct", std::to_string(scores.micro.correct)}};
  for (const auto kind : {SpanErrorKind::wrong_type, SpanErrorKind::wrong_edge, SpanErrorKind::wrong_type_and_edge,
                          SpanErrorKind::missed, SpanErrorKind::spurious}) {
    page.kinds.push_back({signs[static_cast<std::size_t>(kind)], name_of(kind)});
  }
  for (auto first = scores.errors.begin(); first != scores.errors.end();) {
    const auto last = std::find_if(first, scores.errors.end(),
                                   [&](const SpanError& error) { return error.sentence != first->sentence; });
    for (auto error = first; error != last; ++error) ++page.kinds[static_cast<std::size_t>(error->kind)].count;
    if (page.texts++ < options.limit)
      page.cards.push_back(ner_card(scores, gold.at(first->sentence), options.file_of, first, last));
    first = last;
  }
  page.extra = frequent_html(scores, gold);
  page.surest_first = !scores.errors.empty() && scores.errors.front().certainty;
  return render(page, scores.confusion.labels, options);
}

// ---- Classes ----

namespace {

std::string joined(const std::vector<std::string>& labels, const std::vector<std::string>& others) {
  std::string html;
  for (const std::string& label : labels) {
    const bool right = std::find(others.begin(), others.end(), label) != others.end();
    html +=
        std::string(html.empty() ? "" : " ") + (right ? "<mark>" : "<mark class=wrong>") + escaped(label) + "</mark>";
  }
  return html.empty() ? "<i>none</i>" : html;
}

}  // namespace

std::string error_page(const TcScores& scores, const std::vector<Document>& gold, const ErrorPageOptions& options) {
  Page page{.title = "Classes: mistakes", .figures = {}, .kinds = {}, .scores = &scores.labels, .label_name = "class"};
  page.confusion = &scores.confusion;
  page.figures = {
      {scores.multi_label ? "subset accuracy" : "accuracy", percent(scores.accuracy()), scores.accuracy_interval},
      {"macro F1", percent(scores.f1()), scores.f1_interval},
      {"texts", std::to_string(scores.documents)},
      {"correct", std::to_string(scores.exact)}};
  page.kinds = {{"≠", "wrong class"}, {"−", "missed"}, {"+", "spurious"}};
  page.surest_first = !scores.errors.empty() && scores.errors.front().certainty;
  std::vector<std::string> labels;
  std::map<std::string, std::size_t> index;
  for (const auto& [label, score] : scores.labels) {
    index.emplace(label, labels.size());
    labels.push_back(label);
  }
  const std::size_t none = labels.size();
  for (const TcError& error : scores.errors) {
    const Document& document = gold.at(error.document);
    Card card{.heading = position_html("text", error.document, document.line, options.file_of, error.certainty),
              .body = "",
              .errors = {}};
    if (!scores.multi_label) {
      card.errors.push_back({0, index[error.gold[0]], index[error.predicted[0]]});
    } else {
      for (const std::string& label : error.gold) {
        const bool right = std::binary_search(error.predicted.begin(), error.predicted.end(), label);
        if (!right) card.errors.push_back({1, index[label], none});
      }
      for (const std::string& label : error.predicted) {
        const bool right = std::binary_search(error.gold.begin(), error.gold.end(), label);
        if (!right) card.errors.push_back({2, none, index[label]});
      }
    }
    for (const auto& [kind, g, p] : card.errors) ++page.kinds[kind].count;
    card.body = "<dl><dt>text<dd>" + escaped(document.text) + "<dt>gold<dd>" + joined(error.gold, error.predicted) +
                "<dt>predicted<dd>" + joined(error.predicted, error.gold) + "</dl>";
    if (page.texts++ < options.limit) page.cards.push_back(std::move(card));
  }
  return render(page, labels, options);
}

}  // namespace bib
