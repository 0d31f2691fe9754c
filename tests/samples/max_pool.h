#pragma once
#include "tests/harness.h"

namespace bib::test {

struct MaxPoolShape {
  std::string_view name;
  int T, B, F;
};

template <>
struct Samples<MaxPoolForward> {
  static constexpr MaxPoolShape shapes[] = {{"one", 1, 1, 1},
                                            {"no_steps", 0, 3, 4},
                                            {"no_batch", 4, 0, 3},
                                            {"odd_tails", 7, 5, 13},
                                            {"full_and_empty", 30, 9, 32}};
  static constexpr OperandAxis free[] = {{0, 0}};  // T
  static constexpr MaxPoolShape timed[] = {{"tc_56x64x128", 56, 64, 128}};
  static constexpr bool exact = true;
  static constexpr std::string_view layout[] = {"TBF", "B", "BF", "BF"};

  static MaxPoolForward make(Maker& m, const MaxPoolShape& s) {
    return {.x = m.uniform({s.T, s.B, s.F}),
            .lengths = m.lengths(s.B, s.T),
            .y = m.output({s.B, s.F}),
            .where = m.output<int>({s.B, s.F})};
  }
  static int reduction(const MaxPoolShape&) { return 1; }
};

template <>
struct Samples<MaxPoolBackward> {
  static constexpr auto& shapes = Samples<MaxPoolForward>::shapes;
  static constexpr OperandAxis free[] = {{2, 0}};  // T
  static constexpr auto& timed = Samples<MaxPoolForward>::timed;
  static constexpr bool exact = true;

  static MaxPoolBackward make(Maker& m, const MaxPoolShape& s) {
    const MaxPoolForward f = m.run(Samples<MaxPoolForward>::make(m, s));
    return {.where = f.where, .d_y = m.uniform(f.y.shape), .d_x = m.output(f.x.shape)};
  }
  static int reduction(const MaxPoolShape&) { return 1; }
};

template <>
struct Gradient<MaxPoolForward> {
  static auto inputs(auto& f) { return std::tie(f.x); }
  static auto outputs(auto& f) { return std::tie(f.y); }
  static auto gradients(Maker& m, const MaxPoolForward& f, View<const real, 2> d_y) {
    const MaxPoolBackward g{.where = f.where, .d_y = d_y, .d_x = m.zeros(f.x.shape)};
    m.run(g);
    return std::tuple{g.d_x};
  }
};

}  // namespace bib::test
