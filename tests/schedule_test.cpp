// The learning-rate schedule: rises over the warm-up, never by more than a tenth of all steps, then falls towards 0.
#include <gtest/gtest.h>

#include "train/updater.h"

namespace bib {
namespace {

TEST(Schedule, RisesToTheHighestRateAndFallsTowardsZero) {
  const Config config{.schedule = Schedule::linear, .warmup = 100, .lr = 0.5f};
  EXPECT_FLOAT_EQ(learning_rate(config, 1, 2000), 0.005f);
  EXPECT_FLOAT_EQ(learning_rate(config, 100, 2000), 0.5f);
  EXPECT_LT(learning_rate(config, 2000, 2000), 0.001f);
  EXPECT_GT(learning_rate(config, 2000, 2000), 0.0f);
}

TEST(Schedule, AShortRunStillReachesItsRate) {
  const Config config{.schedule = Schedule::linear, .warmup = 100, .lr = 0.5f};
  EXPECT_FLOAT_EQ(learning_rate(config, 6, 60), 0.5f);
  EXPECT_FLOAT_EQ(learning_rate({.schedule = Schedule::constant, .warmup = 100, .lr = 0.5f}, 5, 5), 0.5f);
}

TEST(Schedule, CosineIsHalfWayDownInTheMiddle) {
  const Config config{.schedule = Schedule::cosine, .warmup = 0, .lr = 1};
  EXPECT_NEAR(learning_rate(config, 500, 1000), 0.5f, 0.01f);
}

}  // namespace
}  // namespace bib
