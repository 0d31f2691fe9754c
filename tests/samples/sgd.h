#pragma once
#include <algorithm>

#include "tests/samples/embedding.h"

namespace bib::test {

struct SgdShape {
  std::string_view name;
  int N;
  SgdHyper hyper;
};

template <>
struct Samples<SgdStep> {
  static constexpr SgdShape shapes[] = {{"none", 0, {}},
                                        {"one", 1, {}},
                                        {"odd_tail", 131, {.momentum = 0.9f, .weight_decay = 0.01f}},
                                        {"several_tasks", 40001, {.lr = 1, .momentum = 0.5f}}};
  static constexpr SgdShape timed[] = {{"parameters_4M", 1 << 22, {.momentum = 0.9f}}};

  static SgdStep make(Maker& m, const SgdShape& s) {
    return {.grad = m.uniform({s.N}),
            .scale = m.values<real>({1}, {0.5}),
            .value = m.uniform({s.N}),
            .velocity = m.uniform({s.N}),
            .hyper = s.hyper};
  }
  static Writes writes(const SgdStep&, const void*, std::int64_t) { return Writes::update; }
  static int reduction(const SgdShape&) { return 2; }
  static double bytes(const SgdStep& op) { return 5.0 * sizeof(real) * static_cast<double>(op.grad.size()); }
};

struct SgdRowsShape {
  std::string_view name;
  int U, V, E;
  SgdHyper hyper;
  int T = 0, Y = 0, column = 0;  // T > 0: rows are looked up by U sequences of T steps
};

template <>
struct Samples<SgdRows> {
  static constexpr SgdRowsShape shapes[] = {{"one", 1, 1, 1, {}},
                                            {"no_rows", 0, 4, 3, {}},
                                            {"all_rows_odd", 7, 7, 13, {.momentum = 0.9f, .weight_decay = 0.01f}},
                                            {"some_rows", 60, 300, 40, {.momentum = 0.9f}},
                                            {"looked_up", 5, 30, 13, {.momentum = 0.9f}, 9, 20, 4},
                                            {"looked_up_wide", 3, 7, 300, {}, 8, 300, 0},
                                            {"looked_up_at_odd_column", 3, 7, 8, {.momentum = 0.9f}, 8, 12, 2}};
  static constexpr OperandAxis free[] = {{3, 0}, {4, 0}, {4, 1}};  // N, T, B
  static constexpr SgdRowsShape timed[] = {{"touched_2000_of_100000_E128", 2000, 100000, 128, {.momentum = 0.9f}}};

  static SgdRows make(Maker& m, const SgdRowsShape& s) {
    SgdRows op{.scale = m.values<real>({1}, {0.5}),
               .value = m.uniform({s.V, s.E}),
               .velocity = m.uniform({s.V, s.E}),
               .hyper = s.hyper,
               .column = s.column};
    make_row_gradient(m, s, op);
    return op;
  }
  static Writes writes(const SgdRows& op, const void*, std::int64_t i) {
    const int *begin = op.rows.data, *end = begin + op.rows.dim(0);
    return std::binary_search(begin, end, static_cast<int>(i / op.value.dim(1))) ? Writes::update : Writes::keep;
  }
  static int reduction(const SgdRowsShape& s) { return 2 + s.T * s.U; }
  static double bytes(const SgdRows& op) { return 5.0 * sizeof(real) * op.rows.dim(0) * op.value.dim(1); }
};

}  // namespace bib::test
