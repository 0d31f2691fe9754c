#pragma once
#include "tests/harness.h"

namespace bib::test {

struct NormShape {
  std::string_view name;
  int N;
};

template <>
struct Samples<NormSquared> {
  static constexpr NormShape shapes[] = {
      {"none", 0}, {"one", 1}, {"odd_tail", 131}, {"several_chunks", 40001}, {"a_chunk_exactly", 16384}};
  static constexpr NormShape timed[] = {{"parameters_4M", 1 << 22}};
  static constexpr bool exact = true;

  static NormSquared make(Maker& m, const NormShape& s) { return {.x = m.uniform({s.N}), .sum = m.output({1})}; }
  static Writes writes(const NormSquared&, const void*, std::int64_t) { return Writes::add; }
  static int reduction(const NormShape& s) { return s.N; }
  static double flops(const NormSquared& op) { return 2.0 * op.x.dim(0); }
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
