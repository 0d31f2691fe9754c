// Ops against the formula in their header, written out in double: once for every sample shape.
#pragma once
#include "tests/op_test.h"

namespace bib::test {

/// |got - expected| <= tolerance (|expected| + rms of all expected), in every element.
template <class V>
void expect_near(const V& got, const std::vector<double>& expected, double tolerance, const char* operand) {
  ASSERT_EQ(got.size(), static_cast<std::int64_t>(expected.size())) << operand;
  const double rms = root_mean_square(expected);
  Worst worst;
  for (std::int64_t i = 0; i < got.size(); ++i) {
    const double value = static_cast<double>(got.data[i]), wanted = expected[static_cast<std::size_t>(i)];
    const double allowed = tolerance * (std::abs(wanted) + rms);
    worst.take({.fraction = error_fraction(value, wanted, allowed),
                .operand = 0,
                .element = i,
                .got = value,
                .expected = wanted,
                .allowed = allowed});
  }
  EXPECT_TRUE(worst.ok()) << operand << ": " << worst.text();
}

/// For every sample: runs the op, then check(op, tolerance, before), where `before` is a copy of the op whose operands
/// still hold what they held before the run.
template <class Op, class F>
void for_each_run(F&& check) {
  Context ctx;
  for (const auto& shape : Samples<Op>::shapes) {
    SCOPED_TRACE(scene<Op>(shape.name, ctx));
    Maker first, second;
    const Op before = Samples<Op>::make(first, shape), op = Samples<Op>::make(second, shape);
    run(ctx, op);
    check(op, tolerance<Op>(shape), before);
  }
}

}  // namespace bib::test
