// What the CRF's kernels refuse on a GPU (or the emulator): the same annotation as the CPU, in the same words, when the
// host next waits.
#include <gmock/gmock.h>

#include "bib/together.h"
#include "tests/crf_brute.h"
#include "tests/op_test.h"

namespace bib::test {
namespace {

constexpr real forbidden = -std::numeric_limits<real>::infinity();

class CrfOnDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
    ctx_ = std::make_unique<Context>(ContextOptions{.device = Device::cuda});
    p_.lengths[0] = 4, p_.lengths[1] = 3, p_.lengths[2] = 0;
    for (std::int64_t i = 0; i < p_.tags.size(); ++i) p_.tags.data[i] = 1;
  }

  CrfLoss loss() {
    return p_.with(CrfLoss{.tags = p_.tags,
                           .weight = p_.weight,
                           .loss = m_.output({p_.B}),
                           .d_scores = m_.output({p_.T, p_.B, p_.K}),
                           .d_transition = m_.zeros({p_.K, p_.K}),
                           .d_first = m_.zeros({p_.K}),
                           .d_last = m_.zeros({p_.K})});
  }

  static std::string what(auto&& f) {
    try {
      f();
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "nothing was thrown";
  }

  /// Both devices refuse the problem as it is, in words that contain `text`; afterwards the context is as good as new.
  void expect_refused(const std::string& text) {
    const CrfLoss op = loss();
    const std::string on_cpu = what([&] { m_.run(op); });
    EXPECT_THAT(on_cpu, ::testing::HasSubstr(text));
    Placed<CrfLoss> placed(*ctx_, op, Prefill::random);
    placed.run();  // enqueues: nothing is known yet
    EXPECT_EQ(what([&] { ctx_->wait(); }), on_cpu);
    EXPECT_NO_THROW(ctx_->wait()) << "said once";
    CrfLoss bare = op;
    bare.d_scores = {}, bare.d_transition = {}, bare.d_first = {}, bare.d_last = {};
    Placed<CrfLoss> without_gradients(*ctx_, bare, Prefill::random);
    without_gradients.run();
    Fetched<real> losses(*ctx_, without_gradients.op().loss);
    EXPECT_EQ(what([&] { losses.values(); }), on_cpu);
  }

  void expect_accepted() {
    const CrfLoss op = loss();
    EXPECT_NO_THROW(m_.run(op));
    Placed<CrfLoss> placed(*ctx_, op, Prefill::random);
    placed.run();
    EXPECT_NO_THROW(ctx_->wait());
  }

  Maker m_;
  CrfProblem p_{m_, 4, 3, 3, 1};
  std::unique_ptr<Context> ctx_;
};

TEST_F(CrfOnDevice, a_gold_tag_that_is_none) {
  p_.tags[2][1] = 3;
  expect_refused("crf_loss: sequence 1, step 2: tag 3 is not one of -1..K-1");
  p_.tags[2][1] = 1000000000;
  expect_refused("crf_loss: sequence 1, step 2: tag 1000000000 is not one of -1..K-1");
  p_.tags[2][1] = -2;
  expect_refused("crf_loss: sequence 1, step 2: tag -2 is not one of -1..K-1");
  p_.tags[2][1] = 1;
  p_.tags[3][1] = 3;  // past the sequence's end
  expect_accepted();
}

TEST_F(CrfOnDevice, a_forbidden_gold_transition) {
  p_.tags[2][1] = 2;
  p_.transition[1][2] = forbidden;
  expect_refused("crf_loss: sequence 1, step 2: gold tag 2 after tag 1 is forbidden");
  p_.weight[1] = 0;
  expect_refused("crf_loss: sequence 1, step 2: gold tag 2 after tag 1 is forbidden");
  p_.tags[2][1] = 1;
  expect_accepted();
}

TEST_F(CrfOnDevice, a_forbidden_end) {
  p_.first[1] = forbidden;
  p_.tags[0][1] = 2;
  expect_refused("crf_loss: sequence 0, step 0: gold tag 1 is forbidden");
  p_.first[1] = 0, p_.last[2] = forbidden;
  p_.tags[3][0] = 2;
  expect_refused("crf_loss: sequence 0, step 3: gold tag 2 after tag 1 is forbidden");
}

TEST_F(CrfOnDevice, the_first_step_is_named) {
  p_.transition[1][1] = forbidden;
  for (int t = 0; t < p_.T; ++t) p_.tags[t][1] = 2;
  expect_refused("crf_loss: sequence 0, step 1: gold tag 1 after tag 1 is forbidden");
}

TEST_F(CrfOnDevice, missing_tags_that_no_path_can_fill) {
  p_.tags[2][1] = 2, p_.tags[1][1] = -1;
  p_.transition[1][2] = forbidden;
  expect_accepted();
  p_.transition[0][2] = p_.transition[2][2] = forbidden;
  expect_refused("crf_loss: sequence 1, step 2: no allowed path agrees with the tags");
}

TEST_F(CrfOnDevice, a_recorded_step_is_refused_when_its_loss_is_read) {
  p_.tags[2][1] = 2;
  Placed<CrfLoss> good(*ctx_, loss(), Prefill::random);
  p_.transition[1][2] = forbidden;
  Placed<CrfLoss> bad(*ctx_, loss(), Prefill::random);
  for (int round = 0; round < 2; ++round) {  // the first is not recorded
    together(*ctx_, [&] { good.run(); });
    EXPECT_NO_THROW(Fetched<real>(*ctx_, good.op().loss).values());
    together(*ctx_, [&] { bad.run(); });
    EXPECT_THAT(what([&] { Fetched<real>(*ctx_, bad.op().loss).values(); }),
                ::testing::HasSubstr("step 2: gold tag 2"));
  }
}

TEST_F(CrfOnDevice, a_score_that_is_nan_makes_no_span_certain) {
  for (int k = 0; k < 3; ++k) p_.scores[1][0][k] = std::numeric_limits<real>::quiet_NaN();
  for (std::int64_t i = 0; i < p_.tags.size(); ++i) p_.tags.data[i] = 1;
  const CrfSpanProbability op = p_.with(CrfSpanProbability{.tags = p_.tags,
                                                           .extend = m_.values<int>({3}, {-1, -1, -1}),
                                                           .spans = m_.values<int>({2, 3}, {0, 0, 2, 1, 0, 2}),
                                                           .probability = m_.output({2})});
  m_.run(op);
  Placed<CrfSpanProbability> placed(*ctx_, op, Prefill::random);
  placed.run();
  const std::vector<real> on_device = download(*ctx_, placed.op().probability);
  EXPECT_FALSE(op.probability[0] > 0.5f);
  EXPECT_FALSE(on_device[0] > 0.5f);
  EXPECT_NEAR(op.probability[1], on_device[1], 1e-5);
}

/// Viterbi in so many words: the lowest of the best tags, and a sum that is NaN is no way.
std::vector<int> best_path(const CrfProblem& p, int b) {
  const int n = p.lengths[b];
  const auto best = [&](const std::vector<real>& sums) {
    int at = 0;
    real top = forbidden;
    for (int i = 0; i < p.K; ++i)
      if (sums[i] > top) top = sums[i], at = i;
    return std::pair{at, top};
  };
  std::vector<real> now(p.K);
  std::vector<std::vector<int>> from(n, std::vector<int>(p.K));
  for (int t = 0; t < n; ++t) {
    const std::vector<real> before = now;
    for (int j = 0; j < p.K; ++j) {
      std::vector<real> sums(p.K);
      for (int i = 0; i < p.K; ++i) sums[i] = before[i] + p.transition[i][j];
      real into = p.first[j];
      if (t > 0) std::tie(from[t][j], into) = best(sums);
      now[j] = into + p.scores[t][b][j];
    }
  }
  for (int k = 0; k < p.K; ++k) now[k] += p.last[k];
  std::vector<int> tags(n);
  for (int t = n - 1, tag = best(now).first; t >= 0; tag = from[t][tag], --t) tags[t] = tag;
  return tags;
}

TEST_F(CrfOnDevice, ties_go_to_the_lower_tag_and_a_score_that_is_nan_is_no_way) {
  for (const int K : {1, 2, 5, 31, 32, 33}) {
    p_ = CrfProblem(m_, 9, 40, K, 1);
    const auto to_integers = [](auto v) {
      for (std::int64_t i = 0; i < v.size(); ++i) v.data[i] = std::round(v.data[i]);
    };
    to_integers(p_.scores), to_integers(p_.transition), to_integers(p_.first), to_integers(p_.last);
    p_.forbid(m_);
    for (int b = 1; b < p_.B; b += 2)
      for (int t = 0; t < p_.T; ++t) {
        if (b % 4 == 1 && t % 3 != 0) p_.scores[t][b][0] = std::numeric_limits<real>::quiet_NaN();
        if (b % 4 == 3) p_.scores[t][b][(b + t) % K] = forbidden;
      }
    const CrfDecode op = p_.with(CrfDecode{.tags = m_.output<int>({p_.T, p_.B}), .score = m_.output({p_.B})});
    Placed<CrfDecode> placed(*ctx_, op, Prefill::random);
    placed.run();
    const std::vector<int> tags = download(*ctx_, placed.op().tags);
    const std::vector<real> scores = download(*ctx_, placed.op().score);
    for (int b = 0; b < p_.B; ++b) {
      const std::vector<int> path = best_path(p_, b);
      const double score = path_score(p_, b, path);
      EXPECT_TRUE(scores[b] == score || (std::isnan(scores[b]) && std::isnan(score)))
          << K << " tags, sequence " << b << ": " << scores[b] << " and " << score;
      for (int t = 0; t < p_.T; ++t)
        EXPECT_EQ(tags[t * p_.B + b], t < p_.lengths[b] && score != forbidden ? path[t] : -1)
            << K << " tags, sequence " << b << ", step " << t;
    }
  }
}

/// As on the CPU: two halves that no transition joins, the first ahead at both ends, the second by more in between.
TEST_F(CrfOnDevice, a_path_lost_from_both_ends_is_not_lost) {
  for (const int K : {2, 33})
    for (const real step : {real(20), real(90)}) {
      const int block = 400 / static_cast<int>(step), T = 5 * block;
      p_ = CrfProblem(m_, T, 1, K, 0);
      p_.lengths[0] = T;
      for (int i = 0; i < K; ++i)
        for (int j = 0; j < K; ++j) p_.transition[i][j] = i == j ? 0 : forbidden;
      for (int t = 0; t < T; ++t) p_.scores[t][0][t / block == 0 || t / block == 4 ? 0 : 1] = step;
      const CrfMarginals op = p_.with(CrfMarginals{.log_z = m_.output({1}), .marginals = m_.output({p_.T, 1, p_.K})});
      Placed<CrfMarginals> placed(*ctx_, op, Prefill::random);
      placed.run();
      EXPECT_NEAR(download(*ctx_, placed.op().log_z)[0], 3. * block * step, 1e-3);
      const std::vector<real> marginals = download(*ctx_, placed.op().marginals);
      for (int t = 0; t < T; ++t) ASSERT_EQ(marginals[t * K + 1], 1) << K << " tags, step " << t;
    }
}

/// Each too unlikely to be kept, but so many that together they outweigh the one path that is.
TEST_F(CrfOnDevice, a_crowd_of_dropped_paths_is_not_lost) {
  for (const int K : {16, 32, 33}) {
    const int T = 40;
    const real drop = -101;
    p_ = CrfProblem(m_, T, 1, K, 0);
    p_.lengths[0] = T;
    for (int k = 1; k < K; ++k) p_.scores[0][0][k] = drop, p_.transition[0][k] = p_.transition[k][0] = forbidden;
    const CrfMarginals op = p_.with(CrfMarginals{.log_z = m_.output({1}), .marginals = m_.output({T, 1, K})});
    Placed<CrfMarginals> placed(*ctx_, op, Prefill::random);
    placed.run();
    EXPECT_NEAR(download(*ctx_, placed.op().log_z)[0], T * std::log(K - 1.) + drop, 1e-3) << K;
    EXPECT_NEAR(download(*ctx_, placed.op().marginals)[(T - 1) * K + 1], 1 / (K - 1.), 1e-4) << K;
  }
}

TEST_F(CrfOnDevice, scores_that_are_no_numbers_are_noticed_by_any_lane) {
  for (const real bad : {std::numeric_limits<real>::quiet_NaN(), std::numeric_limits<real>::infinity()})
    for (int k = 0; k < 3; ++k) {
      p_ = CrfProblem(m_, 4, 3, 3, 1);
      p_.lengths[0] = p_.lengths[1] = 4;
      p_.scores[2][1][k] = bad;
      const CrfMarginals op =
          p_.with(CrfMarginals{.log_z = m_.output({p_.B}), .marginals = m_.output({p_.T, p_.B, p_.K})});
      Placed<CrfMarginals> placed(*ctx_, op, Prefill::random);
      placed.run();
      const std::vector<real> log_z = download(*ctx_, placed.op().log_z);
      EXPECT_TRUE(std::isfinite(log_z[0]));
      EXPECT_FALSE(std::isfinite(log_z[1])) << bad << " of tag " << k;
    }
}

TEST_F(CrfOnDevice, more_sequences_than_blocks) {
  p_ = CrfProblem(m_, 3, 520, 4, 2);  // some blocks take two, here and there annotated
  const CrfLoss op = loss();
  Placed<CrfLoss> placed(*ctx_, op, Prefill::as_made);
  placed.run();
  m_.run(op);
  const auto expect_near = [&](auto on_device, auto expected) {
    const std::vector<real> got = download(*ctx_, on_device);
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], expected.data[i], 1e-5 * (1 + std::abs(expected.data[i]))) << i;
  };
  expect_near(placed.op().loss, op.loss);
  expect_near(placed.op().d_scores, op.d_scores);
  expect_near(placed.op().d_transition, op.d_transition);
  expect_near(placed.op().d_first, op.d_first);
  expect_near(placed.op().d_last, op.d_last);
}

}  // namespace
}  // namespace bib::test
