// The parts of the metrics that entities and classes share: averages and the bootstrap.
#include "train/metrics.h"

#include <algorithm>
#include <cmath>

#include "bib/random.h"

namespace bib {

Score& Score::operator+=(const Score& other) {
  gold += other.gold;
  found += other.found;
  correct += other.correct;
  return *this;
}

Score micro_total(const ScoreByLabel& labels) {
  Score total;
  for (const auto& [label, score] : labels) total += score;
  return total;
}

namespace {

template <typename Weight>
Average weighted_mean(const ScoreByLabel& labels, Weight weight) {
  Average mean;
  double total = 0;
  for (const auto& [label, score] : labels) {
    const double w = weight(score);
    mean.precision += w * score.precision();
    mean.recall += w * score.recall();
    mean.f1 += w * score.f1();
    total += w;
  }
  if (total == 0) return {};
  return {mean.precision / total, mean.recall / total, mean.f1 / total};
}

}  // namespace

Average macro_average(const ScoreByLabel& labels) {
  return weighted_mean(labels, [](const Score&) { return 1.0; });
}

Average weighted_average(const ScoreByLabel& labels) {
  return weighted_mean(labels, [](const Score& score) { return static_cast<double>(score.gold); });
}

std::optional<Interval> bootstrap_interval(std::size_t items, Bootstrap how,
                                           const std::function<double(const std::vector<std::uint32_t>&)>& statistic) {
  if (items == 0 || how.resamples <= 0) return std::nullopt;
  std::vector<double> values;
  std::vector<std::uint32_t> sample(items);
  for (int r = 0; r < how.resamples; ++r) {
    const RandomKey key{.seed = how.seed, .step = static_cast<std::uint32_t>(r), .stream = 0};
    for (std::size_t i = 0; i < items; i += 4) {
      const auto words = philox(key, i / 4);
      for (std::size_t j = i; j < std::min(i + 4, items); ++j) {
        // Multiply and shift maps 32 random bits to 0..items-1; the bias is below items / 2^32.
        sample[j] = static_cast<std::uint32_t>((std::uint64_t{words[j - i]} * items) >> 32);
      }
    }
    values.push_back(statistic(sample));
  }
  std::sort(values.begin(), values.end());
  const auto rank = [&](double quantile) {
    return values[static_cast<std::size_t>(std::lround(quantile * static_cast<double>(values.size() - 1)))];
  };
  return Interval{rank(0.025), rank(0.975)};
}

}  // namespace bib
