#pragma once
#include "tests/harness.h"

namespace bib::test {

struct ConvPoolShape {
  std::string_view name;
  int T, B, C, W, F, pad, Y, column;
  bool add_d_x = false;
  int V = 0;  // rows of a table; 0: x as it is
};

template <>
struct Samples<ConvPoolForward> {
  static constexpr ConvPoolShape shapes[] = {{"one", 1, 1, 1, 1, 1, 0, 1, 0},
                                             {"no_steps", 0, 2, 3, 2, 4, 0, 4, 0},
                                             {"no_batch", 4, 0, 3, 2, 5, 1, 5, 0},
                                             {"shorter_than_window", 3, 5, 2, 5, 3, 0, 7, 2},
                                             {"odd_tails", 11, 7, 5, 3, 13, 1, 20, 5, true},
                                             {"full_padding", 6, 4, 3, 4, 9, 3, 9, 0},
                                             {"several_panels", 19, 6, 8, 2, 150, 0, 160, 7},
                                             {"two_tiles", 70, 3, 40, 4, 70, 2, 75, 3},
                                             {"classification", 24, 10, 32, 3, 48, 1, 144, 48, true},
                                             {"seven_taps_in_two_stages", 8, 70, 3, 7, 5, 3, 5, 0},
                                             {"looked_up_odd", 9, 6, 5, 3, 7, 1, 9, 1, false, 11},
                                             {"characters_of_301_words", 8, 301, 30, 3, 50, 1, 50, 0, true, 60},
                                             {"many_of_65_steps", 65, 257, 2, 2, 3, 0, 4, 1},
                                             {"two_columns_of_131", 3, 131, 33, 1, 2, 0, 2, 0},
                                             {"too_wide_for_fast_math", 73, 1, 2, 72, 3, 1, 4, 0},
                                             {"four_filters_in_turn", 7, 9, 13, 5, 55, 2, 60, 3}};
  static constexpr OperandAxis free[] = {{0, 0}, {1, 0}, {2, 0}};  // T, T, V
  static constexpr ConvPoolShape timed[] = {{"tc_56x64_128to128_W1", 56, 64, 128, 1, 128, 0, 128, 0},
                                            {"tc_56x64_128to128_W3", 56, 64, 128, 3, 128, 1, 128, 0},
                                            {"tc_56x64_128to128_W5", 56, 64, 128, 5, 128, 2, 128, 0},
                                            {"one_sentence_56x1_128to128_W3", 56, 1, 128, 3, 128, 1, 128, 0},
                                            {"characters_12x500_30to50_W3", 12, 500, 30, 3, 50, 1, 50, 0, false, 80}};
  static constexpr bool exact = true;
  static constexpr std::string_view layout[] = {"TBC", "TB", "", "B", "", "", "BY", "BF"};

  static ConvPoolForward make(Maker& m, const ConvPoolShape& s) {
    const bool lookup = s.V > 0;
    return {.x = lookup ? View<real, 3>{} : m.uniform({s.T, s.B, s.C}),
            .ids = lookup ? m.ints({s.T, s.B}, -1, s.V - 1) : View<int, 2>{},
            .table = lookup ? m.uniform({s.V, s.C}) : View<real, 2>{},
            .lengths = m.lengths(s.B, s.T),
            .w = m.uniform({s.W, s.C, s.F}),
            .b = m.uniform({s.F}),
            .y = m.output({s.B, s.Y}),
            .where = m.output<int>({s.B, s.F}),
            .pad = s.pad,
            .column = s.column};
  }
  static Writes writes(const ConvPoolForward& op, const void* output, std::int64_t i) {
    const std::int64_t column = i % op.y.dim(1) - op.column;
    return output != op.y.data || (column >= 0 && column < op.w.dim(2)) ? Writes::set : Writes::keep;
  }
  static int reduction(const ConvPoolShape& s) { return s.W * s.C; }
  static double flops(const ConvPoolForward& op) {
    double positions = 0;
    for (int b = 0; b < op.lengths.dim(0); ++b) positions += std::max(1, op.lengths[b] + 2 * op.pad - op.w.dim(0) + 1);
    return 2.0 * positions * static_cast<double>(op.w.size());
  }
};

template <>
struct Samples<ConvPoolBackward> {
  static constexpr auto& shapes = Samples<ConvPoolForward>::shapes;
  static constexpr OperandAxis free[] = {{2, 0}};  // V
  static constexpr auto& timed = Samples<ConvPoolForward>::timed;
  static constexpr bool exact = true;
  static constexpr std::string_view layout[] = {"TBC", "TB", "", "B", "", "BF", "BY", "TBC", "", ""};

  static ConvPoolBackward make(Maker& m, const ConvPoolShape& s) {
    const ConvPoolForward f = m.run(Samples<ConvPoolForward>::make(m, s));
    return {.x = f.x,
            .ids = f.ids,
            .table = f.table,
            .lengths = f.lengths,
            .w = f.w,
            .where = f.where,
            .d_y = m.uniform(f.y.shape),
            .d_x = m.output({s.T, s.B, s.C}),
            .d_w = m.output(f.w.shape),
            .d_b = m.output(f.b.shape),
            .pad = s.pad,
            .column = s.column,
            .add_d_x = s.add_d_x};
  }
  static Writes writes(const ConvPoolBackward& op, const void* output, std::int64_t) {
    return output == op.d_x.data && !op.add_d_x ? Writes::set : Writes::add;
  }
  static int reduction(const ConvPoolShape& s) { return std::max(s.W * s.F, s.B); }
  static double flops(const ConvPoolBackward& op) {  // of the winners
    double winners = 0;
    for (std::int64_t i = 0; i < op.where.size(); ++i) winners += op.where.data[i] >= 0;
    return 4.0 * winners * op.w.dim(0) * op.w.dim(1);
  }
};

template <>
struct Gradient<ConvPoolForward> {
  static auto inputs(auto& f) { return std::tie(f.x, f.table, f.w, f.b); }
  static auto outputs(auto& f) { return std::tie(f.y); }
  static auto gradients(Maker& m, const ConvPoolForward& f, View<const real, 2> d_y) {
    const ConvPoolBackward g{.x = f.x,
                             .ids = f.ids,
                             .table = f.table,
                             .lengths = f.lengths,
                             .w = f.w,
                             .where = f.where,
                             .d_y = d_y,
                             .d_x = m.output({f.steps(), f.batch(), f.channels()}),
                             .d_w = m.zeros(f.w.shape),
                             .d_b = m.zeros(f.b.shape),
                             .pad = f.pad,
                             .column = f.column};
    m.run(g);
    if (!f.table) return std::tuple{g.d_x, View<real, 2>{}, g.d_w, g.d_b};
    const auto d_table = m.zeros(f.table.shape);
    for (std::int64_t i = 0; i < f.ids.size(); ++i)
      for (int c = 0; c < f.channels() && f.ids.data[i] >= 0; ++c)
        d_table[f.ids.data[i]][c] += g.d_x.data[i * f.channels() + c];
    return std::tuple{View<real, 3>{}, d_table, g.d_w, g.d_b};
  }
};

}  // namespace bib::test
