#pragma once
#include <algorithm>

#include "tests/samples/embedding.h"

namespace bib::test {

struct AdamShape {
  std::string_view name;
  int N;
  AdamHyper hyper;
};

template <>
struct Samples<AdamStep> {
  static constexpr AdamShape shapes[] = {{"none", 0, {}},
                                         {"one", 1, {}},
                                         {"odd_tail_decayed", 131, {.weight_decay = 0.01f, .step = 3}},
                                         {"epsilon_matters", 50, {.epsilon = 0.5f, .step = 2}},
                                         {"several_tasks_late", 40001, {.lr = 0.01f, .beta1 = 0.8f, .step = 1000}}};
  static constexpr AdamShape timed[] = {{"parameters_4M", 1 << 22, {.step = 10}}};

  static AdamStep make(Maker& m, const AdamShape& s) {
    return {.grad = m.uniform({s.N}),
            .scale = m.values<real>({1}, {0.5}),
            .value = m.uniform({s.N}),
            .m = m.uniform({s.N}),
            .v = m.uniform({s.N}, 0, 1),
            .hyper = s.hyper};
  }
  static Writes writes(const AdamStep&, const void*, std::int64_t) { return Writes::update; }
  static int reduction(const AdamShape&) { return 2; }
  static double bytes(const AdamStep& op) { return 7.0 * sizeof(real) * static_cast<double>(op.grad.size()); }
};

struct AdamRowsShape {
  std::string_view name;
  int U, V, E;
  AdamHyper hyper;
  int T = 0, Y = 0, column = 0;  // T > 0: rows are looked up by U sequences of T steps
};

template <>
struct Samples<AdamRows> {
  static constexpr AdamRowsShape shapes[] = {{"one", 1, 1, 1, {}},
                                             {"no_rows", 0, 4, 3, {.step = 2}},
                                             {"all_rows_odd", 7, 7, 13, {.weight_decay = 0.01f, .step = 5}},
                                             {"some_rows", 60, 300, 40, {.lr = 0.01f, .step = 400}},
                                             {"looked_up", 5, 30, 13, {.step = 3}, 9, 20, 4},
                                             {"looked_up_wide", 3, 7, 300, {.step = 9}, 8, 300, 0},
                                             {"wider_than_a_block", 3, 5, 600, {.step = 3}},
                                             {"looked_up_at_odd_column", 3, 7, 8, {.step = 4}, 8, 12, 2},
                                             {"looked_up_in_odd_rows", 3, 7, 8, {.step = 4}, 8, 11, 0}};
  static constexpr OperandAxis free[] = {{3, 0}, {4, 0}, {4, 1}};  // N, T, B
  static constexpr AdamRowsShape timed[] = {{"touched_2000_of_100000_E128", 2000, 100000, 128, {.step = 50}}};

  static AdamRows make(Maker& m, const AdamRowsShape& s) {
    AdamRows op{.scale = m.values<real>({1}, {0.5}),
                .value = m.uniform({s.V, s.E}),
                .m = m.uniform({s.V, s.E}),
                .v = m.uniform({s.V, s.E}, 0, 1),
                .last_step = m.ints({s.V}, 0, s.hyper.step - 1),
                .hyper = s.hyper,
                .column = s.column};
    make_row_gradient(m, s, op);
    return op;
  }
  static Writes writes(const AdamRows& op, const void* output, std::int64_t i) {
    const int row = static_cast<int>(output == op.last_step.data ? i : i / op.value.dim(1));
    const int *begin = op.rows.data, *end = begin + op.rows.dim(0);
    return std::binary_search(begin, end, row) ? Writes::update : Writes::keep;
  }
  static int reduction(const AdamRowsShape& s) { return 2 + s.T * s.U; }
  static double bytes(const AdamRows& op) { return 7.0 * sizeof(real) * op.rows.dim(0) * op.value.dim(1); }
};

}  // namespace bib::test
