// CRF against the sum over every path, at extreme scores, with forbidden transitions and missing tags.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cpu/crf_lattice.h"
#include "tests/crf_brute.h"

namespace bib::test {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr double eps = std::numeric_limits<real>::epsilon();

void expect_near(const char* what, View<const real, 1> got, const std::vector<double>& expected, double scale = 1) {
  ASSERT_EQ(got.size(), static_cast<std::int64_t>(expected.size())) << what;
  for (int i = 0; i < got.dim(0); ++i) {
    if (got[i] == expected[i]) continue;  // infinities
    ASSERT_NEAR(got[i], expected[i], 32 * eps * (scale + std::abs(expected[i]))) << what << ", element " << i;
  }
}
template <int R>
View<const real, 1> flat(View<real, R> v) {
  return {.data = v.data, .shape = {static_cast<int>(v.size())}};
}

CrfLoss loss_op(Maker& m, const CrfProblem& p) {
  return p.with(CrfLoss{.tags = p.tags,
                        .weight = p.weight,
                        .loss = m.output({p.B}),
                        .d_scores = m.output({p.T, p.B, p.K}),
                        .d_transition = m.zeros({p.K, p.K}),
                        .d_first = m.zeros({p.K}),
                        .d_last = m.zeros({p.K})});
}
CrfMarginals marginals_op(Maker& m, const CrfProblem& p) {
  return p.with(CrfMarginals{.log_z = m.output({p.B}), .marginals = m.output({p.T, p.B, p.K})});
}
CrfDecode decode_op(Maker& m, const CrfProblem& p) {
  return p.with(CrfDecode{.tags = m.output<int>({p.T, p.B}), .score = m.output({p.B})});
}
CrfKBest k_best_op(Maker& m, const CrfProblem& p, int N) {
  return p.with(CrfKBest{.tags = m.output<int>({N, p.T, p.B}), .score = m.output({N, p.B})});
}

std::vector<int> tags_of(View<const int, 2> tags, int b, int n) {
  std::vector<int> path;
  for (int t = 0; t < n; ++t) path.push_back(tags[t][b]);
  return path;
}

void check_sums(Maker& m, const CrfProblem& p) {
  const CrfBrute brute(p);
  const CrfLoss op = loss_op(m, p);
  if (!brute.possible) {
    EXPECT_THROW(m.run(op), std::invalid_argument);
    return;
  }
  m.run(op);
  double scale = 1;  // float cannot tell apart losses nearer than this
  for (double z : brute.log_z)
    if (std::isfinite(z)) scale = std::max(scale, std::abs(z));
  expect_near("loss", op.loss, brute.loss, scale);
  expect_near("d_scores", flat(op.d_scores), brute.d_scores);
  expect_near("d_transition", flat(op.d_transition), brute.d_transition);
  expect_near("d_first", op.d_first, brute.d_first);
  expect_near("d_last", op.d_last, brute.d_last);

  CrfLoss alone = op;
  alone.loss = m.output({p.B});
  alone.d_scores = {}, alone.d_transition = {}, alone.d_first = {}, alone.d_last = {};
  m.run(alone);
  expect_near("loss without gradients", alone.loss, brute.loss, scale);

  const CrfMarginals z = m.run(marginals_op(m, p));
  expect_near("log_z", z.log_z, brute.log_z);
  expect_near("marginals", flat(z.marginals), brute.marginals);
}

void check_paths(Maker& m, const CrfProblem& p) {
  const CrfDecode best = m.run(decode_op(m, p));
  const CrfKBest list = m.run(k_best_op(m, p, 7));
  for (int b = 0; b < p.B; ++b) {
    SCOPED_TRACE("sequence " + std::to_string(b));
    const int n = p.lengths[b];
    const std::vector<Path> paths = all_paths(p, b);
    for (int t = n; t < p.T; ++t) EXPECT_EQ(best.tags[t][b], -1);
    for (int r = 0; r < 7; ++r) {
      const bool exists = r < static_cast<int>(paths.size()) && paths[r].score > minus_infinity;
      const double score = exists ? paths[r].score : minus_infinity;
      const std::vector<int> tags = tags_of(list.tags[r], b, n);
      EXPECT_EQ(list.score[r][b], static_cast<real>(score)) << "rank " << r;
      EXPECT_EQ(tags, exists ? paths[r].tags : std::vector<int>(tags.size(), -1)) << "rank " << r;
      for (int t = n; t < p.T; ++t) EXPECT_EQ(list.tags[r][t][b], -1);
      if (r > 0) continue;
      EXPECT_EQ(best.score[b], static_cast<real>(score));
      EXPECT_EQ(tags_of(best.tags, b, n), tags);
    }
  }
}

/// Every span of every sequence, with the best path's tags and with random ones.
void check_spans(Maker& m, const CrfProblem& p) {
  std::vector<int> spans;
  for (int b = 0; b < p.B; ++b)
    for (int begin = 0; begin < p.lengths[b]; ++begin)
      for (int end = begin + 1; end <= p.lengths[b]; ++end) spans.insert(spans.end(), {b, begin, end});
  const int S = static_cast<int>(spans.size() / 3);
  const auto op = p.with(CrfSpanProbability{.tags = m.ints({p.T, p.B}, 0, p.K - 1),
                                            .extend = m.ints({p.K}, -1, p.K - 1),
                                            .spans = m.values<int>(std::array{S, 3}, std::span<const int>(spans)),
                                            .probability = m.output({S})});
  m.run(op);
  std::vector<double> expected;
  for (int s = 0; s < S; ++s) {
    const int b = op.spans[s][0], begin = op.spans[s][1], end = op.spans[s][2];
    const std::vector<Path> paths = all_paths(p, b);
    const double top = paths[0].score;
    const auto carries = [&](const Path& path) {
      for (int t = begin; t < end; ++t)
        if (path.tags[t] != op.tags[t][b]) return false;
      const int extend = op.extend[path.tags[end - 1]];
      return end == p.lengths[b] || extend < 0 || path.tags[end] != extend;
    };
    const double z = mass(paths, top, [](const Path&) { return true; });
    expected.push_back(z > 0 ? mass(paths, top, carries) / z : 0);
  }
  expect_near("probability", op.probability, expected);
}

TEST(crf, equals_the_sum_over_all_paths) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed)
    for (int T : {0, 1, 2, 4})
      for (int K : {1, 2, 3, 4})
        for (float range : {2.f, 30.f, 300.f, 10000.f})
          for (bool forbidden : {false, true}) {
            SCOPED_TRACE("seed " + std::to_string(seed) + ", T " + std::to_string(T) + ", K " + std::to_string(K) +
                         ", range " + std::to_string(range) + (forbidden ? ", forbidden transitions" : ""));
            Maker m(seed);
            CrfProblem p(m, T, 5, K, range);
            if (forbidden) p.forbid(m);
            check_sums(m, p);
            check_paths(m, p);
            check_spans(m, p);
            if (HasFailure()) return;
          }
}

TEST(crf, full_annotation_equals_the_sum_over_all_paths) {
  for (float range : {2.f, 300.f, 10000.f}) {
    Maker m;
    CrfProblem p(m, 4, 9, 4, range);
    p.tags = m.ints({4, 9}, 0, 3);
    SCOPED_TRACE(range);
    check_sums(m, p);
  }
}

TEST(crf, ties_go_to_the_lower_tag_from_the_last_step_back) {
  Maker m;
  CrfProblem p(m, 4, 3, 3, 0);
  check_paths(m, p);
  for (std::int64_t i = 0; i < p.scores.size(); ++i) p.scores.data[i] = static_cast<real>(i % 2);
  check_paths(m, p);
}

/// Two halves that no transition joins: the first tag wins at both ends and the second by more in between. Each way on
/// its own, alpha and beta lose the path that carries all the weight.
TEST(crf, a_path_lost_from_both_ends_is_not_lost) {
  for (real step : {real(2), real(20), real(90)}) {
    Maker m;
    const int block = 400 / static_cast<int>(step), T = 5 * block;
    CrfProblem p(m, T, 1, 2, 0);
    p.lengths[0] = T;
    p.transition[0][1] = p.transition[1][0] = -std::numeric_limits<real>::infinity();
    for (int t = 0; t < T; ++t) p.scores[t][0][t / block == 0 || t / block == 4 ? 0 : 1] = step;
    const CrfMarginals z = m.run(marginals_op(m, p));
    EXPECT_NEAR(z.log_z[0], 3. * block * step, 1e-3);
    for (int t = 0; t < T; ++t) ASSERT_EQ(z.marginals[t][0][1], 1) << t;
  }
}

/// Scores of a trained model: rows of alpha that range over hundreds of decades, an annotation that forbids most.
crf::Sequence sequence_of(const CrfProblem& p) {
  return {.length = p.T,
          .scores = p.scores.data,
          .score_step = std::int64_t{p.B} * p.K,
          .tags = p.tags.data,
          .tag_step = p.B};
}

void check_fast_against_log(float range, int K, bool refused, real soft_forbidden = 0) {
  SCOPED_TRACE("range " + std::to_string(range) + ", K " + std::to_string(K));
  Maker m;
  CrfProblem p(m, 60, 1, K, range);
  p.forbid(m);
  for (int k = 0; k < K; ++k) p.transition[k][0] = p.transition[0][k] = p.first[0] = p.last[0] = 0;
  for (std::int64_t i = 0; soft_forbidden != 0 && i < p.transition.size(); ++i)
    if (std::isinf(p.transition.data[i])) p.transition.data[i] = soft_forbidden;
  const auto missing = m.ints({60}, 0, 3);
  for (int t = 0; t < 60; ++t)
    if (missing[t] > 0)
      p.tags[t][0] = -1;
    else
      p.tags[t][0] = 0;
  Context& ctx = m.cpu();
  ArenaScope scope(ctx.arena());
  const crf::Weights w = crf::make_weights(ctx, K, p.transition.data, p.first.data, p.last.data);
  crf::Lattice fast = crf::make_lattice(ctx, w, 60), slow = crf::make_lattice(ctx, w, 60);
  const crf::Sequence sequence = sequence_of(p);
  crf::sum_paths(w, &sequence, 1, &fast, true);
  crf::sum_paths_log(w, sequence, slow, true);
  EXPECT_EQ(fast.log_space, refused);
  EXPECT_NEAR(fast.log_z, slow.log_z, 1e-13 * (1 + std::abs(slow.log_z)));
  std::vector<double> fast_pairs(static_cast<std::size_t>(K) * w.stride), slow_pairs(fast_pairs);
  crf::add_pairs(w, fast, 60, 0.5, fast_pairs.data());
  crf::add_pairs(w, slow, 60, 0.5, slow_pairs.data());
  for (int t = 0; t < 60; ++t)
    for (int k = 0; k < K; ++k) {
      const int i = t * w.stride + k;
      ASSERT_NEAR(fast.marginal[i], slow.marginal[i], 1e-11) << "step " << t << ", tag " << k;
      ASSERT_NEAR(crf::pair_probability(w, fast, t % 59, k, 0), crf::pair_probability(w, slow, t % 59, k, 0), 1e-11);
    }
  for (int i = 0; i < K; ++i)
    for (int j = 0; j < K; ++j)
      ASSERT_NEAR(fast_pairs[i * w.stride + j], slow_pairs[i * w.stride + j], 1e-10) << i << "," << j;
}

TEST(crf, scaled_sums_equal_those_in_log_space) {
  for (int K : {1, 2, 5, 8, 9, 16, 17, 31, 32, 33, 61, 130})
    for (float range : {0.1f, 3.f, 25.f}) check_fast_against_log(range, K, false);
}
TEST(crf, scores_beyond_the_scaled_range_go_to_log_space) {
  check_fast_against_log(400, 9, true);
  check_fast_against_log(20000, 9, true);
}
TEST(crf, minus_ten_thousand_for_forbidden_stays_on_the_fast_path) { check_fast_against_log(3, 31, false, -10000); }

TEST(crf, more_than_a_thousand_tags) {
  constexpr int T = 3, K = 1100;
  Maker m;
  CrfProblem p(m, T, 2, K, 1);
  p.lengths[1] = 2;
  p.tags = m.ints({T, 2}, 0, K - 1);
  const CrfLoss op = m.run(loss_op(m, p));
  const CrfDecode best = m.run(decode_op(m, p));
  // Sequence 1 has two steps: all pairs can be written out.
  double z = 0, top = minus_infinity, gold = 0, moved = 0;
  for (int i = 0; i < K; ++i)
    for (int j = 0; j < K; ++j) {
      const double score = path_score(p, 1, {i, j});
      z += std::exp(score);
      top = std::max(top, score);
      if (i == p.tags[0][1] && j == p.tags[1][1]) gold = score;
    }
  for (std::int64_t i = 0; i < op.d_transition.size(); ++i) moved += op.d_transition.data[i];
  EXPECT_NEAR(op.loss[1], p.weight[1] * (std::log(z) - gold), 100 * eps * std::log(z));
  EXPECT_EQ(best.score[1], static_cast<real>(top));
  EXPECT_NEAR(path_score(p, 0, tags_of(best.tags, 0, T)), best.score[0], 1e-5);
  EXPECT_NEAR(moved, 0, 1e-3);  // expected and gold transitions are equally many
}

TEST(crf, forbidden_scores_have_gradient_zero_and_probability_zero) {
  constexpr int T = 9, B = 4, K = 7;
  Maker m;
  CrfProblem p(m, T, B, K, 2);
  p.forbid(m);
  for (int k = 0; k < K; ++k) p.transition[k][0] = p.transition[0][k] = p.first[0] = p.last[0] = 0;
  for (std::int64_t i = 0; i < p.tags.size(); ++i) p.tags.data[i] = i % 3 == 0 ? 0 : -1;
  const CrfLoss op = m.run(loss_op(m, p));
  for (std::int64_t i = 0; i < op.d_scores.size(); ++i) ASSERT_TRUE(std::isfinite(op.d_scores.data[i]));
  const CrfMarginals z = m.run(marginals_op(m, p));
  const auto zero_where_forbidden = [](View<const real, 1> gradient, View<const real, 1> score) {
    for (int i = 0; i < score.dim(0); ++i) {
      ASSERT_TRUE(std::isfinite(gradient[i])) << i;
      if (std::isinf(score[i])) {
        EXPECT_EQ(gradient[i], 0) << i;
      }
    }
  };
  zero_where_forbidden(flat(op.d_transition), flat(p.transition));
  zero_where_forbidden(op.d_first, p.first);
  zero_where_forbidden(op.d_last, p.last);
  for (int b = 0; b < B; ++b) zero_where_forbidden(z.marginals[0][b], p.first);
}

TEST(crf, without_annotation_or_weight_nothing_is_learned) {
  Maker m;
  CrfProblem p(m, 5, 3, 4, 2);
  p.lengths[0] = p.lengths[1] = p.lengths[2] = 5;
  for (int t = 0; t < 5; ++t) p.tags[t][0] = -1, p.tags[t][1] = p.tags[t][2] = 1;
  p.weight[1] = 0;
  const CrfLoss op = m.run(loss_op(m, p));
  EXPECT_EQ(op.loss[0], 0);
  EXPECT_EQ(op.loss[1], 0);
  EXPECT_GT(op.loss[2], 0);
  for (int t = 0; t < 5; ++t)
    for (int k = 0; k < 4; ++k) {
      EXPECT_EQ(op.d_scores[t][0][k], 0);
      EXPECT_EQ(op.d_scores[t][1][k], 0);
      EXPECT_NE(op.d_scores[t][2][k], 0);
    }
}

/// A sure model still learns: the gradient keeps its digits where the gold path's probability rounds to 1.
TEST(crf, gradient_of_a_nearly_certain_path_keeps_its_digits) {
  Maker m;
  CrfProblem p(m, 1, 1, 2, 0);
  p.scores[0][0][0] = 20;
  p.tags[0][0] = 0;
  const CrfLoss op = m.run(loss_op(m, p));
  EXPECT_NEAR(op.loss[0] / p.weight[0] * std::exp(20.), 1, 1e-2);
  EXPECT_NEAR(op.d_scores[0][0][1] / p.weight[0] * std::exp(20.), 1, 1e-5);
  EXPECT_NEAR(op.d_scores[0][0][0] / p.weight[0] * std::exp(20.), -1, 1e-2);
}

void check_alone(int K) {
  constexpr int T = 20, B = 7;
  Maker m;
  CrfProblem p(m, T, B, K, 3);
  p.lengths[2] = 0, p.lengths[4] = 1;
  const CrfLoss loss = m.run(loss_op(m, p));
  const CrfMarginals z = m.run(marginals_op(m, p));
  const CrfDecode best = m.run(decode_op(m, p));
  for (int b = 0; b < B; ++b) {
    const int n = p.lengths[b];
    CrfProblem one(m, n, 1, K, 0);
    one.transition = p.transition, one.first = p.first, one.last = p.last;
    one.lengths[0] = n, one.weight[0] = p.weight[b];
    for (int t = 0; t < n; ++t) {
      one.tags[t][0] = p.tags[t][b];
      for (int k = 0; k < K; ++k) one.scores[t][0][k] = p.scores[t][b][k];
    }
    const CrfLoss loss_1 = m.run(loss_op(m, one));
    const CrfMarginals z_1 = m.run(marginals_op(m, one));
    const CrfDecode best_1 = m.run(decode_op(m, one));
    EXPECT_EQ(loss_1.loss[0], loss.loss[b]);
    EXPECT_EQ(z_1.log_z[0], z.log_z[b]);
    EXPECT_EQ(best_1.score[0], best.score[b]);
    for (int t = 0; t < n; ++t) {
      EXPECT_EQ(best_1.tags[t][0], best.tags[t][b]);
      for (int k = 0; k < K; ++k) {
        ASSERT_EQ(loss_1.d_scores[t][0][k], loss.d_scores[t][b][k]) << t << "," << k;
        ASSERT_EQ(z_1.marginals[t][0][k], z.marginals[t][b][k]) << t << "," << k;
      }
    }
  }
}

TEST(crf, a_sequence_alone_has_the_bits_it_has_in_a_batch) {
  for (int K : {1, 3, 9, 17, 25, 31, 45, 70, 130}) {  // every width of a block of columns, and both ways of two chains
    SCOPED_TRACE("K = " + std::to_string(K));
    check_alone(K);
  }
}

TEST(crf, says_what_is_wrong) {
  Maker m;
  CrfProblem p(m, 4, 2, 3, 1);
  p.lengths[0] = p.lengths[1] = 4;
  for (std::int64_t i = 0; i < p.tags.size(); ++i) p.tags.data[i] = 1;
  const auto message = [&](const char* text) {
    return ThrowsMessage<std::invalid_argument>(HasSubstr(std::string(text)));
  };
  const CrfLoss op = loss_op(m, p);
  const auto run_loss = [&] { m.run(op); };
  p.tags[2][1] = 3;
  EXPECT_THAT(run_loss, message("crf_loss: sequence 1, step 2: tag 3 is not one of -1..K-1"));
  p.tags[2][1] = 2;
  p.transition[1][2] = -std::numeric_limits<real>::infinity();
  EXPECT_THAT(run_loss, message("crf_loss: sequence 1, step 2: gold tag 2 after tag 1 is forbidden"));
  p.tags[1][1] = -1;
  EXPECT_NO_THROW(m.run(op));
  p.transition[0][2] = p.transition[2][2] = p.transition[1][2];
  EXPECT_THAT(run_loss, message("crf_loss: sequence 1, step 2: no allowed path agrees"));
  p.lengths[0] = 5;
  EXPECT_THAT([&] { m.run(decode_op(m, p)); }, message("crf_decode: lengths[0] is 5, expected 0..4"));
  p.lengths[0] = 3;
  const auto span = p.with(CrfSpanProbability{.tags = m.zeros<int>({4, 2}),
                                              .extend = m.values<int>({3}, {-1, -1, -1}),
                                              .spans = m.values<int>({1, 3}, {0, 1, 4}),
                                              .probability = m.output({1})});
  EXPECT_THAT([&] { m.run(span); }, message("crf_span_probability: span 0 is sequence 0, [1,4)"));
}

TEST(crf, scores_that_are_nan_give_tags_that_there_are) {
  for (const int K : {1, 3, 16, 17}) {
    SCOPED_TRACE(K);
    Maker m;
    CrfProblem p(m, 4, 3, K, 2);
    std::fill_n(p.lengths.data, 3, 4);
    for (int k = 0; k < K; ++k) p.scores[0][0][k] = p.scores[2][1][k] = p.scores[3][2][k] = std::nanf("");
    const CrfDecode best = m.run(decode_op(m, p));
    const CrfKBest some = m.run(k_best_op(m, p, 2));
    for (int b = 0; b < 3; ++b) EXPECT_TRUE(std::isnan(best.score[b])) << b;
    for (std::int64_t i = 0; i < best.tags.size(); ++i) EXPECT_LT(best.tags.data[i], K);
    for (std::int64_t i = 0; i < some.tags.size(); ++i) EXPECT_LT(some.tags.data[i], K);
  }
}

TEST(crf, a_sequence_without_any_path_has_no_tags) {
  Maker m;
  CrfProblem p(m, 3, 1, 2, 1);
  for (int i = 0; i < 4; ++i) p.transition.data[i] = -std::numeric_limits<real>::infinity();
  p.lengths[0] = 3;
  check_paths(m, p);
  const CrfMarginals z = m.run(marginals_op(m, p));
  EXPECT_EQ(z.log_z[0], minus_infinity);
  for (std::int64_t i = 0; i < z.marginals.size(); ++i) EXPECT_EQ(z.marginals.data[i], 0);
}

}  // namespace
}  // namespace bib::test
