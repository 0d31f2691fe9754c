// Probabilities against what came true.
#include "train/calibration.h"

#include <gtest/gtest.h>

#include <cmath>

#include "bib/error.h"

namespace bib {
namespace {

TEST(Calibration, ATableByHand) {
  const std::vector<Judged> answers = {{0.95, true}, {0.91, true}, {1, false}, {0.2, false}, {0.25, true}, {0, false}};
  const Calibration c = calibration_of(answers);
  ASSERT_EQ(c.bins.size(), 10u);
  EXPECT_EQ(c.bins[9].answers, 3u) << "1 is in the last bin";
  EXPECT_EQ(c.bins[9].right, 2u);
  EXPECT_NEAR(c.bins[9].mean_probability(), 2.86 / 3, 1e-12);
  EXPECT_EQ(c.bins[2].answers, 2u) << "0.2 is in the bin that it begins";
  EXPECT_DOUBLE_EQ(c.bins[2].share_right(), 0.5);
  EXPECT_EQ(c.bins[0].answers, 1u);
  EXPECT_EQ(c.bins[5].answers, 0u);
  EXPECT_EQ(c.bins[5].mean_probability(), 0);
  EXPECT_EQ(c.all.answers, 6u);
  EXPECT_NEAR(c.all.mean_probability(), 3.31 / 6, 1e-12);
  EXPECT_NEAR(c.ece, (std::abs(2.86 - 2) + std::abs(0.45 - 1) + 0) / 6, 1e-12);
  EXPECT_NEAR(c.brier, (0.05 * 0.05 + 0.09 * 0.09 + 1 + 0.04 + 0.75 * 0.75 + 0) / 6, 1e-12);
  EXPECT_EQ(calibration_of({}).ece, 0);
}

TEST(Calibration, AnEntityIsRightWhereSpanAndLabelAre) {
  const std::vector<std::vector<Span>> gold = {{{{0, 6}, "LC"}, {{10, 13}, "PS"}}, {}};
  std::vector<Document> found(2);
  found[0].spans = {{{0, 6}, "LC"}, {{10, 13}, "OG"}, {{10, 14}, "PS"}};
  found[0].scores = {0.9, 0.8, 0.7};
  found[1].spans = {{{0, 6}, "LC"}};
  found[1].scores = {0.6};
  const std::vector<Judged> judged = judge_entities(gold, found);
  ASSERT_EQ(judged.size(), 4u);
  EXPECT_TRUE(judged[0].right);
  for (int i = 1; i < 4; ++i) EXPECT_FALSE(judged[static_cast<std::size_t>(i)].right) << i;
  EXPECT_EQ(judged[3].probability, 0.6);
  for (const std::vector<double>& scores : {std::vector<double>{}, {1.5}, {std::nan("")}}) {
    found[1].scores = scores;
    EXPECT_THROW(judge_entities(gold, found), DataError);
  }
}

TEST(Calibration, EveryGivenClassIsJudged) {
  std::vector<Document> gold(2), found(2);
  gold[0].labels = {"a", "b"};
  found[0].labels = {"b", "c"}, found[0].scores = {0.8, 0.6};
  const std::vector<Judged> judged = judge_classes(gold, found);
  ASSERT_EQ(judged.size(), 2u) << "a text without an answer has nothing to judge";
  EXPECT_TRUE(judged[0].right);
  EXPECT_FALSE(judged[1].right);
}

}  // namespace
}  // namespace bib
