// Comparing what two runs of an op left in its outputs, element by element and by the rule that Samples<Op>::writes
// gives for it.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

#include "tests/placed.h"

namespace bib::test {

/// The element that used up most of its allowed error; a failure when that is more than all of it.
struct Worst {
  double fraction = 0;  // of the allowed error
  int operand = -1;
  std::int64_t element = -1;
  double got = 0, expected = 0, allowed = 0;

  void take(const Worst& other) {
    if (other.fraction > fraction) *this = other;
  }
  bool ok() const { return fraction <= 1; }
  std::string text() const {
    char line[256];
    std::snprintf(line, sizeof line, "operand %d, element %lld: got %.9g, expected %.9g, allowed error %.3g", operand,
                  static_cast<long long>(element), got, expected, allowed);
    return line;
  }
};

inline bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

inline double root_mean_square(const std::vector<double>& values) {
  double sum = 0, n = 0;
  for (double v : values) {
    if (std::isfinite(v)) sum += v * v, ++n;
  }
  return n > 0 ? std::sqrt(sum / n) : 0;
}

/// Fraction of the allowed error: 0 for equal bits or equal values, infinite where only one is NaN or infinite.
inline double error_fraction(double got, double expected, double allowed) {
  if (got == expected || (std::isnan(got) && std::isnan(expected))) return 0;
  const double error = std::abs(got - expected);
  if (!std::isfinite(error) || allowed == 0) return INFINITY;
  return error / allowed;
}

/// The data of every output of the op as made, by operand.
template <class Op>
const void* output_data(const Op& op, int wanted) {
  const void* data = nullptr;
  for_each_operand(op, [&](auto& v, int operand) {
    if (operand == wanted) data = v.data;
  });
  return data;
}

/// `select(writes, output, i)` says which elements count.
template <class Op, class Select>
Worst compare_where(const Op& op, const Outputs& got, const Outputs& expected, double tolerance, Select&& select) {
  double magnitude = 0;
  if constexpr (requires { Samples<Op>::magnitude; }) magnitude = Samples<Op>::magnitude;
  Worst worst;
  for (std::size_t k = 0; k < got.size(); ++k) {
    const Output &a = got[k], &b = expected[k];
    const void* data = output_data(op, a.operand);
    const double scale = std::max(root_mean_square(b.values), magnitude);
    for (std::size_t i = 0; i < a.values.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      if (!select(writes(op, data, at))) continue;
      const double allowed = a.integer ? 0 : tolerance * (std::abs(b.values[i]) + scale);
      worst.take({.fraction = error_fraction(a.values[i], b.values[i], allowed),
                  .operand = a.operand,
                  .element = at,
                  .got = a.values[i],
                  .expected = b.values[i],
                  .allowed = allowed});
    }
  }
  return worst;
}

template <class Op>
Worst compare(const Op& op, const Outputs& got, const Outputs& expected, double tolerance) {
  return compare_where(op, got, expected, tolerance, [](Writes w) { return w != Writes::any; });
}

/// Empty, or the first element whose bits differ.
template <class Op>
std::string difference(const Op& op, const Outputs& got, const Outputs& expected) {
  for (std::size_t k = 0; k < got.size(); ++k) {
    const void* data = output_data(op, got[k].operand);
    for (std::size_t i = 0; i < got[k].values.size(); ++i) {
      const double a = got[k].values[i], b = expected[k].values[i];
      if (same_bits(a, b) || writes(op, data, static_cast<std::int64_t>(i)) == Writes::any) continue;
      return Worst{.operand = got[k].operand, .element = static_cast<std::int64_t>(i), .got = a, .expected = b}.text();
    }
  }
  return "";
}

}  // namespace bib::test
