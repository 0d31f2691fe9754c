// Steps recorded as graphs, on a GPU or the emulator: the same answers as without, whatever changes between two steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bib/cuda_backend.h"
#include "bib/ops.h"
#include "bib/together.h"
#include "tests/cuda_at_hand.h"

namespace bib::test {
namespace {

using ::testing::ElementsAre;
using Values = std::vector<real>;

class Together : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
    ctx_ = std::make_unique<Context>(ContextOptions{.device = Device::cuda});
    square(Values{1});  // the first time is never recorded
  }

  View<real, 1> ops(const Values& x) {
    const View<real, 1> sum = ctx_->arena().make<real, 1>({1});
    zero(*ctx_, sum);
    run(*ctx_, NormSquared{.x = upload<real, 1>(*ctx_, x, {static_cast<int>(x.size())}), .sum = sum});
    return sum;
  }
  Fetched<real> square(const Values& x) {
    return {*ctx_, together(*ctx_, [&] { return ops(x); })};
  }

  /// The same ops again take new data and new sizes.
  void expect_updates() {
    for (int n : {3, 5, 2}) {
      for (int value : {1, 2}) {
        Values x(static_cast<std::size_t>(n), static_cast<real>(value));
        Fetched<real> sum = square(x);
        x.assign(x.size(), real(99));  // what was uploaded is no longer needed
        EXPECT_THAT(sum.values(), ElementsAre(static_cast<real>(n * value * value)));
      }
    }
    const GraphCounts counts = cuda_graph_counts(ctx_->cuda());
    EXPECT_EQ(counts.prepared, 1) << "another size is no other graph";
    EXPECT_EQ(counts.updated, 5);
  }

  std::unique_ptr<Context> ctx_;
};

TEST_F(Together, the_same_ops_again_take_new_data_and_new_sizes) { expect_updates(); }

/// Kernels that start before the one before them has ended.
class TogetherEarly : public Together {
 protected:
  void SetUp() override {
    ::setenv("BIB_OVERLAP", "1", 1);
    Together::SetUp();
  }
  void TearDown() override { ::unsetenv("BIB_OVERLAP"); }
};

TEST_F(TogetherEarly, the_same_ops_again_take_new_data_and_new_sizes) { expect_updates(); }

TEST_F(TogetherEarly, is_asked_for_by_0_or_1) {
  ::setenv("BIB_OVERLAP", "yes", 1);
  EXPECT_THROW(Context(ContextOptions{.device = Device::cuda}), std::invalid_argument);
}

TEST_F(Together, what_was_uploaded_lives_until_the_second_call_after) {
  std::vector<View<real, 1>> uploaded;
  std::vector<Fetched<real>> sums;
  for (int i = 0; i < 7; ++i) {
    const auto value = static_cast<real>(i);
    const View<real, 1> sum = together(*ctx_, [&] {
      const View<real, 1> s = ctx_->arena().make<real, 1>({1});
      zero(*ctx_, s);
      uploaded.push_back(upload<real, 1>(*ctx_, Values{value, value}, {2}));
      for (std::size_t back = 0; back < std::min<std::size_t>(2, uploaded.size()); ++back)  // and the one before
        run(*ctx_, NormSquared{.x = uploaded[uploaded.size() - 1 - back], .sum = s});
      return s;
    });
    if (i > 0) run(*ctx_, NormSquared{.x = uploaded[uploaded.size() - 2], .sum = sum});  // not recorded, still before
    sums.emplace_back(*ctx_, sum);
  }
  for (int i = 0; i < 7; ++i)
    EXPECT_THAT(sums[static_cast<std::size_t>(i)].values(),
                ElementsAre(static_cast<real>(2 * i * i + (i > 0 ? 4 * (i - 1) * (i - 1) : 0))));
}

TEST_F(Together, events_time_what_the_device_does) {
  const Values large(1 << 16, real(1));
  const double seconds = cuda_seconds(ctx_->cuda(), [&] { ops(large); });
  EXPECT_GT(seconds, 0);
  EXPECT_LT(seconds, 60);
  EXPECT_THROW(cuda_seconds(ctx_->cuda(), [] { throw std::runtime_error("refused"); }), std::runtime_error);
  EXPECT_THAT(square(Values{3}).values(), ElementsAre(real(9)));
}

TEST_F(Together, several_may_be_under_way) {
  std::vector<Fetched<real>> sums;
  for (int i = 0; i < 5; ++i) sums.push_back(square(Values(4, static_cast<real>(i))));
  for (int i = 0; i < 5; ++i) EXPECT_THAT(sums[static_cast<std::size_t>(i)].values(), ElementsAre(real(4 * i * i)));
}

TEST_F(Together, uploads_of_any_size_arrive) {
  const std::size_t large = 100000;  // more than is set aside at first
  EXPECT_THAT(square(Values(large, real(1))).values(), ElementsAre(static_cast<real>(large)));
  EXPECT_THAT(square(Values(large, real(2))).values(), ElementsAre(static_cast<real>(4 * large)));
}

TEST_F(Together, other_ops_are_another_graph) {
  for (int more : {0, 1, 0, 2, 1}) {
    Fetched<real> sum(*ctx_, together(*ctx_, [&] {
      const View<real, 1> s = ops(Values(3, real(1)));
      for (int i = 0; i < more; ++i)
        run(*ctx_, NormSquared{.x = upload<real, 1>(*ctx_, Values(2, real(1)), {2}), .sum = s});
      return s;
    }));
    EXPECT_THAT(sum.values(), ElementsAre(static_cast<real>(3 + 2 * more)));
  }
}

TEST_F(Together, zeroes_what_is_asked_and_nothing_beside) {
  constexpr int n = 700000;  // more than the threads of a launch, four at a time
  for (const auto& [first, count] : {std::pair{0, 1}, {3, 5}, {4, 8}, {8, 8191}, {16, 0}, {1, 8998}, {4, 699992}}) {
    const View<real, 1> x = upload<real, 1>(*ctx_, Values(n, real(1)), {n});
    together(*ctx_, [&] { zero(*ctx_, View<real, 1>{.data = x.data + first, .shape = {count}, .device = x.device}); });
    Values expected(n, real(1));
    std::fill_n(expected.begin() + first, count, real(0));
    EXPECT_EQ(download(*ctx_, x), expected) << first << " " << count;
  }
}

/// Products so large that cuBLAS does them, with other kernels for other numbers of rows.
TEST_F(Together, products_of_any_size_may_be_recorded) {
  constexpr int I = 256, O = 192;
  const auto w = upload<real, 2>(*ctx_, Values(O * I, real(1)), {O, I});
  const auto b = upload<real, 1>(*ctx_, Values(O), {O});
  int calls = 0;
  const auto product = [&](int rows) {
    const View<real, 1> y = together(*ctx_, [&] {
      ++calls;
      const View<real, 2> to = ctx_->arena().make<real, 2>({rows, O});
      run(*ctx_,
          LinearForward{.x = upload<real, 2>(*ctx_, Values(static_cast<std::size_t>(rows) * I, real(2)), {rows, I}),
                        .w = w,
                        .b = b,
                        .y = to});
      return to.reshaped<1>({rows * O});
    });
    EXPECT_EQ(download(*ctx_, y), Values(static_cast<std::size_t>(rows) * O, real(2 * I)));
  };
  for (int rows : {128, 128, 160, 130, 190, 128}) product(rows);
  EXPECT_LE(calls, 7) << "only the first product may have had to start cuBLAS outside of the recording";
}

TEST_F(Together, what_was_uploaded_may_be_overwritten_at_once) {
  std::vector<View<real, 1>> uploaded;
  Values x(1000);
  for (int i = 0; i < 4; ++i) {
    x.assign(x.size(), static_cast<real>(i));
    uploaded.push_back(upload<real, 1>(*ctx_, x, {1000}));
  }
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(download(*ctx_, uploaded[static_cast<std::size_t>(i)]), Values(1000, static_cast<real>(i)));
}

TEST_F(Together, waiting_inside_is_refused_and_what_was_recorded_is_forgotten) {
  EXPECT_THROW(together(*ctx_, [&] { return download(*ctx_, ops(Values{3})).front(); }), std::logic_error);
  EXPECT_THROW(together(*ctx_, [&] { ctx_->wait(); }), std::logic_error);
  EXPECT_THAT(square(Values{3, 4}).values(), ElementsAre(real(25)));
}

}  // namespace
}  // namespace bib::test
