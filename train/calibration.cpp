#include "train/calibration.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "bib/error.h"

namespace bib {

namespace {

constexpr std::size_t bin_count = 10;

void require_scores(const Document& document, std::size_t index, std::size_t answers, const char* what) {
  const auto is_probability = [](double score) { return score >= 0 && score <= 1; };  // false for NaN
  if (document.scores.size() == answers && std::all_of(document.scores.begin(), document.scores.end(), is_probability))
    return;
  throw DataError(
      "prediction " + std::to_string(index + 1) +
      (document.line > 0 ? " (line " + std::to_string(document.line) + ")" : "") + " has " + what +
      " without a probability (\"score\", 0 to 1); calibration needs those of 'bib predict --format jsonl'");
}

}  // namespace

Calibration calibration_of(std::span<const Judged> answers) {
  Calibration c;
  for (std::size_t i = 0; i < bin_count; ++i)
    c.bins.push_back({.low = static_cast<double>(i) / bin_count, .high = static_cast<double>(i + 1) / bin_count});
  for (const Judged& answer : answers) {
    const auto bin = static_cast<std::size_t>(answer.probability * bin_count);
    for (ReliabilityBin* into : {&c.all, &c.bins[std::min(bin, bin_count - 1)]}) {
      ++into->answers;
      into->right += answer.right;
      into->sum += answer.probability;
    }
    const double off = answer.probability - (answer.right ? 1 : 0);
    c.brier += off * off / static_cast<double>(answers.size());
  }
  for (const ReliabilityBin& bin : c.bins)
    if (bin.answers > 0)
      c.ece += std::abs(bin.sum - static_cast<double>(bin.right)) / static_cast<double>(answers.size());
  return c;
}

std::vector<Judged> judge_entities(const std::vector<std::vector<Span>>& gold, const std::vector<Document>& predicted) {
  std::vector<Judged> judged;
  for (std::size_t d = 0; d < predicted.size(); ++d) {
    const Document& document = predicted[d];
    require_scores(document, d, document.spans.size(), "an entity");
    for (std::size_t i = 0; i < document.spans.size(); ++i) {
      const bool right = std::find(gold[d].begin(), gold[d].end(), document.spans[i]) != gold[d].end();
      judged.push_back({document.scores[i], right});
    }
  }
  return judged;
}

std::vector<Judged> judge_classes(const std::vector<Document>& gold, const std::vector<Document>& predicted) {
  std::vector<Judged> judged;
  for (std::size_t d = 0; d < predicted.size(); ++d) {
    const Document& document = predicted[d];
    const std::vector<std::string>& truth = gold[d].labels;
    require_scores(document, d, document.labels.size(), "a class");
    for (std::size_t i = 0; i < document.labels.size(); ++i) {
      const bool right = std::find(truth.begin(), truth.end(), document.labels[i]) != truth.end();
      judged.push_back({document.scores[i], right});
    }
  }
  return judged;
}

}  // namespace bib
