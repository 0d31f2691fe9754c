#pragma once
#include "tests/harness.h"

namespace bib::test {

struct LinearShape {
  std::string_view name;
  int N, I, O;
};

template <>
struct Samples<LinearForward> {
  static constexpr LinearShape shapes[] = {{"one", 1, 1, 1},
                                           {"no_rows", 0, 4, 3},
                                           {"odd_tails", 7, 13, 5},
                                           {"many_chunks", 301, 9, 2},
                                           {"bias_in_parts", 1030, 3, 13},
                                           {"emissions_of_ner", 96, 64, 9},
                                           {"many_columns", 35, 600, 31},
                                           {"two_outputs_a_lane", 70, 1036, 45},
                                           {"narrow_in_parts", 2100, 12, 17},
                                           {"wide", 40, 68, 65},
                                           {"wide_in_parts", 600, 8, 65},
                                           {"one_output", 9, 8, 1},
                                           {"a_quarter_warp", 21, 132, 16},
                                           {"half_a_warp", 5, 516, 32},
                                           {"two_more", 18, 512, 34},
                                           {"widest_narrow", 67, 128, 64}};
  static constexpr LinearShape timed[] = {{"ner_1600x512x9", 1600, 512, 9}, {"square_1024", 1024, 1024, 1024}};
  static constexpr std::string_view layout[] = {"BI", "", "", "BO"};  // rows are independent
  static constexpr bool exact = true;

  static LinearForward make(Maker& m, const LinearShape& s) {
    return {.x = m.uniform({s.N, s.I}), .w = m.uniform({s.O, s.I}), .b = m.uniform({s.O}), .y = m.output({s.N, s.O})};
  }
  static int reduction(const LinearShape& s) { return s.I; }
  static double flops(const LinearForward& op) { return 2.0 * op.x.dim(0) * static_cast<double>(op.w.size()); }
};

template <>
struct Samples<LinearBackward> {
  static constexpr auto& shapes = Samples<LinearForward>::shapes;
  static constexpr auto& timed = Samples<LinearForward>::timed;
  static constexpr std::string_view layout[] = {"BI", "", "BO", "BI", "", ""};
  static constexpr bool exact = true;

  static LinearBackward make(Maker& m, const LinearShape& s) {
    const LinearForward f = Samples<LinearForward>::make(m, s);
    return {.x = f.x,
            .w = f.w,
            .d_y = m.uniform(f.y.shape),
            .d_x = m.output(f.x.shape),
            .d_w = m.output(f.w.shape),
            .d_b = m.output(f.b.shape)};
  }
  static Writes writes(const LinearBackward& op, const void* output, std::int64_t) {
    return output == op.d_x.data ? Writes::set : Writes::add;
  }
  static int reduction(const LinearShape& s) { return std::max(s.N, s.O); }
  static double flops(const LinearBackward& op) { return 4.0 * op.x.dim(0) * static_cast<double>(op.w.size()); }
};

template <>
struct Gradient<LinearForward> {
  static auto inputs(auto& f) { return std::tie(f.x, f.w, f.b); }
  static auto outputs(auto& f) { return std::tie(f.y); }
  static auto gradients(Maker& m, const LinearForward& f, View<const real, 2> d_y) {
    const LinearBackward g{.x = f.x,
                           .w = f.w,
                           .d_y = d_y,
                           .d_x = m.zeros(f.x.shape),
                           .d_w = m.zeros(f.w.shape),
                           .d_b = m.zeros(f.b.shape)};
    m.run(g);
    return std::tuple{g.d_x, g.d_w, g.d_b};
  }
};

}  // namespace bib::test
