#pragma once
#include "tests/samples/embedding.h"

namespace bib::test {

struct NormShape {
  std::string_view name;
  int N;
  int T = 0, B = 0, V = 0, E = 0, Y = 0, column = 0;  // T > 0: of a table's rows instead
};

template <>
struct Samples<NormSquared> {
  static constexpr NormShape shapes[] = {{"none", 0},
                                         {"one", 1},
                                         {"odd_tail", 131},
                                         {"several_chunks", 40001},
                                         {"a_chunk_exactly", 16384},
                                         {"looked_up", 0, 9, 5, 30, 13, 20, 4},
                                         {"no_lookups", 0, 1, 1, 0, 3, 3, 0},
                                         {"looked_up_wide", 0, 8, 3, 7, 300, 300, 0},
                                         {"looked_up_in_many_blocks", 0, 100, 9, 3000, 130, 130, 0},
                                         {"looked_up_in_tasks", 0, 80, 9, 700, 40, 41, 1}};
  static constexpr OperandAxis free[] = {{0, 0}, {2, 0}, {3, 0}, {3, 1}};  // N, N, T, B
  static constexpr NormShape timed[] = {{"parameters_4M", 1 << 22},
                                        {"rows_32x64_E128", 0, 64, 32, 100000, 128, 128, 0}};
  static constexpr bool exact = true;

  static NormSquared make(Maker& m, const NormShape& s) {
    if (s.T == 0) return {.x = m.uniform({s.N}), .sum = m.output({1})};
    const RowIndex index = row_index(m.ints({s.T, s.B}, -1, s.V - 1));
    return {.offsets = on_host(m, index.offsets),
            .positions = on_host(m, index.positions),
            .d_y = m.uniform({s.T, s.B, s.Y}),
            .sum = m.output({1}),
            .column = s.column,
            .E = s.E};
  }
  static Writes writes(const NormSquared&, const void*, std::int64_t) { return Writes::add; }
  static int reduction(const NormShape& s) { return s.T == 0 ? s.N : s.T * s.B * s.E; }
  static double flops(const NormSquared& op) { return op.d_y ? 2.0 * op.positions.dim(0) * op.E : 2.0 * op.x.dim(0); }
};

struct ClipShape {
  std::string_view name;
  float squared, max_norm;
};

template <>
struct Samples<ClipScale> {
  static constexpr ClipShape shapes[] = {
      {"clips", 16, 1}, {"leaves", 0.25f, 1}, {"no_gradient", 0, 5}, {"off", 1e6f, 0}, {"overflowed", HUGE_VALF, 1}};

  static ClipScale make(Maker& m, const ClipShape& s) {
    return {.sum = m.values<real>({1}, {s.squared}), .scale = m.output({1}), .max_norm = s.max_norm};
  }
  static int reduction(const ClipShape&) { return 1; }
};

}  // namespace bib::test
