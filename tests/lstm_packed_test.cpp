// Packed weights, and prediction with integer products, against the op with the weights as they are.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ostream>
#include <string>
#include <vector>

#include "bib/ops.h"
#include "tests/maker.h"

namespace bib::test {
namespace {

struct Shape {
  std::string name;
  int T, B, I, H, D;
};
void PrintTo(const Shape& s, std::ostream* out) { *out << s.name; }

/// One layer with inputs whose columns differ in size, as those of embeddings do.
struct Layer {
  Shape s;
  Maker maker{7};
  View<real, 3> x, w_x, w_h;
  View<real, 2> b;
  std::vector<int> lengths;

  explicit Layer(const Shape& shape) : s(shape) {
    const auto [name, T, B, I, H, D] = s;
    const float a = 1.5f / std::sqrt(static_cast<float>(I)), c = 1.5f / std::sqrt(static_cast<float>(H));
    x = maker.uniform({T, B, I}), w_x = maker.uniform({D, 4 * H, I}, -a, a), w_h = maker.uniform({D, 4 * H, H}, -c, c);
    b = maker.uniform({D, 4 * H});
    for (std::int64_t i = 0; i < x.size(); ++i) x.data[i] *= i % I % 3 == 0 ? real(2) : real(0.5);
    for (int n = 0; n < B; ++n) lengths.push_back(T - n * 5 % (T + 1));
  }

  enum Weights { as_they_are, packed };

  std::vector<real> h(Weights weights, Math math, int threads = 1) { return h(weights, math, threads, x, lengths); }
  std::vector<real> h(Weights weights, Math math, int threads, View<const real, 3> input, std::vector<int> steps) {
    Context ctx({.threads = threads, .math = math});
    const int T = input.dim(0), B = input.dim(1);
    std::vector<real> out(static_cast<std::size_t>(T) * B * s.D * s.H, std::numeric_limits<real>::quiet_NaN());
    const auto ready = weights == packed ? pack_lstm(ctx, w_x, w_h, b) : nullptr;
    run(ctx, LstmForward{.x = input,
                         .lengths = {steps.data(), {B}},
                         .w_x = w_x,
                         .w_h = w_h,
                         .b = b,
                         .h = {out.data(), {T, B, s.D * s.H}},
                         .packed = ready.get()});
    return out;
  }
};

double worst_difference(const std::vector<real>& a, const std::vector<real>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    worst = std::isnan(d) ? d : std::max(worst, d);
    if (std::isnan(d)) return d;
  }
  return worst;
}

class LstmPacked : public testing::TestWithParam<Shape> {};

TEST_P(LstmPacked, GivesTheSameBitsInStrictMath) {
  Layer layer(GetParam());
  for (int threads : {1, 2, 3})
    EXPECT_EQ(layer.h(Layer::packed, Math::strict, threads), layer.h(Layer::as_they_are, Math::strict, threads));
}

// docs/numerics.md states these two bounds.
TEST_P(LstmPacked, IsNearStrictMathInIntegers) {
  Layer layer(GetParam());
  const std::vector<real> exact = layer.h(Layer::as_they_are, Math::strict);
  EXPECT_LT(worst_difference(layer.h(Layer::packed, Math::fast), exact), 4e-3);
  EXPECT_LT(worst_difference(layer.h(Layer::packed, Math::int8), exact), 8e-2);
}

TEST_P(LstmPacked, WithoutPackedWeightsIsStrictInAnyMath) {
  Layer layer(GetParam());
  EXPECT_EQ(layer.h(Layer::as_they_are, Math::int8), layer.h(Layer::as_they_are, Math::strict));
}

TEST_P(LstmPacked, GivesTheSameBitsForAnyThreadCountInIntegers) {
  Layer layer(GetParam());
  for (Math math : {Math::fast, Math::int8})
    for (int threads : {2, 3, 7}) EXPECT_EQ(layer.h(Layer::packed, math, threads), layer.h(Layer::packed, math));
}

TEST_P(LstmPacked, GivesTheSameBitsWithAndWithoutInstructionsForDotProducts) {
  Layer layer(GetParam());
  for (Math math : {Math::fast, Math::int8}) {
    const std::vector<real> with = layer.h(Layer::packed, math);
    ::setenv("BIB_CPU_DOT", "0", 1);
    const std::vector<real> without = layer.h(Layer::packed, math);
    ::unsetenv("BIB_CPU_DOT");
    EXPECT_EQ(with, without);
  }
}

TEST_P(LstmPacked, GivesASentenceTheSameBitsAloneAsInTheBatchInIntegers) {
  Layer layer(GetParam());
  const auto [name, T, B, I, H, D] = layer.s;
  for (Math math : {Math::fast, Math::int8}) {
    const std::vector<real> all = layer.h(Layer::packed, math, 2);
    for (int n = 0; n < B; n += 3) {
      std::vector<real> x, expected;
      for (int t = 0; t < T; ++t) {
        const real* from = layer.x[t][n].data;
        x.insert(x.end(), from, from + I);
        const auto row = all.begin() + (std::ptrdiff_t{t} * B + n) * D * H;
        expected.insert(expected.end(), row, row + D * H);
      }
      EXPECT_EQ(layer.h(Layer::packed, math, 1, {x.data(), {T, 1, I}}, {layer.lengths[n]}), expected) << n;
    }
  }
}

const Shape shapes[] = {
    {"one", 1, 1, 1, 1, 1},           {"one_step", 1, 5, 3, 2, 2},           {"odd", 7, 3, 5, 9, 2},
    {"odd_one_way", 7, 3, 5, 9, 1},   {"full_lanes", 5, 6, 16, 32, 2},       {"deep", 3, 13, 300, 150, 2},
    {"wide_tiles", 4, 40, 70, 65, 2}, {"several_chunks", 40, 30, 20, 24, 2}, {"ner", 60, 8, 184, 160, 2},
};
INSTANTIATE_TEST_SUITE_P(Shapes, LstmPacked, testing::ValuesIn(shapes),
                         [](const auto& shape) { return shape.param.name; });

TEST(LstmPackedWeights, AreForPredictionAndTheirOwnShape) {
  Layer layer({"", 2, 1, 3, 4, 1}), other({"", 2, 1, 3, 5, 1});
  Context ctx({.threads = 1, .math = Math::int8});
  std::vector<real> h(8), gates(32), c(8);
  const auto packed = pack_lstm(ctx, layer.w_x, layer.w_h, layer.b);
  LstmForward op{.x = layer.x,
                 .lengths = {layer.lengths.data(), {1}},
                 .w_x = layer.w_x,
                 .w_h = layer.w_h,
                 .b = layer.b,
                 .h = {h.data(), {2, 1, 4}},
                 .packed = packed.get()};
  run(ctx, op);
  op.gates = {gates.data(), {1, 2, 1, 16}}, op.c = {c.data(), {1, 2, 1, 4}};
  EXPECT_THROW(run(ctx, op), std::invalid_argument);
  op.gates = {}, op.c = {};
  const auto foreign = pack_lstm(ctx, other.w_x, other.w_h, other.b);
  op.packed = foreign.get();
  EXPECT_THROW(run(ctx, op), std::invalid_argument);
}

/// Sums of many products of the largest codes: 32 bits must hold them.
TEST(LstmPackedWeights, DoNotOverflow) {
  Layer layer({"", 3, 2, 2000, 40, 1});
  for (View<real, 3> v : {layer.x, layer.w_x}) std::fill_n(v.data, v.size(), real(0.02));
  const std::vector<real> exact = layer.h(Layer::as_they_are, Math::strict);
  EXPECT_LT(worst_difference(layer.h(Layer::packed, Math::fast), exact), 4e-3);
  EXPECT_LT(worst_difference(layer.h(Layer::packed, Math::int8), exact), 8e-2);
}

}  // namespace
}  // namespace bib::test
