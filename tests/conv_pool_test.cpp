// The fused op against its formula, and against the unfused path that it replaces.
#include "tests/reference.h"

namespace bib::test {
namespace {

int positions(const ConvPoolForward& op, int b) { return std::max(1, op.lengths[b] + 2 * op.pad - op.w.dim(0) + 1); }

/// The sum at position p, before bias and ReLU.
double activation(const ConvPoolForward& op, int b, int f, int p) {
  double sum = 0;
  for (int w = 0; w < op.w.dim(0); ++w) {
    const int t = p + w - op.pad;
    if (t < 0 || t >= op.lengths[b]) continue;
    const int id = op.table ? op.ids[t][b] : 0;
    for (int c = 0; c < op.w.dim(1) && id >= 0; ++c)
      sum += double(op.table ? op.table[id][c] : op.x[t][b][c]) * double(op.w[w][c][f]);
  }
  return sum;
}

TEST(ConvPool, equals_its_formula) {
  for_each_run<ConvPoolForward>([](const ConvPoolForward& op, double tolerance, const ConvPoolForward& before) {
    std::vector<double> y(before.y.data, before.y.data + before.y.size());
    for (int b = 0; b < op.y.dim(0); ++b)
      for (int f = 0; f < op.b.dim(0); ++f) {
        double best = -INFINITY;
        for (int p = 0; p < positions(op, b); ++p) best = std::max(best, activation(op, b, f, p));
        const double value = std::max(0.0, best + double(op.b[f]));
        y[static_cast<std::size_t>(b) * op.y.dim(1) + op.column + f] = value;
        const int at = op.where[b][f];
        ASSERT_LT(at, positions(op, b));
        if (at >= 0) {
          EXPECT_NEAR(activation(op, b, f, at), best, tolerance * (1 + std::abs(best)));
        } else {
          EXPECT_LE(value, tolerance);
        }
      }
    expect_near(op.y, y, tolerance, "y");
  });
}

/// Full-length sequences: where both paths are defined.
ConvPoolForward full_length(Maker& m, int T, int B, int C, int W, int F, int pad) {
  const auto lengths = m.zeros<int>({B});
  for (int b = 0; b < B; ++b) lengths[b] = T;
  return {.x = m.uniform({T, B, C}),
          .lengths = lengths,
          .w = m.uniform({W, C, F}),
          .b = m.uniform({F}),
          .y = m.output({B, F}),
          .where = m.output<int>({B, F}),
          .pad = pad};
}

/// Small integers: minimal filtering adds other terms than the formula does, but here nothing is rounded, so y and the
/// earliest of equal positions agree to the last bit. Lengths around groups of 4 positions and blocks of 72.
TEST(ConvPool, equals_its_formula_exactly_for_every_window_and_length) {
  Maker m(test_seed(), true);
  for (int W = 1; W <= 9; ++W) {
    const std::vector<int> lengths{0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 70, 71, 72, 73, 74, 80, 151};
    ConvPoolForward op = full_length(m, 151, static_cast<int>(lengths.size()), 3, W, 5, W / 2);
    const auto filled = m.zeros<int>({static_cast<int>(lengths.size())});
    std::copy(lengths.begin(), lengths.end(), filled.data);
    op.lengths = filled;
    m.run(op);
    for (int b = 0; b < op.y.dim(0); ++b)
      for (int f = 0; f < op.b.dim(0); ++f) {
        int at = 0;
        for (int p = 1; p < positions(op, b); ++p)
          if (activation(op, b, f, p) > activation(op, b, f, at)) at = p;
        const double y = activation(op, b, f, at) + op.b[f];
        ASSERT_EQ(op.y[b][f], std::max(0.0, y)) << "window " << W << ", length " << lengths[b];
        ASSERT_EQ(op.where[b][f], y > 0 ? at : -1) << "window " << W << ", length " << lengths[b];
      }
  }
}

TEST(ConvPool, gives_the_same_bits_with_packed_filters) {
  Maker m;
  ConvPoolForward op = m.run(full_length(m, 23, 6, 8, 3, 70, 1));
  const std::vector<real> y(op.y.data, op.y.data + op.y.size());
  const auto packed = pack_conv_pool(m.cpu(), op.w);
  op.packed = packed.get();
  std::fill_n(op.y.data, op.y.size(), real(-1));
  m.run(op);
  EXPECT_EQ(std::vector<real>(op.y.data, op.y.data + op.y.size()), y);
  const auto foreign = pack_conv_pool(m.cpu(), m.uniform({3, 8, 71}));
  op.packed = foreign.get();
  EXPECT_THROW(m.run(op), std::invalid_argument);
}

TEST(ConvPool, equals_conv1d_relu_and_max_pool_forward_and_backward) {
  Maker m(test_seed(), true);  // small integers: sums are exact, so both paths agree to the last bit
  const int T = 23, B = 6, C = 8, W = 3, F = 70, pad = 1, P = T + 2 * pad - W + 1;
  const ConvPoolForward fused = m.run(full_length(m, T, B, C, W, F, pad));
  const auto conv =
      m.run(Conv1dForward{.x = fused.x, .w = fused.w, .b = fused.b, .y = m.output({P, B, F}), .pad = pad});
  const auto all = m.zeros<int>({B});
  for (int b = 0; b < B; ++b) all[b] = P;
  const auto pool =
      m.run(MaxPoolForward{.x = conv.y, .lengths = all, .y = m.output({B, F}), .where = m.output<int>({B, F})});
  for (int b = 0; b < B; ++b)
    for (int f = 0; f < F; ++f) {
      const bool cut = pool.y[b][f] <= 0;
      ASSERT_EQ(fused.y[b][f], cut ? 0 : pool.y[b][f]);
      ASSERT_EQ(fused.where[b][f], cut ? -1 : pool.where[b][f]);
    }

  const auto d_y = m.uniform({B, F});
  const auto fused_back = m.run(ConvPoolBackward{.x = fused.x,
                                                 .lengths = fused.lengths,
                                                 .w = fused.w,
                                                 .where = fused.where,
                                                 .d_y = d_y,
                                                 .d_x = m.output(fused.x.shape),
                                                 .d_w = m.zeros(fused.w.shape),
                                                 .d_b = m.zeros({F}),
                                                 .pad = pad});
  const auto pool_back = m.run(MaxPoolBackward{.where = fused.where, .d_y = d_y, .d_x = m.output({P, B, F})});
  const auto conv_back = m.run(Conv1dBackward{.x = fused.x,
                                              .w = fused.w,
                                              .d_y = pool_back.d_x,
                                              .d_x = m.output(fused.x.shape),
                                              .d_w = m.zeros(fused.w.shape),
                                              .d_b = m.zeros({F}),
                                              .pad = pad});
  EXPECT_EQ(download(m.cpu(), fused_back.d_x), download(m.cpu(), conv_back.d_x));
  EXPECT_EQ(download(m.cpu(), fused_back.d_w), download(m.cpu(), conv_back.d_w));
  EXPECT_EQ(download(m.cpu(), fused_back.d_b), download(m.cpu(), conv_back.d_b));
}

TEST(ConvPool, takes_x_or_a_table) {
  Maker m;
  ConvPoolForward op = full_length(m, 9, 2, 3, 2, 5, 0);
  op.table = m.uniform({4, 3});
  op.ids = m.ints({9, 2}, 0, 3);
  EXPECT_THROW(m.run(op), std::invalid_argument);
  op.x = {};
  m.run(op);
}

TEST(ConvPool, ties_go_to_the_earliest_position) {
  Maker m;
  ConvPoolForward op = full_length(m, 17, 1, 1, 1, 1, 0);
  const auto x = m.zeros({17, 1, 1}), w = m.values<real>({1, 1, 1}, {2});
  for (int t : {4, 5, 16}) x[t][0][0] = 3;
  op.x = x;
  op.w = w;
  m.run(op);
  EXPECT_EQ(op.where[0][0], 4);
}

TEST(ConvPool, weights_that_are_nan_do_not_vanish) {
  Maker m;
  ConvPoolForward op = full_length(m, 9, 2, 3, 2, 5, 0);
  const auto w = m.uniform({2, 3, 5});
  w[0][1][3] = std::numeric_limits<real>::quiet_NaN();
  op.w = w;
  m.run(op);
  for (int b = 0; b < 2; ++b)
    for (int f = 0; f < 5; ++f) EXPECT_EQ(std::isnan(op.y[b][f]), f == 3);
}

TEST(ConvPool, where_may_be_left_out) {
  Maker m;
  ConvPoolForward op = full_length(m, 9, 2, 3, 2, 5, 1), alone = op;
  alone.where = {};
  alone.y = m.output(op.y.shape);
  m.run(op);
  m.run(alone);
  EXPECT_EQ(download(m.cpu(), alone.y), download(m.cpu(), op.y));
}

}  // namespace
}  // namespace bib::test
