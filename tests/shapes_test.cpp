// Every op: an operand of another shape is refused, but on the axes that the sample says are free.
#include <gmock/gmock.h>

#include <set>
#include <utility>

#include "tests/op_test.h"

namespace bib::test {
namespace {

using Axes = std::set<std::pair<int, int>>;  // operand, axis

template <class Op>
Axes free_axes() {
  Axes free;
  if constexpr (requires { Samples<Op>::free; })
    for (const OperandAxis& a : Samples<Op>::free) free.insert({a.operand, a.axis});
  return free;
}

/// The message of what check() throws; empty where nothing is.
template <class Op>
std::string refusal(const Op& op) {
  try {
    op.check();
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

template <class Op>
class Shapes : public ::testing::Test {};
TYPED_TEST_SUITE(Shapes, AllTypes, OpName);

TYPED_TEST(Shapes, that_differ_are_refused) {
  Axes taken, refused;  // for some sample
  for (const auto& shape : Samples<TypeParam>::shapes) {
    Maker maker;
    TypeParam op = Samples<TypeParam>::make(maker, shape);
    ASSERT_EQ(refusal(op), "") << shape.name;
    for_each_operand(op, [&](auto& v, int k) {
      for (int axis = 0; axis < v.rank; ++axis) {
        int& extent = v.shape[static_cast<std::size_t>(axis)];
        const int right = extent;
        for (const int wrong : {right + 1, right - 1}) {
          if (wrong < 0) continue;
          extent = wrong;
          const std::string why = refusal(op);
          extent = right;
          (why.empty() ? taken : refused).insert({k, axis});
          if (!why.empty()) {
            EXPECT_THAT(why, ::testing::HasSubstr(TypeParam::name));
          }
        }
      }
    });
  }
  for (const auto& axis : refused) taken.erase(axis);
  EXPECT_EQ(taken, free_axes<TypeParam>()) << "{operand, axis}: what check() takes at any extent, and Samples::free. "
                                              "Compare it in check(), or say there that it is free";
}

}  // namespace
}  // namespace bib::test
