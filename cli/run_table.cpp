#include "cli/run_table.h"

#include <algorithm>
#include <cmath>

#include "models/number.h"

namespace bib::cli {
namespace {

std::string right(const std::string& text, std::size_t width) {
  const auto letters = std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
  return std::string(width - std::min(width, static_cast<std::size_t>(letters)), ' ') + text;
}

/// "85.60 ± 0.57"
std::string spread_text(const std::vector<double>& values, int digits) {
  if (values.empty()) return "-";
  const Spread spread = spread_of(values);
  return fixed_text(spread.mean, digits) + (spread.deviation ? " ± " + fixed_text(*spread.deviation, digits) : "");
}

std::string row(const std::string& name, const std::string& score, const std::string& epoch, const std::string& time) {
  return name + right(score, 26 - std::min<std::size_t>(25, name.size())) + right(epoch, 7) + right(time, 18);
}

}  // namespace

Spread spread_of(const std::vector<double>& values) {
  Spread spread;
  for (const double v : values) spread.mean += v / static_cast<double>(values.size());
  double squares = 0;
  for (const double v : values) squares += (v - spread.mean) * (v - spread.mean);
  if (values.size() > 1) spread.deviation = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return spread;
}

std::string run_table(const std::string& what, const std::string& metric, const std::vector<FinishedRun>& runs,
                      std::optional<std::size_t> kept) {
  std::vector<double> scores, seconds;
  std::string table = row(what, metric, "epoch", "seconds") + "\n";
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const FinishedRun& run = runs[i];
    scores.push_back(100 * run.score);
    if (run.seconds) seconds.push_back(*run.seconds);
    table += row(run.name, fixed_text(scores.back(), 2), std::to_string(run.epoch),
                 run.seconds ? fixed_text(*run.seconds, 1) : "-") +
             (i == kept ? "  kept\n" : "\n");
  }
  return table + row("mean", spread_text(scores, 2), "", spread_text(seconds, 1)) + "\n";
}

}  // namespace bib::cli
