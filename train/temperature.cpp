#include "train/temperature.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "bib/apart.h"
namespace bib {

namespace {

constexpr double hottest = 4;  // and 1 / hottest is the coldest
constexpr double deviation = 0.5;
constexpr int steps = 14;  // leave 2 log(4) 0.618^14 of the range of log T: T within 0.3 %
constexpr std::size_t most_documents = 2000;

}  // namespace

Temperature best_temperature(const std::function<double(double)>& nll, std::size_t examples) {
  const auto at = [&](double log_t) {
    return nll(std::exp(-log_t)) + log_t * log_t / (2 * deviation * deviation * static_cast<double>(examples));
  };
  constexpr double shrink = 1 / std::numbers::phi;
  double low = -std::log(hottest), high = std::log(hottest);
  double left = high - shrink * (high - low), right = low + shrink * (high - low);
  double at_left = at(left), at_right = at(right);
  for (int i = 0; i < steps; ++i) {
    if (at_left <= at_right) {
      high = right;
      right = left;
      at_right = at_left;
      left = high - shrink * (high - low);
      at_left = at(left);
    } else {
      low = left;
      left = right;
      at_left = at_right;
      right = low + shrink * (high - low);
      at_right = at(right);
    }
  }
  const double found = (low + high) / 2, before = nll(1), after = nll(std::exp(-found));
  return after < before ? Temperature{std::exp(found), before, after} : Temperature{1, before, before};
}

View<real, 1> times(Context& ctx, std::vector<real> values, real factor) {
  for (real& x : values) x *= factor;
  return upload<real, 1>(ctx, values, {static_cast<int>(values.size())});
}

Temperature best_temperature(Context& ctx, const ScoredBatches& data) {
  std::vector<std::vector<real>> scores(static_cast<std::size_t>(data.batches));
  each_apart(ctx, data.batches,
             [&](Context& one, int g) { scores[static_cast<std::size_t>(g)] = data.scores(one, g); });
  const auto nll = [&](double inverse) {
    std::vector<double> sums(scores.size());
    each_apart(ctx, data.batches, [&](Context& one, int g) {
      const auto i = static_cast<std::size_t>(g);
      for (real loss : download(one, data.loss(one, g, scores[i], static_cast<real>(inverse))))
        sums[i] += static_cast<double>(loss);
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(data.examples);
  };
  return data.examples > 0 ? best_temperature(nll, data.examples) : Temperature{};
}

std::vector<Document> temperature_sample(const std::vector<Document>& dev) {
  const std::size_t every = std::max<std::size_t>(1, (dev.size() + most_documents - 1) / most_documents);
  std::vector<Document> sample;
  for (std::size_t i = 0; i < dev.size(); i += every) sample.push_back(dev[i]);
  return sample;
}

}  // namespace bib
