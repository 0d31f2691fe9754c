#pragma once
#include "tests/harness.h"

namespace bib::test {

struct Conv1dShape {
  std::string_view name;
  int T, B, C, W, F, pad;
};

template <>
struct Samples<Conv1dForward> {
  static constexpr Conv1dShape shapes[] = {{"one", 1, 1, 1, 1, 1, 0},
                                           {"no_batch", 4, 0, 3, 2, 5, 0},
                                           {"exactly_one_position", 5, 2, 3, 5, 4, 0},
                                           {"odd_tails_same_padding", 9, 3, 7, 3, 5, 1},
                                           {"padding_longer_than_input", 1, 3, 4, 5, 6, 4},
                                           {"characters", 20, 8, 16, 3, 24, 1}};
  static constexpr Conv1dShape timed[] = {{"tc_56x64_128to128_W3", 56, 64, 128, 3, 128, 1}};
  static constexpr bool exact = true;

  static Conv1dForward make(Maker& m, const Conv1dShape& s) {
    return {.x = m.uniform({s.T, s.B, s.C}),
            .w = m.uniform({s.W, s.C, s.F}),
            .b = m.uniform({s.F}),
            .y = m.output({s.T + 2 * s.pad - s.W + 1, s.B, s.F}),
            .pad = s.pad};
  }
  static int reduction(const Conv1dShape& s) { return s.W * s.C; }
  static double flops(const Conv1dForward& op) {
    return 2.0 * static_cast<double>(op.y.size()) * op.w.dim(0) * op.w.dim(1);
  }
};

template <>
struct Samples<Conv1dBackward> {
  static constexpr auto& shapes = Samples<Conv1dForward>::shapes;
  static constexpr auto& timed = Samples<Conv1dForward>::timed;
  static constexpr bool exact = true;

  static Conv1dBackward make(Maker& m, const Conv1dShape& s) {
    const Conv1dForward f = Samples<Conv1dForward>::make(m, s);
    return {.x = f.x,
            .w = f.w,
            .d_y = m.uniform(f.y.shape),
            .d_x = m.output(f.x.shape),
            .d_w = m.output(f.w.shape),
            .d_b = m.output(f.b.shape),
            .pad = s.pad};
  }
  static Writes writes(const Conv1dBackward& op, const void* output, std::int64_t) {
    return output == op.d_x.data ? Writes::set : Writes::add;
  }
  static int reduction(const Conv1dShape& s) { return std::max(s.W * s.F, (s.T + 2 * s.pad) * s.B); }
  static double flops(const Conv1dBackward& op) {
    return 4.0 * static_cast<double>(op.d_y.size()) * op.w.dim(0) * op.w.dim(1);
  }
};

template <>
struct Gradient<Conv1dForward> {
  static auto inputs(auto& f) { return std::tie(f.x, f.w, f.b); }
  static auto outputs(auto& f) { return std::tie(f.y); }
  static auto gradients(Maker& m, const Conv1dForward& f, View<const real, 3> d_y) {
    const Conv1dBackward g{.x = f.x,
                           .w = f.w,
                           .d_y = d_y,
                           .d_x = m.zeros(f.x.shape),
                           .d_w = m.zeros(f.w.shape),
                           .d_b = m.zeros(f.b.shape),
                           .pad = f.pad};
    m.run(g);
    return std::tuple{g.d_x, g.d_w, g.d_b};
  }
};

}  // namespace bib::test
