#pragma once
#include <algorithm>

#include "tests/harness.h"

namespace bib::test {

struct AddAtShape {
  std::string_view name;
  int U, N;
};

template <>
struct Samples<AddAt> {
  static constexpr AddAtShape shapes[] = {{"none", 0, 4},  {"of_nothing", 0, 0},       {"one", 1, 1},
                                          {"all", 31, 31}, {"a_few_of_many", 7, 5000}, {"several_blocks", 1500, 4000}};
  static constexpr AddAtShape timed[] = {{"terms_of_32x64x31", 600, 32 * 64 * 31}};
  static constexpr OperandAxis free[] = {{2, 0}};  // N
  static constexpr bool exact = true;

  static AddAt make(Maker& m, const AddAtShape& s) {
    return {.at = m.unique(s.U, s.N), .value = m.uniform({s.U}), .y = m.output({s.N})};
  }
  static Writes writes(const AddAt& op, const void*, std::int64_t i) {
    const int *begin = op.at.data, *end = begin + op.at.dim(0);
    return std::binary_search(begin, end, static_cast<int>(i)) ? Writes::add : Writes::keep;
  }
  static int reduction(const AddAtShape&) { return 1; }
  static double bytes(const AddAt& op) { return 4.0 * sizeof(real) * op.at.dim(0); }
};

}  // namespace bib::test
