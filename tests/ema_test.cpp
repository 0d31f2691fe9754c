#include "tests/reference.h"

namespace bib::test {
namespace {

constexpr real infinity = std::numeric_limits<real>::infinity();

TEST(EmaStep, equals_its_formula) {
  for_each_run<EmaStep>([](const EmaStep& op, double tolerance, const EmaStep& before) {
    std::vector<double> average;
    const double decay = op.decay;
    for (int i = 0; i < op.value.dim(0); ++i)
      average.push_back(decay * double(before.average[i]) + (1 - decay) * double(op.value[i]));
    expect_near(op.average, average, tolerance, "average");
  });
}

TEST(EmaRows, equals_one_dense_step_after_the_other_while_the_rows_rest) {
  for_each_run<EmaRows>([](const EmaRows& op, double tolerance, const EmaRows& before) {
    const int E = op.value.dim(1);
    const double decay = op.decay;
    std::vector<double> average(before.average.data, before.average.data + before.average.size());
    for (int u = 0; u < op.rows.dim(0); ++u) {
      const int row = op.rows[u];
      for (int e = 0; e < E; ++e) {
        double& a = average[static_cast<std::size_t>(row) * E + e];
        for (int step = before.averaged_step[row]; step < op.step; ++step)
          a = decay * a + (1 - decay) * double(op.value[row][e]);
      }
      EXPECT_EQ(op.averaged_step[row], op.step);
    }
    expect_near(op.average, average, tolerance, "average");
  });
}

TEST(EmaStep, forbidden_weight_stays_at_minus_infinity_whatever_the_decay) {
  for (float decay : {0.0f, 0.9f, 1.0f}) {
    Maker m;
    const auto value = m.zeros({37}), average = m.zeros({37});
    for (int i = 0; i < 37; i += 2) value[i] = average[i] = -infinity;
    m.run(EmaStep{.value = value, .average = average, .decay = decay});
    for (int i = 0; i < 37; ++i) EXPECT_EQ(average[i], i % 2 ? 0 : -infinity) << i;
  }
}

TEST(EmaRows, forbidden_weight_stays_when_the_row_slept_for_ever_or_not_at_all) {
  Maker m;
  const auto value = m.zeros({2, 3}), average = m.zeros({2, 3});
  for (int i = 0; i < 6; i += 2) value.data[i] = average.data[i] = -infinity;
  m.run(EmaRows{.rows = m.values<int>({2}, {0, 1}),
                .value = value,
                .average = average,
                .averaged_step = m.values<int>({2}, {0, 1000000}),
                .decay = 0.9f,
                .step = 1000000});
  for (int i = 0; i < 6; ++i) EXPECT_EQ(average.data[i], i % 2 ? 0 : -infinity) << i;
}

TEST(EmaStep, constant_keeps_its_bits) {
  Maker m;
  const auto value = m.uniform({101});
  const auto average = m.zeros({101});
  std::copy_n(value.data, 101, average.data);
  for (int step = 0; step < 50; ++step) m.run(EmaStep{.value = value, .average = average, .decay = 0.999f});
  EXPECT_EQ(download(m.cpu(), average), download(m.cpu(), value));
}

}  // namespace
}  // namespace bib::test
