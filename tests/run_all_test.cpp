// Ops run together give what they give in turn.
#include <deque>

#include "tests/op_test.h"

namespace bib::test {
namespace {

template <class Op>
class RunAll : public ::testing::Test {};
TYPED_TEST_SUITE(RunAll, AllTypes, OpName);

/// Every shape, and again until there are more than one launch takes.
template <class Op>
std::vector<Op> many(Maker& m) {
  std::vector<Op> ops;
  while (ops.size() < 19)
    for (const auto& shape : Samples<Op>::shapes) ops.push_back(Samples<Op>::make(m, shape));
  return ops;
}

TYPED_TEST(RunAll, gives_each_op_the_bits_that_it_has_alone) {
  std::vector<ContextOptions> all;
  for (const Device device : devices()) all.push_back({.device = device});
  if (cuda_at_hand()) all.push_back({.device = Device::cuda, .math = Math::fast});
  for (const ContextOptions& options : all) {
    Context ctx(options);
    Maker m;
    std::deque<Placed<TypeParam>> together;
    std::vector<TypeParam> ops;
    std::vector<Outputs> alone;
    for (const TypeParam& op : many<TypeParam>(m)) {
      alone.push_back(checked_run(ctx, op, Prefill::random));
      ops.push_back(together.emplace_back(ctx, op, Prefill::random).op());
    }
    poison_arena(ctx);
    run_all(ctx, ops);
    ctx.wait();
    for (std::size_t i = 0; i < ops.size(); ++i) {
      SCOPED_TRACE("op " + std::to_string(i));
      EXPECT_EQ(together[i].trespass(), "");
      EXPECT_EQ(difference(together[i].op(), together[i].outputs(), alone[i]), "");
    }
  }
}

template <class T, int R>
View<T, R> on_device(Context& ctx, View<T, R> host) {
  using Value = std::remove_const_t<T>;
  const auto n = static_cast<std::size_t>(host.size());
  return host ? View<T, R>(upload<Value, R>(ctx, std::span<const Value>(host.data, n), host.shape)) : host;
}

TEST(RunAllShared, norm_squared_adds_to_shared_sums) {
  for (const Device device : devices()) {
    Context ctx({.device = device});
    Maker m(test_seed(), true);  // whole numbers: the order does not matter
    std::vector<NormSquared> ops;
    const View<real, 1> sums[] = {on_device(ctx, m.values<real>({1}, {2})), on_device(ctx, m.values<real>({1}, {3}))};
    double expected[] = {2, 3};
    for (int n : {1, 0, 20000, 3, 5, 7, 16384, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 40000}) {
      const auto x = m.uniform({n});
      const int to = n == 3 || n == 7;
      for (int i = 0; i < n; ++i) expected[to] += x[i] * x[i];
      ops.push_back({.x = on_device(ctx, x), .sum = sums[to]});
    }
    run_all(ctx, ops);
    for (int to : {0, 1}) EXPECT_EQ(download(ctx, sums[to])[0], expected[to]);
  }
}

/// What several windows give their common input: each op's part on its own, added up.
TEST(RunAllShared, conv_pool_backward_adds_to_one_gradient) {
  for (const Device device : devices()) {
    for (const int T : {9, 100, 800}) {  // tiles in shared memory for eight warps, for five, and too large for it
      SCOPED_TRACE(T);
      Context ctx({.device = device}), cpu;
      Maker m(test_seed(), true);
      const int B = 3, C = 40, F = 37;
      for (const bool add_first : {false, true}) {
        const auto x = m.uniform({T, B, C}), d_x = m.uniform({T, B, C});
        std::vector<double> expected(d_x.data, d_x.data + d_x.size());
        if (!add_first) std::fill(expected.begin(), expected.end(), 0.0);
        const auto lengths = m.lengths(B, T);
        const auto d_y = m.uniform({B, 3 * F});
        const auto shared = on_device(ctx, d_x);
        std::vector<ConvPoolBackward> ops;
        for (int k = 0; k < 3; ++k) {
          ConvPoolForward f{.x = x,
                            .lengths = lengths,
                            .w = m.uniform({k + 1, C, F}),
                            .b = m.uniform({F}),
                            .y = m.output({B, F}),
                            .where = m.output<int>({B, F})};
          m.run(f);
          ConvPoolBackward g{.x = x,
                             .lengths = lengths,
                             .w = f.w,
                             .where = f.where,
                             .d_y = d_y,
                             .d_x = m.output({T, B, C}),
                             .d_w = m.zeros(f.w.shape),
                             .d_b = m.zeros({F}),
                             .column = k * F};
          m.run(g);
          for (std::int64_t i = 0; i < g.d_x.size(); ++i) expected[static_cast<std::size_t>(i)] += g.d_x.data[i];
          g.x = on_device(ctx, g.x);
          g.lengths = on_device(ctx, g.lengths);
          g.w = on_device(ctx, g.w);
          g.where = on_device(ctx, g.where);
          g.d_y = on_device(ctx, g.d_y);
          g.d_x = shared;
          g.d_w = on_device(ctx, g.d_w);
          g.d_b = on_device(ctx, g.d_b);
          g.add_d_x = k > 0 || add_first;
          ops.push_back(g);
        }
        run_all(ctx, ops);
        const auto got = download(ctx, shared);
        EXPECT_EQ(std::vector<double>(got.begin(), got.end()), expected);
      }
    }
  }
}

TEST(RunAllShared, a_wrong_operand_stops_all) {
  Context ctx;
  Maker m;
  const auto good = Samples<EmaStep>::make(m, Samples<EmaStep>::shapes[1]);
  EmaStep bad = good;
  bad.average.shape[0] += 1;
  const auto before = download(ctx, good.average);
  EXPECT_THROW(run_all(ctx, std::vector{good, bad}), std::invalid_argument);
  EXPECT_EQ(download(ctx, good.average), before);
}

}  // namespace
}  // namespace bib::test
