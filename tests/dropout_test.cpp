#include "tests/reference.h"

namespace bib::test {
namespace {

TEST(Dropout, keeps_exactly_where_the_random_number_says) {
  for_each_run<Dropout>([](const Dropout& op, double tolerance, const Dropout&) {
    const std::int64_t row = std::int64_t{op.y.dim(1)} * op.y.dim(2);
    for (std::int64_t i = 0; i < op.y.size(); ++i) {
      const float draw = random_uniform(op.key, static_cast<std::uint64_t>(op.variational ? i % row : i));
      const double expected = draw >= op.rate ? (op.x ? double(op.x.data[i]) : 1.0) / (1 - double(op.rate)) : 0;
      ASSERT_EQ(op.y.data[i] == 0, expected == 0) << i;
      ASSERT_NEAR(op.y.data[i], expected, tolerance * std::abs(expected)) << i;
    }
  });
}

TEST(Dropout, rate_is_an_exact_bound) {
  Maker m;
  const auto x = m.uniform({1, 1, 4096}, 1, 2);
  const RandomKey key{.seed = 5};
  std::vector<float> rates{0x1p-24f, 1 - 0x1p-24f};
  for (int i = 0; i < 4096; ++i)  // a draw equal to the rate is kept; the lowest word that gives this draw decides
    if ((random_word(key, i) & 0xFF) == 0) rates.push_back(random_uniform(key, i));
  ASSERT_GT(rates.size(), 2u);
  for (float rate : rates) {
    const Dropout op = m.run(Dropout{.x = x, .y = m.output(x.shape), .rate = rate, .key = key});
    for (int i = 0; i < 4096; ++i) ASSERT_EQ(op.y.data[i] != 0, random_uniform(key, i) >= rate) << rate << ' ' << i;
  }
}

TEST(Dropout, drops_what_is_not_a_number_too) {
  Maker m;
  const auto x = m.zeros({1, 1, 64});
  for (int i = 0; i < 64; ++i) x.data[i] = std::numeric_limits<real>::infinity();
  const Dropout op = m.run(Dropout{.x = x, .y = m.output(x.shape), .rate = 0.5f});
  for (int i = 0; i < 64; ++i) EXPECT_EQ(op.y.data[i], random_uniform(op.key, i) < 0.5f ? 0 : x.data[i]);
}

TEST(Dropout, in_place_equals_out_of_place) {
  for (bool variational : {false, true}) {
    Maker m;
    const auto x = m.uniform({5, 7, 301});
    const Dropout op{.x = x, .y = m.output(x.shape), .rate = 0.4f, .variational = variational, .key = {.seed = 9}};
    Dropout in_place = op;
    in_place.y = x;
    m.run(op);
    m.run(in_place);
    EXPECT_EQ(download(m.cpu(), x), download(m.cpu(), op.y));
  }
}

}  // namespace
}  // namespace bib::test
