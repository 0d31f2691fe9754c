// Every op, every sample, every device at hand: same bits again, whatever the threads and whatever outputs held before.
#include "tests/op_test.h"

namespace bib::test {
namespace {

template <class Op>
class Repeat : public ::testing::Test {};
TYPED_TEST_SUITE(Repeat, AllTypes, OpName);

TYPED_TEST(Repeat, second_run_has_the_same_bits) {
  for (Device device : devices()) {
    Context ctx({.device = device});
    for_each_shape<TypeParam>(ctx, false, [&](Maker&, const TypeParam& op, const auto&) {
      const Outputs first = checked_run(ctx, op, Prefill::random);
      EXPECT_EQ(difference(op, checked_run(ctx, op, Prefill::random), first), "");
    });
  }
}

TYPED_TEST(Repeat, thread_count_does_not_change_a_bit) {
  Context one({.threads = 1});
  for_each_shape<TypeParam>(one, false, [&](Maker&, const TypeParam& op, const auto&) {
    const Outputs expected = checked_run(one, op, Prefill::random);
    for (int threads : {2, 3, 7}) {
      Context several({.threads = threads});
      EXPECT_EQ(difference(op, checked_run(several, op, Prefill::random), expected), "") << threads << " threads";
    }
  });
}

/// Where random prefill remains, the op did not write; where NaN remains or spreads, it read what it should overwrite.
TYPED_TEST(Repeat, outputs_set_do_not_depend_on_what_they_held) {
  for (Device device : devices()) {
    Context ctx({.device = device});
    for_each_shape<TypeParam>(ctx, false, [&](Maker&, const TypeParam& op, const auto&) {
      const Outputs a = checked_run(ctx, op, Prefill::random), b = checked_run(ctx, op, Prefill::nan);
      const auto set = [](Writes w) { return w == Writes::set; };
      const Worst worst = compare_where(op, b, a, 0, set);
      EXPECT_TRUE(worst.ok()) << "prefilled with NaN instead of random values: " << worst.text();
    });
  }
}

TYPED_TEST(Repeat, outputs_added_to_grow_by_what_they_would_be_from_zero) {
  for (Device device : devices()) {
    Context ctx({.device = device});
    for_each_shape<TypeParam>(ctx, false, [&](Maker&, const TypeParam& op, const auto& shape) {
      if (!writes_any(op, Writes::add)) return;
      const Outputs before = Placed<TypeParam>(ctx, op, Prefill::random).outputs();
      const Outputs got = checked_run(ctx, op, Prefill::random);
      Outputs expected = checked_run(ctx, op, Prefill::zero);
      for (std::size_t k = 0; k < expected.size(); ++k)
        for (std::size_t i = 0; i < expected[k].values.size(); ++i) expected[k].values[i] += before[k].values[i];
      const auto added = [](Writes w) { return w == Writes::add; };
      const Worst worst = compare_where(op, got, expected, tolerance<TypeParam>(shape), added);
      EXPECT_TRUE(worst.ok()) << worst.text();
    });
  }
}

TYPED_TEST(Repeat, elements_kept_are_not_touched) {
  for (Device device : devices()) {
    Context ctx({.device = device});
    for_each_shape<TypeParam>(ctx, false, [&](Maker&, const TypeParam& op, const auto&) {
      if (!writes_any(op, Writes::keep)) return;
      const Outputs before = Placed<TypeParam>(ctx, op, Prefill::random).outputs();
      const auto kept = [](Writes w) { return w == Writes::keep; };
      const Worst worst = compare_where(op, checked_run(ctx, op, Prefill::random), before, 0, kept);
      EXPECT_TRUE(worst.ok()) << worst.text();
    });
  }
}

}  // namespace
}  // namespace bib::test
