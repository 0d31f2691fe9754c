#include "tests/reference.h"

namespace bib::test {
namespace {

constexpr real infinity = std::numeric_limits<real>::infinity();

struct Weight {
  double value, velocity;

  void step(const SgdHyper& h, double g) {
    velocity = h.momentum * velocity + g + h.weight_decay * value;
    value -= h.lr * velocity;
  }
};

TEST(SgdStep, equals_its_formula) {
  for_each_run<SgdStep>([](const SgdStep& op, double tolerance, const SgdStep& before) {
    std::vector<double> value, velocity;
    for (int i = 0; i < op.value.dim(0); ++i) {
      Weight w{double(before.value[i]), double(before.velocity[i])};
      w.step(op.hyper, double(op.scale[0]) * double(op.grad[i]));
      value.push_back(w.value), velocity.push_back(w.velocity);
    }
    expect_near(op.value, value, tolerance, "value");
    expect_near(op.velocity, velocity, tolerance, "velocity");
  });
}

TEST(SgdRows, equals_its_formula_at_the_rows) {
  for_each_run<SgdRows>([](const SgdRows& op, double tolerance, const SgdRows& before) {
    const int E = op.value.dim(1);
    std::vector<double> value(before.value.data, before.value.data + before.value.size());
    for (int u = 0; u < op.rows.dim(0); ++u)
      for (int e = 0; e < E; ++e) {
        const auto i = static_cast<std::size_t>(op.rows[u]) * E + e;
        Weight w{value[i], double(before.velocity.data[i])};
        w.step(op.hyper, double(op.scale[0]) * row_gradient(op, u, e));
        value[i] = w.value;
      }
    expect_near(op.value, value, tolerance, "value");
  });
}

TEST(SgdStep, forbidden_weight_stays_at_minus_infinity) {
  for (float weight_decay : {0.0f, 0.1f}) {
    Maker m;
    const SgdStep op{.grad = m.zeros({37}),
                     .scale = m.values<real>({1}, {1}),
                     .value = m.zeros({37}),
                     .velocity = m.zeros({37}),
                     .hyper = {.momentum = 0.9f, .weight_decay = weight_decay}};
    for (int i = 0; i < 37; i += 2) op.value[i] = -infinity;
    for (int step = 0; step < 3; ++step) m.run(op);
    for (int i = 0; i < 37; ++i) EXPECT_EQ(op.value[i], i % 2 ? 0 : -infinity) << i;
    for (int i = 0; i < 37; ++i) EXPECT_EQ(op.velocity[i], 0) << i;
  }
}

}  // namespace
}  // namespace bib::test
