// Classes against gold: one class a document, or any number of them.
#include <algorithm>
#include <set>

#include "train/metrics.h"

namespace bib {

namespace {

using Labels = std::vector<std::string>;

Labels sorted_unique(const Labels& labels) {
  const std::set<std::string> set(labels.begin(), labels.end());
  return {set.begin(), set.end()};
}

struct Pair {
  Labels gold, predicted;  // sorted, without repetition
  bool exact() const { return gold == predicted; }
};

std::vector<Pair> paired(const std::vector<Document>& gold, const std::vector<Document>& predicted) {
  if (gold.size() != predicted.size()) {
    throw DataError("gold has " + std::to_string(gold.size()) + " documents, the prediction has " +
                    std::to_string(predicted.size()));
  }
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    if (!gold[i].annotated) {
      throw DataError("gold document " + std::to_string(i + 1) + " (line " + std::to_string(gold[i].line) +
                      ") has no class: evaluation needs annotated documents");
    }
    pairs.push_back({sorted_unique(gold[i].labels), sorted_unique(predicted[i].labels)});
  }
  return pairs;
}

void count(ScoreByLabel& labels, const Pair& pair) {
  for (const std::string& label : pair.gold) {
    Score& score = labels[label];
    ++score.gold;
    score.correct += std::binary_search(pair.predicted.begin(), pair.predicted.end(), label);
  }
  for (const std::string& label : pair.predicted) ++labels[label].found;
}

Confusion confusion_of(const std::vector<Pair>& pairs, const ScoreByLabel& labels) {
  Confusion confusion;
  std::map<std::string, std::size_t> index;
  for (const auto& [label, score] : labels) {
    index[label] = confusion.labels.size();
    confusion.labels.push_back(label);
  }
  confusion.counts.assign(labels.size(), std::vector<std::size_t>(labels.size()));
  for (const Pair& pair : pairs) ++confusion.counts[index[pair.gold[0]]][index[pair.predicted[0]]];
  return confusion;
}

}  // namespace

TcScores evaluate_tc(const std::vector<Document>& gold, const std::vector<Document>& predicted, Bootstrap bootstrap) {
  const std::vector<Pair> pairs = paired(gold, predicted);
  TcScores scores;
  scores.documents = pairs.size();
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const Pair& pair = pairs[i];
    scores.multi_label |= pair.gold.size() != 1 || pair.predicted.size() != 1;
    scores.exact += pair.exact();
    count(scores.labels, pair);
    if (!pair.exact()) scores.errors.push_back({i, pair.gold, pair.predicted});
  }
  scores.micro = micro_total(scores.labels);
  scores.macro = macro_average(scores.labels);
  scores.weighted = weighted_average(scores.labels);
  if (!scores.multi_label) scores.confusion = confusion_of(pairs, scores.labels);

  std::map<std::string, std::size_t> index;
  for (const auto& [label, score] : scores.labels) index.emplace(label, index.size());
  struct Counts {
    std::vector<std::pair<std::size_t, Score>> labels;
    bool exact;
  };
  std::vector<Counts> by_document;
  for (const Pair& pair : pairs) {
    ScoreByLabel labels;
    count(labels, pair);
    Counts counts{{}, pair.exact()};
    for (const auto& [label, score] : labels) counts.labels.emplace_back(index[label], score);
    by_document.push_back(std::move(counts));
  }
  scores.accuracy_interval = bootstrap_interval(pairs.size(), bootstrap, [&](const std::vector<std::uint32_t>& sample) {
    std::size_t right = 0;
    for (const std::uint32_t i : sample) right += by_document[i].exact;
    return static_cast<double>(right) / static_cast<double>(sample.size());
  });
  scores.f1_interval = bootstrap_interval(pairs.size(), bootstrap, [&](const std::vector<std::uint32_t>& sample) {
    std::vector<Score> sums(index.size());
    for (const std::uint32_t i : sample) {
      for (const auto& [label, score] : by_document[i].labels) sums[label] += score;
    }
    double f1 = 0;
    std::size_t seen = 0;
    for (const Score& score : sums) {
      f1 += score.f1();
      seen += score.gold + score.found > 0;
    }
    return seen ? f1 / static_cast<double>(seen) : 0;
  });
  return scores;
}

}  // namespace bib
