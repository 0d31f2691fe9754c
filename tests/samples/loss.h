#pragma once
#include "tests/harness.h"

namespace bib::test {

struct LossShape {
  std::string_view name;
  int B, K;
  float range = 4;  // of the scores
  bool gradient = true;
};

constexpr LossShape loss_shapes[] = {
    {"one_class", 1, 1},           {"no_batch", 0, 3},      {"binary", 5, 2},
    {"odd_tails", 33, 7},          {"many_labels", 9, 301}, {"exponentials_overflow", 6, 40, 300},
    {"loss_alone", 5, 4, 4, false}};

constexpr LossShape loss_timed[] = {{"tc_64x7", 64, 7}, {"tc_64x1000", 64, 1000}};

template <>
struct Samples<SoftmaxLoss> {
  static constexpr auto& shapes = loss_shapes;
  static constexpr auto& timed = loss_timed;
  static constexpr double magnitude = 1;  // a difference of logarithms

  static SoftmaxLoss make(Maker& m, const LossShape& s) {
    return {.scores = m.uniform({s.B, s.K}, -s.range, s.range),
            .labels = m.ints({s.B}, 0, s.K - 1),
            .weight = m.uniform({s.B}, 0, 2),
            .loss = m.output({s.B}),
            .d_scores = s.gradient ? m.output({s.B, s.K}) : View<real, 2>{}};
  }
  static int reduction(const LossShape& s) { return s.K; }
};

template <>
struct Gradient<SoftmaxLoss> {
  static auto inputs(auto& f) { return std::tie(f.scores); }
  static auto outputs(auto& f) { return std::tie(f.loss); }
  static auto gradients(Maker& m, const SoftmaxLoss& f, View<const real, 1> d_loss) {
    SoftmaxLoss g = f;
    const auto weight = m.zeros(f.weight.shape);
    for (int b = 0; b < weight.dim(0); ++b) weight[b] = f.weight[b] * d_loss[b];
    g.weight = weight;
    g.d_scores = m.output(f.scores.shape);
    m.run(g);
    return std::tuple{g.d_scores};
  }
};

template <>
struct Samples<SigmoidLoss> {
  static constexpr auto& shapes = loss_shapes;
  static constexpr auto& timed = loss_timed;
  static constexpr double magnitude = 1;

  static SigmoidLoss make(Maker& m, const LossShape& s) {
    return {.scores = m.uniform({s.B, s.K}, -s.range, s.range),
            .targets = m.uniform({s.B, s.K}, 0, 1),
            .weight = m.uniform({s.B}, 0, 2),
            .class_weight = m.uniform({s.K}, 0, 2),
            .loss = m.output({s.B}),
            .d_scores = s.gradient ? m.output({s.B, s.K}) : View<real, 2>{}};
  }
  static int reduction(const LossShape& s) { return s.K; }
};

template <>
struct Gradient<SigmoidLoss> {
  static auto inputs(auto& f) { return std::tie(f.scores); }
  static auto outputs(auto& f) { return std::tie(f.loss); }
  static auto gradients(Maker& m, const SigmoidLoss& f, View<const real, 1> d_loss) {
    SigmoidLoss g = f;
    const auto weight = m.zeros(f.weight.shape);
    for (int b = 0; b < weight.dim(0); ++b) weight[b] = f.weight[b] * d_loss[b];
    g.weight = weight;
    g.d_scores = m.output(f.scores.shape);
    m.run(g);
    return std::tuple{g.d_scores};
  }
};

template <>
struct Samples<Softmax> {
  static constexpr auto& shapes = loss_shapes;
  static constexpr auto& timed = loss_timed;
  static Softmax make(Maker& m, const LossShape& s) {
    return {.scores = m.uniform({s.B, s.K}, -s.range, s.range), .probability = m.output({s.B, s.K})};
  }
  static int reduction(const LossShape& s) { return s.K; }
};

template <>
struct Samples<Sigmoid> {
  static constexpr auto& shapes = loss_shapes;
  static constexpr auto& timed = loss_timed;
  static Sigmoid make(Maker& m, const LossShape& s) {
    return {.scores = m.uniform({s.B, s.K}, -20, 20), .probability = m.output({s.B, s.K})};
  }
  static int reduction(const LossShape&) { return 1; }
};

}  // namespace bib::test
