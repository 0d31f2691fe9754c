#include "tests/reference.h"

namespace bib::test {
namespace {

constexpr real infinity = std::numeric_limits<real>::infinity();
constexpr real nan = std::numeric_limits<real>::quiet_NaN();

TEST(SoftmaxLoss, equals_its_formula) {
  for_each_run<SoftmaxLoss>([](const SoftmaxLoss& op, double tolerance, const SoftmaxLoss&) {
    std::vector<double> loss;
    for (int b = 0; b < op.scores.dim(0); ++b) {
      double sum = 0;
      for (int k = 0; k < op.scores.dim(1); ++k) sum += std::exp(double(op.scores[b][k]));
      loss.push_back(double(op.weight[b]) * (std::log(sum) - double(op.scores[b][op.labels[b]])));
    }
    expect_near(op.loss, loss, tolerance, "loss");
  });
}

TEST(SoftmaxLoss, large_and_infinite_scores_stay_finite) {
  Maker m;
  const SoftmaxLoss op{.scores = m.values<real>({3, 3}, {1e4, -1e4, 0, -1e4, 1e4, 0, 1, 1, -infinity}),
                       .labels = m.values<int>({3}, {0, 0, 1}),
                       .weight = m.values<real>({3}, {1, 1, 1}),
                       .loss = m.output({3}),
                       .d_scores = m.output({3, 3})};
  m.run(op);
  EXPECT_EQ(op.loss[0], 0);
  EXPECT_EQ(op.loss[1], 2e4);
  EXPECT_NEAR(op.loss[2], std::log(2.0), 1e-6);
  EXPECT_EQ(download(m.cpu(), op.d_scores), (std::vector<real>{0, 0, 0, -1, 1, 0, real(0.5), real(-0.5), 0}));
}

TEST(SoftmaxLoss, score_that_is_nan_gives_a_loss_that_is_nan) {
  Maker m;
  for (int at = 0; at < 3; ++at) {
    const auto scores = m.uniform({1, 3});
    scores[0][at] = nan;
    const SoftmaxLoss op{
        .scores = scores, .labels = m.values<int>({1}, {1}), .weight = m.values<real>({1}, {1}), .loss = m.output({1})};
    m.run(op);
    EXPECT_TRUE(std::isnan(op.loss[0])) << at;
  }
}

TEST(SigmoidLoss, equals_its_formula) {
  for_each_run<SigmoidLoss>([](const SigmoidLoss& op, double tolerance, const SigmoidLoss&) {
    std::vector<double> loss;
    for (int b = 0; b < op.scores.dim(0); ++b) {
      double sum = 0;
      for (int k = 0; k < op.scores.dim(1); ++k) {
        const double s = static_cast<double>(op.scores[b][k]);
        sum += double(op.class_weight[k]) * (std::log1p(std::exp(s)) - double(op.targets[b][k]) * s);
      }
      loss.push_back(double(op.weight[b]) * sum);
    }
    expect_near(op.loss, loss, tolerance, "loss");
  });
}

TEST(SigmoidLoss, large_scores_stay_finite) {
  Maker m;
  const SigmoidLoss op{.scores = m.values<real>({2, 2}, {1e4, -1e4, 1e4, -1e4}),
                       .targets = m.values<real>({2, 2}, {1, 0, 0, 1}),
                       .weight = m.values<real>({2}, {1, 1}),
                       .class_weight = m.values<real>({2}, {1, 1}),
                       .loss = m.output({2}),
                       .d_scores = m.output({2, 2})};
  m.run(op);
  EXPECT_EQ(download(m.cpu(), op.loss), (std::vector<real>{0, 2e4}));
  EXPECT_EQ(download(m.cpu(), op.d_scores), (std::vector<real>{0, 0, 1, -1}));
}

TEST(Softmax, rows_sum_to_one_in_the_order_of_the_scores) {
  for_each_run<Softmax>([](const Softmax& op, double tolerance, const Softmax&) {
    std::vector<double> p;
    for (int b = 0; b < op.scores.dim(0); ++b) {
      double sum = 0;
      for (int k = 0; k < op.scores.dim(1); ++k) sum += std::exp(double(op.scores[b][k]));
      for (int k = 0; k < op.scores.dim(1); ++k) p.push_back(std::exp(double(op.scores[b][k])) / sum);
    }
    expect_near(op.probability, p, tolerance, "probability");
  });
}

TEST(Sigmoid, equals_its_formula_from_end_to_end) {
  for_each_run<Sigmoid>([](const Sigmoid& op, double, const Sigmoid&) {
    for (std::int64_t i = 0; i < op.scores.size(); ++i) {
      const double expected = 1 / (1 + std::exp(-double(op.scores.data[i])));
      EXPECT_NEAR(op.probability.data[i], expected, 1e-6 * expected);  // relative: small probabilities count too
    }
  });
  Maker m;
  const auto op =
      m.run(Sigmoid{.scores = m.values<real>({1, 3}, {-infinity, 0, infinity}), .probability = m.output({1, 3})});
  EXPECT_EQ(download(m.cpu(), op.probability), (std::vector<real>{0, real(0.5), 1}));
}

}  // namespace
}  // namespace bib::test
