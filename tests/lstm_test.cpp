// The LSTM against a plain step-by-step reference in double, over shapes that reach every tile and tail.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "bib/ops.h"
#include "bib/random.h"

namespace bib {
namespace {

using Numbers = std::vector<double>;

struct Shape {
  std::string name;
  int T, B, I, H, D;
  bool masked = false;
  std::vector<int> lengths{};  // empty: spread over 0..T
};
void PrintTo(const Shape& s, std::ostream* out) { *out << s.name; }

/// Every operand of both ops as doubles; what the ops compute is compared with what `reference` leaves here.
struct Problem {
  Shape s;
  Numbers x, w_x, w_h, b, mask, d_h;
  std::vector<int> lengths;
  Numbers h, gates, c, d_x, d_w_x, d_w_h, d_b;

  explicit Problem(const Shape& shape) : s(shape), lengths(shape.lengths) {
    std::uint32_t stream = 0;
    const auto fill = [&](int n, double size) {
      Numbers v(static_cast<std::size_t>(n));
      for (int i = 0; i < n; ++i) v[i] = size * (2.0 * random_uniform({.seed = 7, .stream = stream}, i) - 1);
      for (double& value : v) value = static_cast<float>(value);  // the same numbers in the float build
      ++stream;
      return v;
    };
    const int T = s.T, B = s.B, I = s.I, H = s.H, D = s.D;
    x = fill(T * B * I, 1);
    w_x = fill(D * 4 * H * I, 1 / std::sqrt(double(I)));
    w_h = fill(D * 4 * H * H, 1.5 / std::sqrt(double(H)));
    b = fill(D * 4 * H, 0.5);
    d_h = fill(T * B * D * H, 1);
    d_w_x = fill(D * 4 * H * I, 1);  // gradients of parameters are added to what is there
    d_w_h = fill(D * 4 * H * H, 1);
    d_b = fill(D * 4 * H, 1);
    if (s.masked) {
      mask = fill(D * B * H, 1);
      for (double& m : mask) m = m > -0.4 ? static_cast<float>(1 / 0.7) : 0;
    }
    if (lengths.empty())
      for (int n = 0; n < B; ++n) lengths.push_back(T - n * 5 % (T + 1));
  }
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// One sentence, one direction, one step after the other, forth and back: the formulas of bib/ops/lstm.h as they stand.
void reference(Problem& p, int d, int n) {
  const int T = p.s.T, B = p.s.B, I = p.s.I, H = p.s.H, D = p.s.D, length = p.lengths[n];
  const double* w_x = &p.w_x[d * 4 * H * I];
  const double* w_h = &p.w_h[d * 4 * H * H];
  const auto x = [&](int t) { return &p.x[(t * B + n) * I]; };
  const auto h = [&](int t) { return &p.h[(t * B + n) * D * H + d * H]; };
  const auto gates = [&](int t) { return &p.gates[((d * T + t) * B + n) * 4 * H]; };
  const auto c = [&](int t) { return &p.c[((d * T + t) * B + n) * H]; };
  const auto mask = [&](int u) { return p.s.masked ? p.mask[(d * B + n) * H + u] : 1.0; };
  const auto time = [&](int q) { return d == 0 ? q : length - 1 - q; };
  const Numbers zeros(H);

  for (int q = 0; q < length; ++q) {
    const double* h_before = q ? h(time(q - 1)) : zeros.data();
    const double* c_before = q ? c(time(q - 1)) : zeros.data();
    double* y = gates(time(q));
    for (int r = 0; r < 4 * H; ++r) {
      y[r] = p.b[d * 4 * H + r];
      for (int k = 0; k < I; ++k) y[r] += w_x[r * I + k] * x(time(q))[k];
      for (int k = 0; k < H; ++k) y[r] += w_h[r * H + k] * h_before[k] * mask(k);
      y[r] = r / H == 2 ? std::tanh(y[r]) : sigmoid(y[r]);
    }
    for (int u = 0; u < H; ++u) {
      c(time(q))[u] = y[H + u] * c_before[u] + y[u] * y[2 * H + u];
      h(time(q))[u] = y[3 * H + u] * std::tanh(c(time(q))[u]);
    }
  }

  Numbers d_state(H), d_cell(H), d_gates(4 * H);
  for (int q = length; q-- > 0;) {
    const int t = time(q);
    const double* h_before = q ? h(time(q - 1)) : zeros.data();
    const double* c_before = q ? c(time(q - 1)) : zeros.data();
    const double *i = gates(t), *f = i + H, *g = f + H, *o = g + H;
    for (int u = 0; u < H; ++u) {
      const double tanh_c = std::tanh(c(t)[u]);
      const double d_h = p.d_h[(t * B + n) * D * H + d * H + u] + d_state[u];
      const double d_c = d_cell[u] + d_h * o[u] * (1 - tanh_c * tanh_c);
      d_gates[u] = d_c * g[u] * i[u] * (1 - i[u]);
      d_gates[H + u] = d_c * c_before[u] * f[u] * (1 - f[u]);
      d_gates[2 * H + u] = d_c * i[u] * (1 - g[u] * g[u]);
      d_gates[3 * H + u] = d_h * tanh_c * o[u] * (1 - o[u]);
      d_cell[u] = d_c * f[u];
    }
    std::fill(d_state.begin(), d_state.end(), 0.0);
    for (int r = 0; r < 4 * H; ++r) {
      p.d_b[d * 4 * H + r] += d_gates[r];
      for (int k = 0; k < I; ++k) {
        p.d_w_x[(d * 4 * H + r) * I + k] += d_gates[r] * x(t)[k];
        p.d_x[(t * B + n) * I + k] += d_gates[r] * w_x[r * I + k];
      }
      for (int k = 0; k < H; ++k) {
        p.d_w_h[(d * 4 * H + r) * H + k] += d_gates[r] * h_before[k] * mask(k);
        d_state[k] += d_gates[r] * w_h[r * H + k] * mask(k);
      }
    }
  }
}

Problem solved(const Shape& shape) {
  Problem p(shape);
  p.h.assign(p.d_h.size(), 0);
  p.gates.assign(std::size_t(p.s.D) * p.s.T * p.s.B * 4 * p.s.H, 0);
  p.c.assign(p.gates.size() / 4, 0);
  p.d_x.assign(p.x.size(), 0);
  for (int d = 0; d < p.s.D; ++d)
    for (int n = 0; n < p.s.B; ++n) reference(p, d, n);
  return p;
}

/// The ops' operands in their own precision, and the two calls.
struct Computed {
  std::vector<real> x, w_x, w_h, b, mask, d_h, h, gates, c, d_x, d_w_x, d_w_h, d_b;

  enum Saves { with_gates, without_gates };

  Computed(const Problem& p, int threads, Saves saves = with_gates) {
    const auto take = [](const Numbers& v) { return std::vector<real>(v.begin(), v.end()); };
    x = take(p.x), w_x = take(p.w_x), w_h = take(p.w_h), b = take(p.b), mask = take(p.mask), d_h = take(p.d_h);
    d_w_x = take(p.d_w_x), d_w_h = take(p.d_w_h), d_b = take(p.d_b);
    const int T = p.s.T, B = p.s.B, I = p.s.I, H = p.s.H, D = p.s.D;
    const real nan = std::numeric_limits<real>::quiet_NaN();
    h.assign(d_h.size(), nan), d_x.assign(x.size(), nan);
    gates.assign(std::size_t(D) * T * B * 4 * H, nan), c.assign(gates.size() / 4, nan);
    for (int n = 0; n < B; ++n) {  // padding holds garbage that must not be read
      for (int t = p.lengths[n]; t < T; ++t) {
        std::fill_n(&x[(t * B + n) * I], I, nan);
        std::fill_n(&d_h[(t * B + n) * D * H], D * H, nan);
      }
    }
    Context ctx({.threads = threads});
    LstmForward forward{.x = {x.data(), {T, B, I}},
                        .lengths = {p.lengths.data(), {B}},
                        .w_x = {w_x.data(), {D, 4 * H, I}},
                        .w_h = {w_h.data(), {D, 4 * H, H}},
                        .b = {b.data(), {D, 4 * H}},
                        .h = {h.data(), {T, B, D * H}}};
    if (p.s.masked) forward.h_mask = {mask.data(), {D, B, H}};
    if (saves == with_gates) forward.gates = {gates.data(), {D, T, B, 4 * H}}, forward.c = {c.data(), {D, T, B, H}};
    run(ctx, forward);
    if (saves == without_gates) return;
    run(ctx, LstmBackward{.x = forward.x,
                          .lengths = forward.lengths,
                          .w_x = forward.w_x,
                          .w_h = forward.w_h,
                          .h_mask = forward.h_mask,
                          .h = forward.h,
                          .gates = forward.gates,
                          .c = forward.c,
                          .d_h = {d_h.data(), {T, B, D * H}},
                          .d_x = {d_x.data(), {T, B, I}},
                          .d_w_x = {d_w_x.data(), {D, 4 * H, I}},
                          .d_w_h = {d_w_h.data(), {D, 4 * H, H}},
                          .d_b = {d_b.data(), {D, 4 * H}}});
  }
};

void expect_close(const std::vector<real>& actual, const Numbers& expected, const char* what) {
  double square = 0;
  for (double v : expected) square += v * v;
  const double rms = std::sqrt(square / std::max<double>(1, double(expected.size())));
  const double tolerance = 300 * std::numeric_limits<real>::epsilon();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_LE(std::abs(actual[i] - expected[i]), tolerance * (std::abs(expected[i]) + rms))
        << what << "[" << i << "] is " << actual[i] << ", expected " << expected[i];
  }
}

/// What gates and c hold in the padding is unspecified.
void clear_padding(const Problem& p, std::vector<real>& v, int width) {
  for (int d = 0; d < p.s.D; ++d)
    for (int n = 0; n < p.s.B; ++n)
      for (int t = p.lengths[n]; t < p.s.T; ++t)
        std::fill_n(&v[(std::size_t(d * p.s.T + t) * p.s.B + n) * width], width, real(0));
}

class Lstm : public testing::TestWithParam<Shape> {};

TEST_P(Lstm, MatchesTheReference) {
  const Problem p = solved(GetParam()), fresh(GetParam());
  Computed r(fresh, 2);
  clear_padding(p, r.gates, 4 * p.s.H);
  clear_padding(p, r.c, p.s.H);
  expect_close(r.h, p.h, "h");
  expect_close(r.gates, p.gates, "gates");
  expect_close(r.c, p.c, "c");
  expect_close(r.d_x, p.d_x, "d_x");
  expect_close(r.d_w_x, p.d_w_x, "d_w_x");
  expect_close(r.d_w_h, p.d_w_h, "d_w_h");
  expect_close(r.d_b, p.d_b, "d_b");
}

TEST_P(Lstm, GivesTheSameBitsForAnyThreadCount) {
  const Problem p(GetParam());
  const Computed one(p, 1);
  for (int threads : {2, 3, 7}) {
    const Computed more(p, threads);
    EXPECT_EQ(one.h, more.h) << threads << " threads";
    EXPECT_EQ(one.d_x, more.d_x) << threads << " threads";
    EXPECT_EQ(one.d_w_x, more.d_w_x) << threads << " threads";
    EXPECT_EQ(one.d_w_h, more.d_w_h) << threads << " threads";
    EXPECT_EQ(one.d_b, more.d_b) << threads << " threads";
  }
}

TEST_P(Lstm, GivesTheSameBitsWithoutSavingForBackward) {
  const Problem p(GetParam());
  EXPECT_EQ(Computed(p, 2).h, Computed(p, 2, Computed::without_gates).h);
}

TEST_P(Lstm, GivesASentenceTheSameBitsAloneAsInTheBatch) {
  const Problem p(GetParam());
  const Computed all(p, 1);
  const int I = p.s.I, H = p.s.H, D = p.s.D, B = p.s.B;
  for (int n = 0; n < B; n += 3) {
    Problem alone = p;
    const int T = p.lengths[n];
    alone.s.B = 1, alone.s.T = T, alone.lengths = {T};
    const auto column = [&](const Numbers& v, int width) {
      Numbers out;
      for (int t = 0; t < T; ++t) out.insert(out.end(), &v[(t * B + n) * width], &v[(t * B + n) * width] + width);
      return out;
    };
    alone.x = column(p.x, I), alone.d_h = column(p.d_h, D * H);
    if (p.s.masked)
      for (int d = 0; d < D; ++d) std::copy_n(&p.mask[(d * B + n) * H], H, &alone.mask[d * H]);
    const Computed r(alone, 1);
    for (int t = 0; t < T; ++t) {
      for (int k = 0; k < D * H; ++k) ASSERT_EQ(r.h[t * D * H + k], all.h[(t * B + n) * D * H + k]) << n << ' ' << t;
      for (int k = 0; k < I; ++k) ASSERT_EQ(r.d_x[t * I + k], all.d_x[(t * B + n) * I + k]) << n << ' ' << t;
    }
  }
}

const Shape shapes[] = {
    {"one", 1, 1, 1, 1, 1},
    {"one_step", 1, 5, 3, 2, 2},
    {"one_unit", 4, 3, 2, 1, 2},
    {"one_input", 6, 4, 1, 5, 2},
    {"one_sentence", 9, 1, 7, 20, 2},
    {"odd", 7, 3, 5, 9, 2},
    {"odd_one_way", 7, 3, 5, 9, 1},
    {"masked", 6, 5, 4, 17, 2, true},
    {"masked_one_way", 6, 5, 4, 17, 1, true},
    {"full_lanes", 5, 6, 16, 32, 2},
    {"full_lengths", 5, 4, 8, 16, 2, false, {5, 5, 5, 5}},
    {"padded_for_all", 8, 3, 6, 10, 2, false, {3, 5, 2}},
    {"all_empty", 3, 2, 4, 6, 2, false, {0, 0}},
    {"unsorted", 6, 8, 3, 33, 2, true, {0, 6, 1, 3, 6, 0, 5, 2}},
    {"deep", 3, 13, 300, 150, 2, true},           // several panel depths for both products
    {"wide_tiles", 4, 40, 70, 65, 2},             // every tile height
    {"several_chunks", 40, 30, 20, 24, 2, true},  // more tokens than one run of input products takes
    {"big_batch", 3, 250, 10, 12, 1},             // one step alone exceeds that run
};
INSTANTIATE_TEST_SUITE_P(Shapes, Lstm, testing::ValuesIn(shapes), [](const auto& shape) { return shape.param.name; });

TEST(LstmForward, RejectsALengthBeyondTime) {
  Problem p({"", 2, 1, 3, 4, 1, false, {2}});
  p.lengths = {3};
  p.s.T = 2;
  std::vector<real> x(6), w_x(48), w_h(64), b(16), h(8);
  Context ctx({.threads = 1});
  const LstmForward op{.x = {x.data(), {2, 1, 3}},
                       .lengths = {p.lengths.data(), {1}},
                       .w_x = {w_x.data(), {1, 16, 3}},
                       .w_h = {w_h.data(), {1, 16, 4}},
                       .b = {b.data(), {1, 16}},
                       .h = {h.data(), {2, 1, 4}}};
  EXPECT_THROW(run(ctx, op), std::invalid_argument);
}

}  // namespace
}  // namespace bib
