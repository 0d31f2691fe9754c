// Every op, every sample: CUDA against the CPU. Built against any library whose cuda device works: the GPU's, or the
// emulator's.
#include <cmath>
#include <limits>

#include "tests/lstm_on_device.h"

namespace bib::test {
namespace {

template <class Op>
class Parity : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
  }
};
TYPED_TEST_SUITE(Parity, AllTypes, OpName);

template <class Op>
Worst worst_of_all_shapes(bool whole, Math math = Math::strict, const Shift& shift = {}) {
  Context cpu, cuda({.device = Device::cuda, .math = math});
  Worst worst;
  for_each_shape<Op>(cuda, whole, [&](Maker&, const Op& op, const auto& shape) {
    // Added to numbers that are not whole, sums round as they are cut.
    const Prefill prefill = whole ? Prefill::zero : Prefill::random;
    const double allowed = whole ? 0 : tolerance<Op>(shape, math);
    const Worst found = compare(op, checked_run(cuda, op, prefill, shift), checked_run(cpu, op, prefill), allowed);
    EXPECT_TRUE(found.ok()) << found.text();
    worst.take(found);
  });
  return worst;
}

TYPED_TEST(Parity, cuda_gives_the_answer_of_the_cpu) {
  report("cpu", TypeParam::name, worst_of_all_shapes<TypeParam>(false));
}

/// A float or two behind where memory is aligned: what takes several numbers at once must look where they lie. An
/// address that does not suit an instruction ends everything that a process does on a GPU.
/// Every second operand, as each has to be looked at.
struct Anywhere {
  int first;
  std::size_t operator()(int operand, const void* = nullptr) const {
    return operand % 2 == first ? (operand % 4 < 2 ? 1 : 2) * sizeof(real) : 0;
  }
};

TYPED_TEST(Parity, operands_may_begin_anywhere) {
  for (const int first : {0, 1}) worst_of_all_shapes<TypeParam>(false, Math::strict, Anywhere{first});
}

/// The ops that compute otherwise when they may use tensor cores.
using FastTypes = ::testing::Types<LinearForward, LinearBackward, Conv1dForward, Conv1dBackward>;
template <class Op>
class ParityOfFastMath : public Parity<Op> {};
TYPED_TEST_SUITE(ParityOfFastMath, FastTypes, OpName);

TYPED_TEST(ParityOfFastMath, cuda_is_within_its_rounding) {
  report("cpu, fast math", TypeParam::name, worst_of_all_shapes<TypeParam>(false, Math::fast));
}

template <class Op>
class ParityOfLstmInFastMath : public Parity<Op> {};
using LstmTypes = ::testing::Types<LstmForward, LstmBackward>;
TYPED_TEST_SUITE(ParityOfLstmInFastMath, LstmTypes, OpName);

TYPED_TEST(ParityOfLstmInFastMath, cuda_is_within_its_rounding) {
  Context cuda({.device = Device::cuda, .math = Math::fast});
  Worst worst;
  for (const LstmShape& shape : Samples<TypeParam>::shapes) {
    SCOPED_TRACE(scene<TypeParam>(shape.name, cuda));
    const Against<TypeParam> cpu(Math::fast, shape);
    const Worst found = cpu.worst_of(checked_run(cuda, cpu.op, Prefill::random));
    EXPECT_TRUE(found.ok()) << found.text();
    worst.take(found);
  }
  report("cpu, fast math", TypeParam::name, worst);
}

/// But for gates, which tell whether the kernels for tensor cores are taken.
TYPED_TEST(ParityOfLstmInFastMath, operands_may_begin_anywhere) {
  Context cuda({.device = Device::cuda, .math = Math::fast});
  std::vector<LstmShape> shapes(std::begin(Samples<TypeParam>::shapes), std::end(Samples<TypeParam>::shapes));
  shapes.push_back({"a_mask_by_fours", 4, 3, 4, 8, 2, true});
  for (const LstmShape& shape : shapes) {
    SCOPED_TRACE(scene<TypeParam>(shape.name, cuda));
    const Against<TypeParam> cpu(Math::fast, shape);
    for (const Anywhere anywhere : {Anywhere{0}, Anywhere{1}}) {
      const auto but_gates = [&](int i, const void* data) { return data == cpu.op.gates.data ? 0 : anywhere(i); };
      const Worst found = cpu.worst_of(checked_run(cuda, cpu.op, Prefill::random, but_gates));
      EXPECT_TRUE(found.ok()) << found.text();
    }
  }
}

/// Rounded products may let another of two near positions win, so the convolution with its maximum is compared without
/// `where`, and with it on small integers, which fp16 holds exactly.
class ConvPoolInFastMath : public Parity<ConvPoolForward> {};
TEST_F(ConvPoolInFastMath, conv_pool_is_within_its_rounding) {
  Context cpu, cuda({.device = Device::cuda, .math = Math::fast});
  Worst worst;
  for_each_shape<ConvPoolForward>(cuda, false, [&](Maker&, ConvPoolForward op, const auto& shape) {
    op.where = {};
    const double allowed = tolerance<ConvPoolForward>(shape, Math::fast);
    const Outputs expected = checked_run(cpu, op, Prefill::random);
    worst.take(compare(op, checked_run(cuda, op, Prefill::random), expected, allowed));
    if (shape.C % 4 == 0)  // else channels are read singly, wherever they lie
      worst.take(compare(op, checked_run(cuda, op, Prefill::random, Anywhere{0}), expected, allowed));
  });
  EXPECT_TRUE(worst.ok()) << worst.text();
  report("cpu, fast math", ConvPoolForward::name, worst);
}
TEST_F(ConvPoolInFastMath, conv_pool_is_exact_on_integers) { worst_of_all_shapes<ConvPoolForward>(true, Math::fast); }

/// An infinite one would meet the zeros around a sequence.
TEST_F(ConvPoolInFastMath, conv_pool_takes_what_fp16_cannot_hold_as_its_largest) {
  if (cuda_info().compute_major < 8) GTEST_SKIP() << "strict kernels";
  Context cpu, cuda({.device = Device::cuda, .math = Math::fast});
  Maker m(test_seed(), true);
  const auto x = m.uniform({6, 4, 3}), w = m.uniform({4, 3, 9});
  const ConvPoolForward op{.x = x,
                           .ids = {},
                           .table = {},
                           .lengths = m.lengths(4, 6),
                           .w = w,
                           .b = m.uniform({9}),
                           .y = m.output({4, 9}),
                           .where = m.output<int>({4, 9}),
                           .pad = 3,
                           .column = 0};
  const auto run_with = [&](Context& ctx, real large) {
    w[0][0][1] = large, w[1][2][4] = -large, x[0][1][1] = large;
    return checked_run(ctx, op, Prefill::zero);
  };
  const Worst worst = compare(op, run_with(cuda, 1e6f), run_with(cpu, 65504), 0);
  EXPECT_TRUE(worst.ok()) << worst.text();
}

/// Of one step among others that the same thread computes, before and behind it.
TEST_F(ConvPoolInFastMath, conv_pool_keeps_what_is_no_number_in_either_math) {
  Maker m;
  const auto x = m.uniform({120, 1, 3});
  x[40][0][1] = std::numeric_limits<real>::quiet_NaN();
  const ConvPoolForward op{.x = x,
                           .ids = {},
                           .table = {},
                           .lengths = m.ints({1}, 120, 120),
                           .w = m.uniform({2, 3, 9}),
                           .b = m.uniform({9}),
                           .y = m.output({1, 9}),
                           .where = {},
                           .pad = 0,
                           .column = 0};
  for (const Math math : {Math::strict, Math::fast}) {
    Context cuda({.device = Device::cuda, .math = math});
    const Outputs got = checked_run(cuda, op, Prefill::zero);
    for (const double y : got[0].values) EXPECT_TRUE(std::isnan(y)) << y;
  }
}

template <class Op>
class ParityOfIntegers : public Parity<Op> {};
TYPED_TEST_SUITE(ParityOfIntegers, ExactTypes, OpName);

TYPED_TEST(ParityOfIntegers, is_exact) { worst_of_all_shapes<TypeParam>(true); }

}  // namespace
}  // namespace bib::test
