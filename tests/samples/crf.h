#pragma once
#include "tests/harness.h"

namespace bib::test {

struct CrfShape {
  std::string_view name;
  int T, B, K;
  bool forbidden = false;  // a third of the transitions
  bool partial = false;    // a third of the tags are not annotated
  float range = 3;         // of the scores
  bool pinned = false;     // a quarter of the scores is forbidden, as hard terms of a dictionary do
};

constexpr CrfShape crf_shapes[] = {{"one", 1, 1, 1},
                                   {"no_sentences", 3, 0, 2},
                                   {"no_time", 0, 2, 3},
                                   {"two_tags", 6, 4, 2, true, true},
                                   {"odd_tails", 7, 5, 9, true},
                                   {"eight_tags", 33, 3, 8, true, true},
                                   {"one_register", 9, 4, 16, true, true},
                                   {"ner_15_types", 12, 35, 31, true},
                                   {"ner_15_types_partial", 12, 7, 31, true, true},
                                   {"a_lane_each", 9, 3, 32, true, true},
                                   {"past_two_registers", 5, 3, 61},
                                   {"groups_of_several", 2, 150, 33},
                                   {"long", 150, 2, 5, true},
                                   {"scores_for_log_space", 40, 5, 6, true, true, 100},
                                   {"forbidden_scores", 20, 5, 9, true, true, 3, true},
                                   {"forbidden_scores_of_many_tags", 9, 3, 40, true, true, 3, true},
                                   {"over_a_thousand_tags", 2, 2, 1030}};
constexpr CrfShape crf_timed[] = {{"ner_32x64x31", 64, 32, 31, true},
                                  {"ner_32x64x9", 64, 32, 9, true},
                                  {"partial_32x64x31", 64, 32, 31, true, true},
                                  {"serve_1x64x31", 64, 1, 31, true}};

/// Operands that every CRF op has. Tag 0, like the O of IOB2, may start, end, follow and precede everything: a path
/// always exists.
struct CrfOperands {
  View<real, 3> scores;
  View<const int, 1> lengths;
  View<real, 2> transition;
  View<real, 1> first, last;

  CrfOperands(Maker& m, const CrfShape& s)
      : scores(m.uniform({s.T, s.B, s.K}, -s.range, s.range)),
        lengths(m.lengths(s.B, s.T)),
        transition(m.uniform({s.K, s.K}, -s.range * 2 / 3, s.range * 2 / 3)),
        first(m.uniform({s.K})),
        last(m.uniform({s.K})) {
    const auto forbid = [&](auto v, View<int, 1> dice) {
      for (std::int64_t k = 0; k < dice.size(); ++k)
        if (dice[k] == 0) v.data[k] = -std::numeric_limits<real>::infinity();
    };
    if (s.pinned) {
      const auto dice = m.ints({s.T * s.B * s.K}, 0, 3);
      for (int row = 0; row < s.T * s.B; ++row) dice[std::int64_t{row} * s.K] = 1;
      forbid(scores, dice);
    }
    if (!s.forbidden) return;
    const auto transition_dice = m.ints({s.K * s.K}, 0, 2), first_dice = m.ints({s.K}, 0, 2),
               last_dice = m.ints({s.K}, 0, 2);
    for (int k = 0; k < s.K; ++k) transition_dice[k] = transition_dice[k * s.K] = 1;
    first_dice[0] = last_dice[0] = 1;
    forbid(transition, transition_dice), forbid(first, first_dice), forbid(last, last_dice);
  }

  /// Tags that use nothing forbidden.
  View<int, 2> allowed_tags(Maker& m, const CrfShape& s) const {
    View<int, 2> tags = m.ints({s.T, s.B}, 0, s.K - 1);
    const auto missing = m.ints({s.T, s.B}, 0, 2);
    for (int b = 0; b < s.B; ++b)
      for (int t = 0; t < lengths[b]; ++t) {
        int& tag = tags[t][b];
        const int before = t > 0 ? tags[t - 1][b] : -1;
        const bool ok = std::isfinite(scores[t][b][tag]) && (t > 0 || std::isfinite(first[tag])) &&
                        (t + 1 < lengths[b] || std::isfinite(last[tag])) &&
                        (before < 0 || std::isfinite(transition[before][tag]));
        if (!ok) tag = 0;
        if (s.partial && missing[t][b] == 0) tag = -1;
      }
    return tags;
  }
};

/// Transitions that an op looks at: K^2 per step.
double crf_pairs(const auto& op) {
  const double K = op.scores.dim(2);
  return steps(op.lengths) * K * K;
}

/// Terms of the longest chain of rounded sums: K at each of T steps.
inline int crf_reduction(const CrfShape& s) { return s.T * s.K; }

template <>
struct Samples<CrfLoss> {
  static constexpr auto& shapes = crf_shapes;
  static constexpr auto& timed = crf_timed;
  static constexpr double magnitude = 1;  // of gradients of one step; the loss is a difference of logarithms
  // Order of operands(): scores tags lengths transition first last weight loss d_scores d_transition d_first d_last.
  static constexpr std::string_view layout[] = {"TBK", "TB", "B", "", "", "", "B", "B", "TBK", "", "", ""};

  static CrfLoss make(Maker& m, const CrfShape& s) {
    const CrfOperands o(m, s);
    return {.scores = o.scores,
            .tags = o.allowed_tags(m, s),
            .lengths = o.lengths,
            .transition = o.transition,
            .first = o.first,
            .last = o.last,
            .weight = m.uniform({s.B}, 0, 2),
            .loss = m.output({s.B}),
            .d_scores = m.output({s.T, s.B, s.K}),
            .d_transition = m.output({s.K, s.K}),
            .d_first = m.output({s.K}),
            .d_last = m.output({s.K})};
  }
  static Writes writes(const CrfLoss& op, const void* output, std::int64_t) {
    return output == op.loss.data || output == op.d_scores.data ? Writes::set : Writes::add;
  }
  static int reduction(const CrfShape& s) { return crf_reduction(s); }
  /// alpha, beta and the pairs: three products of K x K per step.
  static double flops(const CrfLoss& op) { return 6 * crf_pairs(op); }
};

template <>
struct Gradient<CrfLoss> {
  static auto inputs(auto& f) { return std::tie(f.scores, f.transition, f.first, f.last); }
  static auto outputs(auto& f) { return std::tie(f.loss); }
  static auto gradients(Maker& m, const CrfLoss& f, View<const real, 1> d_loss) {
    CrfLoss g = f;
    const auto weight = m.zeros(f.weight.shape);
    for (int b = 0; b < weight.dim(0); ++b) weight[b] = f.weight[b] * d_loss[b];
    g.weight = weight;
    g.d_scores = m.output(f.scores.shape);
    g.d_transition = m.zeros(f.transition.shape);
    g.d_first = m.zeros(f.first.shape);
    g.d_last = m.zeros(f.last.shape);
    m.run(g);
    return std::tuple{g.d_scores, g.d_transition, g.d_first, g.d_last};
  }
};

template <>
struct Samples<CrfDecode> {
  static constexpr CrfShape shapes[] = {{"one", 1, 1, 1},
                                        {"no_sentences", 3, 0, 2},
                                        {"no_time", 0, 2, 3},
                                        {"two_tags", 6, 4, 2, true},
                                        {"odd_tails", 7, 5, 9, true},
                                        {"ner_15_types", 12, 35, 31, true},
                                        {"past_two_registers", 5, 3, 61},
                                        {"one_step_of_many_tags", 1, 2, 40},
                                        {"pointers_of_just_48_KiB", 795, 1, 61},  // with what else a block holds, more
                                        {"pointers_of_over_64_KiB", 640, 1, 101},
                                        {"long", 150, 2, 5, true},
                                        {"rows_of_over_96_KiB", 400, 3, 7, true},
                                        {"rows_of_over_96_KiB_odd", 363, 3, 7, true},
                                        {"scores_for_log_space", 40, 5, 6, true, false, 100},
                                        {"forbidden_scores", 20, 5, 9, true, false, 3, true},
                                        {"forbidden_scores_of_many_tags", 9, 3, 40, true, false, 3, true},
                                        {"over_a_thousand_tags", 2, 2, 1030}};
  static constexpr auto& timed = crf_timed;
  // Order of operands(): scores lengths transition first last tags score.
  static constexpr std::string_view layout[] = {"TBK", "B", "", "", "", "TB", "B"};

  static CrfDecode make(Maker& m, const CrfShape& s) {
    const CrfOperands o(m, s);
    return {.scores = o.scores,
            .lengths = o.lengths,
            .transition = o.transition,
            .first = o.first,
            .last = o.last,
            .tags = m.output<int>({s.T, s.B}),
            .score = m.output({s.B})};
  }
  static int reduction(const CrfShape& s) { return s.T; }
  static double flops(const CrfDecode& op) { return 2 * crf_pairs(op); }
};

template <>
struct Samples<CrfMarginals> {
  static constexpr auto& shapes = crf_shapes;
  static constexpr auto& timed = crf_timed;
  // Order of operands(): scores lengths transition first last log_z marginals.
  static constexpr std::string_view layout[] = {"TBK", "B", "", "", "", "B", "TBK"};

  static CrfMarginals make(Maker& m, const CrfShape& s) {
    const CrfOperands o(m, s);
    return {.scores = o.scores,
            .lengths = o.lengths,
            .transition = o.transition,
            .first = o.first,
            .last = o.last,
            .log_z = m.output({s.B}),
            .marginals = m.output({s.T, s.B, s.K})};
  }
  static int reduction(const CrfShape& s) { return crf_reduction(s); }
  static double flops(const CrfMarginals& op) { return 4 * crf_pairs(op); }
};

template <>
struct Samples<CrfSpanProbability> {
  static constexpr auto& shapes = crf_shapes;
  static constexpr auto& timed = crf_timed;

  /// Up to four spans of every sequence; a third of the tags can be continued, by the tag after them.
  static CrfSpanProbability make(Maker& m, const CrfShape& s) {
    const CrfOperands o(m, s);
    std::vector<int> spans;
    const auto dice = m.ints({4, s.B, 2}, 0, 1 << 20);
    for (int b = s.B; b-- > 0;)
      for (int i = 0; i < 4 && o.lengths[b] > 0; ++i) {
        const int begin = dice[i][b][0] % o.lengths[b], length = dice[i][b][1] % std::min(3, o.lengths[b] - begin) + 1;
        spans.insert(spans.end(), {b, begin, begin + length});
      }
    const int S = static_cast<int>(spans.size() / 3);
    const auto extend = m.ints({s.K}, 0, 2);
    for (int k = 0; k < s.K; ++k) extend[k] = extend[k] == 0 ? (k + 1) % s.K : -1;
    return {.scores = o.scores,
            .lengths = o.lengths,
            .transition = o.transition,
            .first = o.first,
            .last = o.last,
            .tags = m.ints({s.T, s.B}, 0, s.K - 1),
            .extend = extend,
            .spans = m.values<int>(std::array{S, 3}, std::span<const int>(spans)),
            .probability = m.output({S})};
  }
  static int reduction(const CrfShape& s) { return crf_reduction(s); }
  static double flops(const CrfSpanProbability& op) { return 4 * crf_pairs(op); }
};

template <>
struct Samples<CrfKBest> {
  static constexpr auto& shapes = crf_shapes;
  static constexpr auto& timed = crf_timed;
  // Order of operands(): scores lengths transition first last tags score.
  static constexpr std::string_view layout[] = {"TBK", "B", "", "", "", "NTB", "NB"};

  static CrfKBest make(Maker& m, const CrfShape& s) {
    constexpr int N = 5;
    const CrfOperands o(m, s);
    return {.scores = o.scores,
            .lengths = o.lengths,
            .transition = o.transition,
            .first = o.first,
            .last = o.last,
            .tags = m.output<int>({N, s.T, s.B}),
            .score = m.output({N, s.B})};
  }
  static int reduction(const CrfShape& s) { return s.T; }
  static double flops(const CrfKBest& op) { return 2.0 * op.tags.dim(0) * crf_pairs(op); }
};

}  // namespace bib::test
