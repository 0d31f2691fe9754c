#include <gmock/gmock.h>

#include "tests/reference.h"

namespace bib::test {
namespace {

constexpr real infinity = std::numeric_limits<real>::infinity();

/// One weight after one step, by the formula of bib/ops/adam.h.
struct Weight {
  double value, m, v;

  void step(const AdamHyper& h, double g) {
    const double beta1 = h.beta1, beta2 = h.beta2;
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    const double m_hat = m / (1 - std::pow(beta1, h.step)), v_hat = v / (1 - std::pow(beta2, h.step));
    value -= h.lr * (m_hat / (std::sqrt(v_hat) + h.epsilon) + h.weight_decay * value);
  }
};

TEST(AdamStep, equals_its_formula) {
  for_each_run<AdamStep>([](const AdamStep& op, double tolerance, const AdamStep& before) {
    std::vector<double> value, m, v;
    for (int i = 0; i < op.value.dim(0); ++i) {
      Weight w{double(before.value[i]), double(before.m[i]), double(before.v[i])};
      w.step(op.hyper, double(op.scale[0]) * double(op.grad[i]));
      value.push_back(w.value), m.push_back(w.m), v.push_back(w.v);
    }
    expect_near(op.value, value, tolerance, "value");
    expect_near(op.m, m, tolerance, "m");
    expect_near(op.v, v, tolerance, "v");
  });
}

TEST(AdamRows, equals_its_formula_after_decaying_the_moments_of_rows_that_slept) {
  for_each_run<AdamRows>([](const AdamRows& op, double tolerance, const AdamRows& before) {
    const int E = op.value.dim(1);
    std::vector<double> value(before.value.data, before.value.data + before.value.size());
    std::vector<double> m(before.m.data, before.m.data + before.m.size());
    std::vector<double> v(before.v.data, before.v.data + before.v.size());
    for (int u = 0; u < op.rows.dim(0); ++u) {
      const int row = op.rows[u], slept = op.hyper.step - 1 - before.last_step[row];
      for (int e = 0; e < E; ++e) {
        const auto i = static_cast<std::size_t>(row) * E + e;
        Weight w{value[i], m[i] * std::pow(op.hyper.beta1, slept), v[i] * std::pow(op.hyper.beta2, slept)};
        w.step(op.hyper, double(op.scale[0]) * row_gradient(op, u, e));
        value[i] = w.value, m[i] = w.m, v[i] = w.v;
      }
      EXPECT_EQ(op.last_step[row], op.hyper.step);
    }
    expect_near(op.value, value, tolerance, "value");
    expect_near(op.m, m, tolerance, "m");
    expect_near(op.v, v, tolerance, "v");
  });
}

TEST(AdamRows, moments_equal_those_of_dense_adam_with_gradient_zero_in_between) {
  Maker m;
  const int V = 6, E = 5, steps = 12;
  const auto one = m.values<real>({1}, {1});
  const auto value = m.uniform({V, E}), dense_value = m.uniform({V, E});
  const auto m1 = m.zeros({V, E}), v1 = m.zeros({V, E}), m2 = m.zeros({V, E}), v2 = m.zeros({V, E});
  const auto last_step = m.zeros<int>({V});
  for (int step = 1; step <= steps; ++step) {
    const int U = step == steps ? V : 1 + step % 3;  // the last step touches all, so that all are caught up
    const auto rows = m.unique(U, V);
    const auto d_rows = m.uniform({U, E});
    const auto grad = m.zeros({V * E});
    for (int u = 0; u < U; ++u) std::copy_n(d_rows[u].data, E, grad.data + rows[u] * E);
    const AdamHyper hyper{.beta1 = 0.7f, .beta2 = 0.9f, .step = step};
    m.run(AdamRows{.rows = rows,
                   .d_rows = d_rows,
                   .scale = one,
                   .value = value,
                   .m = m1,
                   .v = v1,
                   .last_step = last_step,
                   .hyper = hyper});
    m.run(
        AdamStep{grad, one, dense_value.reshaped<1>({V * E}), m2.reshaped<1>({V * E}), v2.reshaped<1>({V * E}), hyper});
  }
  const double tolerance = 30 * static_cast<double>(std::numeric_limits<real>::epsilon());
  expect_near(m1, std::vector<double>(m2.data, m2.data + m2.size()), tolerance, "m");
  expect_near(v1, std::vector<double>(v2.data, v2.data + v2.size()), tolerance, "v");
}

TEST(AdamRows, takes_the_gradient_or_what_it_is_the_sum_of) {
  Maker m;
  AdamRows op = Samples<AdamRows>::make(m, Samples<AdamRows>::shapes[4]);
  const auto refused = [&](const std::string& why) {
    EXPECT_THAT([&] { m.run(op); }, testing::ThrowsMessage<std::invalid_argument>(why));
  };
  op.column = 8;  // 13 columns from there are one more than there are
  refused("adam_rows: column block exceeds d_y");
  op.d_rows = m.uniform({op.rows.dim(0), op.value.dim(1)});
  refused("adam_rows: d_rows and d_y cannot both be given");
}

TEST(AdamStep, forbidden_weight_stays_at_minus_infinity) {
  for (float weight_decay : {0.0f, 0.1f}) {
    Maker m;
    const AdamStep op{.grad = m.zeros({37}),
                      .scale = m.values<real>({1}, {1}),
                      .value = m.zeros({37}),
                      .m = m.zeros({37}),
                      .v = m.zeros({37}),
                      .hyper = {.weight_decay = weight_decay}};
    for (int i = 0; i < 37; i += 2) op.value[i] = -infinity;
    m.run(op);
    for (int i = 0; i < 37; ++i) EXPECT_EQ(op.value[i], i % 2 ? 0 : -infinity) << i;
    for (int i = 0; i < 37; ++i) EXPECT_EQ(op.m[i], 0) << i;
  }
}

TEST(AdamStep, moments_that_fade_reach_zero) {
  Maker m;
  const real tiny = std::numeric_limits<real>::min();
  const AdamStep op{.grad = m.zeros({33}),
                    .scale = m.values<real>({1}, {1}),
                    .value = m.zeros({33}),
                    .m = m.zeros({33}),
                    .v = m.zeros({33})};
  for (int i = 0; i < 33; ++i) op.m[i] = op.v[i] = tiny;
  m.run(op);
  for (int i = 0; i < 33; ++i) EXPECT_EQ(op.m[i], 0) << "denormals make every further step slow";
}

}  // namespace
}  // namespace bib::test
