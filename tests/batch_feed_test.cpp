// Batches made ahead by another thread: all of them, in their order, and nobody left waiting when something goes wrong.
#include "train/batch_feed.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

namespace bib::test {
namespace {

class Feed : public ::testing::TestWithParam<bool> {
 protected:
  static Batch numbered(int i) {
    Batch batch;
    batch.T = i;
    return batch;
  }
};

TEST_P(Feed, gives_every_batch_in_its_order) {
  BatchFeed feed(3, 40, GetParam(), numbered);
  for (int i = 3; i < 40; ++i) EXPECT_EQ(feed.take().T, i);
}

TEST_P(Feed, makes_no_more_than_a_few_that_nobody_asked_for) {
  std::atomic<int> made{0};
  {
    BatchFeed feed(0, 1000, GetParam(), [&](int i) { return ++made, numbered(i); });
    for (int i = 0; i < 5; ++i) EXPECT_EQ(feed.take().T, i);
  }
  EXPECT_GE(made, 5);
  EXPECT_LE(made, 8);  // two ready, one being made
}

TEST_P(Feed, an_error_comes_in_its_turn) {
  BatchFeed feed(0, 10, GetParam(), [](int i) {
    if (i == 2) throw std::runtime_error("batch 2");
    return numbered(i);
  });
  EXPECT_EQ(feed.take().T, 0);
  EXPECT_EQ(feed.take().T, 1);
  EXPECT_THROW(feed.take(), std::runtime_error);
}

TEST_P(Feed, may_be_empty_or_given_up_at_once) {
  BatchFeed empty(7, 7, GetParam(), numbered);
  BatchFeed unused(0, 100, GetParam(), numbered);
}

TEST(BatchFeed, works_on_while_nobody_takes) {
  std::atomic<int> made{0};
  BatchFeed feed(0, 3, true, [&](int i) {
    made = i + 1;
    made.notify_all();
    Batch batch;
    batch.T = i;
    return batch;
  });
  for (int seen = made; seen < 2; seen = made) made.wait(seen);  // ends only if the feed works by itself
  EXPECT_EQ(feed.take().T, 0);
}

INSTANTIATE_TEST_SUITE_P(, Feed, ::testing::Bool(),
                         [](const auto& ahead) { return ahead.param ? "ahead" : "in_turn"; });

}  // namespace
}  // namespace bib::test
