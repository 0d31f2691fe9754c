// Every op that has gradients, every sample, in double: central differences of the loss  sum_i r_i y_i,  r random.
#include <algorithm>

#include "tests/op_test.h"

namespace bib::test {
namespace {

static_assert(std::is_same_v<real, double>, "central differences need double: link bib_double");

constexpr double step = 1e-5;                   // truncation ~ step^2, rounding ~ 1e-16 / step
constexpr double relative = 1e-6;               // of |gradient| + its rms
constexpr double rounding = 1e-16 / step * 10;  // of the loss' terms
constexpr double work = 1e6;                    // elements touched per input: bounds the coordinates of large samples

template <class Op>
class Gradients : public ::testing::Test {};
TYPED_TEST_SUITE(Gradients, DifferentiableTypes, OpName);

struct Loss {
  double value = 0, terms = 0;  // sum r y, sum |r y|
};

template <class Op, class Weights>
Loss loss_of(Context& ctx, Op& op, const Weights& weights) {
  run(ctx, op);
  Loss loss;
  const auto add = [&](const auto& y, const auto& r) {
    for (std::int64_t i = 0; i < y.size(); ++i) {
      loss.value += static_cast<double>(y.data[i]) * static_cast<double>(r.data[i]);
      loss.terms += std::abs(static_cast<double>(y.data[i]) * static_cast<double>(r.data[i]));
    }
  };
  std::apply([&](const auto&... y) { std::apply([&](const auto&... r) { (add(y, r), ...); }, weights); },
             Gradient<Op>::outputs(op));
  return loss;
}

template <class Op>
double elements(const Op& op) {
  double n = 1;
  for_each_operand(op, [&](auto& v, int) { n += static_cast<double>(v.size()); });
  return n;
}

/// Differences along up to 200 random coordinates of one input against the gradient.
template <class Op, class V, class G, class Weights>
Worst check_input(Context& ctx, Op& op, const V& input, const G& gradient, int index, const Weights& weights) {
  const std::vector<double> analytic(gradient.data, gradient.data + gradient.size());
  EXPECT_EQ(gradient.shape, input.shape) << "gradient " << index;
  const double rms = root_mean_square(analytic);
  const auto budget = static_cast<std::int64_t>(std::clamp(work / elements(op), 8.0, 200.0));
  auto* data = const_cast<real*>(input.data);  // made by a Maker, which owns it as mutable
  Worst worst;
  for (std::int64_t k = 0; k < std::min(budget, input.size()); ++k) {
    const RandomKey key{.seed = test_seed(), .stream = 5000u + static_cast<unsigned>(index)};
    const std::int64_t i = budget >= input.size() ? k : random_word(key, k) % input.size();
    const real x = data[i];
    if (!std::isfinite(static_cast<double>(x))) {  // a forbidden transition: its gradient is exactly 0
      EXPECT_EQ(analytic[i], 0) << "input " << index << ", element " << i << " is not finite";
      continue;
    }
    data[i] = static_cast<real>(x + step);
    const Loss up = loss_of(ctx, op, weights);
    data[i] = static_cast<real>(x - step);
    const Loss down = loss_of(ctx, op, weights);
    data[i] = x;
    const double numeric = (up.value - down.value) / (2 * step);
    const double allowed = relative * (std::abs(analytic[i]) + rms) + rounding * up.terms;
    worst.take({.fraction = error_fraction(analytic[i], numeric, allowed),
                .operand = index,
                .element = i,
                .got = analytic[i],
                .expected = numeric,
                .allowed = allowed});
  }
  return worst;
}

TYPED_TEST(Gradients, equal_central_differences) {
  using Pair = Gradient<TypeParam>;
  Context ctx;
  Worst worst;
  for_each_shape<TypeParam>(ctx, false, [&](Maker& m, TypeParam op, const auto&) {
    run(ctx, op);
    const auto weights =
        std::apply([&](const auto&... y) { return std::tuple{m.uniform(y.shape)...}; }, Pair::outputs(op));
    const auto gradients = std::apply([&](const auto&... r) { return Pair::gradients(m, op, r...); }, weights);
    int index = 0;
    const auto check = [&](const auto& input, const auto& gradient) {
      const Worst found = check_input(ctx, op, input, gradient, index++, weights);
      EXPECT_TRUE(found.ok()) << "input " << found.text();
      worst.take(found);
    };
    std::apply([&](const auto&... x) { std::apply([&](const auto&... g) { (check(x, g), ...); }, gradients); },
               Pair::inputs(op));
  });
  report("central differences", TypeParam::name, worst);
}

}  // namespace
}  // namespace bib::test
