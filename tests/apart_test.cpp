// Independent pieces: every piece once, with a context of its own, whose memory comes back; exceptions.
#include "bib/apart.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <stdexcept>

#include "bib/ops.h"

namespace bib {
namespace {

class Apart : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, Apart, ::testing::Values(1, 2, 3, 16));

TEST_P(Apart, runs_every_piece_once_and_rewinds_its_memory) {
  Context ctx({.threads = GetParam()});
  for (int n : {0, 1, 2, 15, 16, 200}) {
    std::vector<int> count(static_cast<std::size_t>(n));  // an element belongs to its piece: plain int
    each_apart(ctx, n, [&](Context& one, int i) {
      EXPECT_EQ(one.threads(), n < ctx.threads() ? ctx.threads() : 1);
      EXPECT_EQ(one.arena().mark().used, 0u) << "an earlier piece's memory is still taken";
      const View<int, 1> mine = one.arena().make<int, 1>({1000});
      for (int k = 0; k < 1000; ++k) mine[k] = i;
      for (int k = 0; k < 1000; ++k) count[static_cast<std::size_t>(i)] += mine[k] == i;
    });
    EXPECT_EQ(count, std::vector<int>(count.size(), 1000)) << n << " pieces";
  }
}

// What a caller has in its own arena stays: pieces that run with ctx itself take from behind it.
TEST_P(Apart, leaves_the_callers_memory_alone) {
  Context ctx({.threads = GetParam()});
  const View<int, 1> mine = ctx.arena().make<int, 1>({4096});
  for (int k = 0; k < 4096; ++k) mine[k] = k;
  each_apart(ctx, 40, [&](Context& one, int) {
    const View<int, 1> theirs = one.arena().make<int, 1>({4096});
    for (int k = 0; k < 4096; ++k) theirs[k] = -1;
  });
  for (int k = 0; k < 4096; ++k) ASSERT_EQ(mine[k], k);
}

TEST_P(Apart, runs_ops_in_a_piece) {
  Context ctx({.threads = GetParam()});
  std::vector<real> sums(64);
  each_apart(ctx, 64, [&](Context& one, int i) {
    const View<real, 2> scores = one.arena().make<real, 2>({50, 7}), probability = one.arena().make<real, 2>({50, 7});
    for (int k = 0; k < 350; ++k) scores.data[k] = static_cast<real>(k % 5) * static_cast<real>(i);
    run(one, Softmax{.scores = scores, .probability = probability});
    for (int k = 0; k < 350; ++k) sums[static_cast<std::size_t>(i)] += probability.data[k];
  });
  for (real sum : sums) EXPECT_NEAR(sum, 50, 1e-3);
}

TEST_P(Apart, an_exception_comes_out) {
  Context ctx({.threads = GetParam()});
  std::atomic<int> running{0};
  EXPECT_THROW(each_apart(ctx, 30,
                          [&](Context&, int i) {
                            ++running;
                            const struct Leave {
                              std::atomic<int>& n;
                              ~Leave() { --n; }
                            } leave{running};
                            if (i == 11) throw std::runtime_error("piece 11");
                          }),
               std::runtime_error);
  EXPECT_EQ(running, 0);
  int after = 0;
  each_apart(ctx, 1, [&](Context&, int) { ++after; });
  EXPECT_EQ(after, 1);
}

}  // namespace
}  // namespace bib
