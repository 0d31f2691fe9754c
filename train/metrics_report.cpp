#include "train/metrics_report.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdio>

#include "models/text.h"

namespace bib {

namespace {

template <typename... Args>
std::string format(const char* pattern, Args... args) {
  std::string text(static_cast<std::size_t>(std::snprintf(nullptr, 0, pattern, args...)), '\0');
  std::snprintf(text.data(), text.size() + 1, pattern, args...);
  return text;
}

std::string percent(double fraction) { return format("%.2f", 100 * fraction); }

/// Columns on a terminal: Hangul takes two.
std::size_t width_of(const std::string& text) {
  std::size_t width = 0;
  for (const CodePoint& c : decode(text)) {
    width += static_cast<std::size_t>(std::max(0, utf8proc_charwidth(static_cast<utf8proc_int32_t>(c.value))));
  }
  return width;
}

/// First column to the left, the others to the right, two blanks between.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width_of(row[c]));
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string fill(widths[c] - width_of(row[c]), ' ');
      const bool last = c + 1 == row.size();
      if (c == 0) {
        text += row[c] + (last ? "" : fill);
      } else {
        text += "  " + fill + row[c];
      }
    }
    text += '\n';
  }
  return text;
}

std::vector<std::string> row_of(const std::string& name, const Average& average) {
  return {name, percent(average.precision), percent(average.recall), percent(average.f1)};
}

std::vector<std::string> row_of(const std::string& name, const Score& score) {
  return {name,
          percent(score.precision()),
          percent(score.recall()),
          percent(score.f1()),
          std::to_string(score.gold),
          std::to_string(score.found),
          std::to_string(score.correct)};
}

std::string score_table(const char* what, const ScoreByLabel& labels) {
  std::vector<std::vector<std::string>> rows = {{what, "precision", "recall", "F1", "gold", "found", "correct"}};
  for (const auto& [label, score] : labels) rows.push_back(row_of(label, score));
  return table(rows);
}

std::string average_table(const Score& micro, const Average& macro, const Average& weighted) {
  return table({{"average", "precision", "recall", "F1"},
                {"micro", percent(micro.precision()), percent(micro.recall()), percent(micro.f1())},
                row_of("macro", macro),
                row_of("weighted", weighted)});
}

std::string interval_text(const char* of, const std::optional<Interval>& interval) {
  if (!interval) return "";
  return std::string("95 % interval of ") + of + ": " + percent(interval->low) + " to " + percent(interval->high) +
         "\n";
}

std::string calibration_text(const std::optional<Calibration>& calibration) {
  if (!calibration) return "";
  std::vector<std::vector<std::string>> rows = {{"probability", "answers", "mean", "right"}};
  const auto add = [&](const std::string& name, const ReliabilityBin& bin) {
    rows.push_back({name, std::to_string(bin.answers), percent(bin.mean_probability()), percent(bin.share_right())});
  };
  for (const ReliabilityBin& bin : calibration->bins)
    if (bin.answers > 0) add(format("%.1f to %.1f", bin.low, bin.high), bin);
  add("all", calibration->all);
  return "\n" + table(rows) + "expected calibration error: " + percent(calibration->ece) +
         format("; Brier score: %.4f\n", calibration->brier);
}

std::string confusion_text(const Confusion& confusion) {
  std::vector<std::vector<std::string>> rows = {{"gold \\ predicted"}};
  rows[0].insert(rows[0].end(), confusion.labels.begin(), confusion.labels.end());
  for (std::size_t g = 0; g < confusion.labels.size(); ++g) {
    auto& row = rows.emplace_back(1, confusion.labels[g]);
    for (const std::size_t count : confusion.counts[g]) row.push_back(count ? std::to_string(count) : ".");
  }
  return table(rows);
}

/// The arithmetic of conlleval.pl, in percent and in its order of operations, so that the last digit is its own too.
struct ConllevalRates {
  explicit ConllevalRates(const Score& s) {
    if (s.found) precision = 100.0 * static_cast<double>(s.correct) / static_cast<double>(s.found);
    if (s.gold) recall = 100.0 * static_cast<double>(s.correct) / static_cast<double>(s.gold);
    if (precision + recall > 0) f1 = 2 * precision * recall / (precision + recall);
  }
  double precision = 0, recall = 0, f1 = 0;
};

}  // namespace

std::string conlleval_text(const NerScores& s) {
  std::string text = format("processed %zu tokens with %zu phrases; found: %zu phrases; correct: %zu.\n", s.tokens,
                            s.micro.gold, s.micro.found, s.micro.correct);
  const ConllevalRates all(s.micro);
  if (s.tokens > 0) {
    text += format("accuracy: %6.2f%%; precision: %6.2f%%; recall: %6.2f%%; FB1: %6.2f\n",
                   100.0 * static_cast<double>(s.tokens_correct) / static_cast<double>(s.tokens), all.precision,
                   all.recall, all.f1);
  }
  for (const auto& [type, score] : s.types) {
    const ConllevalRates rates(score);
    text += format("%17s: precision: %6.2f%%; recall: %6.2f%%; FB1: %6.2f  %zu\n", type.c_str(), rates.precision,
                   rates.recall, rates.f1, score.found);
  }
  return text;
}

std::map<SpanErrorKind, std::size_t> count_kinds(const NerScores& scores) {
  std::map<SpanErrorKind, std::size_t> kinds;
  for (const SpanError& error : scores.errors) ++kinds[error.kind];
  return kinds;
}

std::string report_text(const NerScores& s) {
  std::string text;
  if (s.mode == NerMode::conll) {
    text = conlleval_text(s) + "\n";
  } else {
    text = score_table("type", s.types) + "\n";
  }
  text += average_table(s.micro, s.macro, s.weighted) + "\n";
  if (s.mode != NerMode::conll && s.tokens > 0) {
    text += std::string(s.characters ? "character" : "token") + " accuracy: " + percent(s.accuracy()) + "\n";
  }
  if (s.character_macro_f1) text += "character macro F1: " + percent(*s.character_macro_f1) + "\n";
  text += interval_text(s.mode == NerMode::klue ? "macro F1" : "micro F1", s.f1_interval);
  const auto kinds = count_kinds(s);
  text += kinds.empty() ? "no mistakes" : "mistakes: ";
  bool first = true;
  for (const auto& [kind, count] : kinds) {
    text += (first ? "" : ", ") + std::to_string(count) + " " + name_of(kind);
    first = false;
  }
  return text + "\n" + calibration_text(s.calibration);
}

std::string report_text(const TcScores& s) {
  constexpr std::size_t widest = 25;  // classes: a wider matrix is unreadable on a terminal
  std::string text = score_table("class", s.labels) + "\n" + average_table(s.micro, s.macro, s.weighted) + "\n";
  if (!s.confusion.labels.empty() && s.confusion.labels.size() <= widest) text += confusion_text(s.confusion) + "\n";
  text += std::string(s.multi_label ? "subset accuracy: " : "accuracy: ") + percent(s.accuracy()) + " (" +
          std::to_string(s.exact) + " of " + std::to_string(s.documents) + ")\n";
  return text + interval_text("accuracy", s.accuracy_interval) + interval_text("macro F1", s.f1_interval) +
         calibration_text(s.calibration);
}

std::map<std::string, double> figures(const NerScores& s) {
  const bool klue = s.mode == NerMode::klue;
  std::map<std::string, double> all = {{"f1", s.f1()},
                                       {"precision", klue ? s.macro.precision : s.micro.precision()},
                                       {"recall", klue ? s.macro.recall : s.micro.recall()},
                                       {"accuracy", s.accuracy()},
                                       {"micro-f1", s.micro.f1()},
                                       {"macro-f1", s.macro.f1},
                                       {"weighted-f1", s.weighted.f1}};
  if (s.character_macro_f1) all["char-f1"] = *s.character_macro_f1;
  return all;
}

std::map<std::string, double> figures(const TcScores& s) {
  return {{"f1", s.f1()},
          {"precision", s.macro.precision},
          {"recall", s.macro.recall},
          {"accuracy", s.accuracy()},
          {"micro-f1", s.micro.f1()},
          {"macro-f1", s.macro.f1},
          {"weighted-f1", s.weighted.f1}};
}

}  // namespace bib
