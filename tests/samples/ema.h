#pragma once
#include <algorithm>

#include "tests/harness.h"

namespace bib::test {

struct EmaShape {
  std::string_view name;
  int N;
  float decay;
};

template <>
struct Samples<EmaStep> {
  static constexpr EmaShape shapes[] = {
      {"none", 0, 0.9f}, {"one", 1, 0.9f}, {"odd_tail", 131, 0.999f}, {"several_tasks", 40001, 0.5f}};
  static constexpr EmaShape timed[] = {{"parameters_4M", 1 << 22, 0.999f}};

  static EmaStep make(Maker& m, const EmaShape& s) {
    return {.value = m.uniform({s.N}), .average = m.uniform({s.N}), .decay = s.decay};
  }
  static Writes writes(const EmaStep&, const void*, std::int64_t) { return Writes::update; }
  static int reduction(const EmaShape&) { return 2; }
  static double bytes(const EmaStep& op) { return 3.0 * sizeof(real) * static_cast<double>(op.value.size()); }
};

struct EmaRowsShape {
  std::string_view name;
  int U, V, E;
  float decay;
  int step;
};

template <>
struct Samples<EmaRows> {
  static constexpr EmaRowsShape shapes[] = {{"one", 1, 1, 1, 0.9f, 1},
                                            {"no_rows", 0, 4, 3, 0.9f, 2},
                                            {"all_rows_odd", 7, 7, 13, 0.9f, 5},
                                            {"some_rows_slept_long", 60, 300, 40, 0.99f, 5000}};
  static constexpr OperandAxis free[] = {{0, 0}};  // U
  static constexpr EmaRowsShape timed[] = {{"touched_2000_of_100000_E128", 2000, 100000, 128, 0.999f, 50}};

  static EmaRows make(Maker& m, const EmaRowsShape& s) {
    return {.rows = m.unique(s.U, s.V),
            .value = m.uniform({s.V, s.E}),
            .average = m.uniform({s.V, s.E}),
            .averaged_step = m.ints({s.V}, 0, s.step),
            .decay = s.decay,
            .step = s.step};
  }
  static Writes writes(const EmaRows& op, const void* output, std::int64_t i) {
    const int row = static_cast<int>(output == op.averaged_step.data ? i : i / op.value.dim(1));
    const int *begin = op.rows.data, *end = begin + op.rows.dim(0);
    return std::binary_search(begin, end, row) ? Writes::update : Writes::keep;
  }
  static int reduction(const EmaRowsShape&) { return 2; }
  static double bytes(const EmaRows& op) {
    return 3.0 * sizeof(real) * static_cast<double>(op.rows.dim(0)) * op.value.dim(1);
  }
};

}  // namespace bib::test
