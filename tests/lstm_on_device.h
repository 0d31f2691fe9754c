// The LSTM's samples where a device may keep gates in a form of its own, which only its own backward reads: in fast
// math (include/bib/ops/lstm.h).
#pragma once
#include <algorithm>

#include "tests/op_test.h"

namespace bib::test {

/// The op as a device in this math meets it: backward in fast math behind a forward pass of that device. Operands are
/// the same for the same seed of the maker, but for what forward made.
template <class Op>
Op made_for(Device device, Math math, Maker& m, const LstmShape& s) {
  if constexpr (std::is_same_v<Op, LstmBackward>) {
    if (device == Device::cuda && math == Math::fast) {
      Context ctx({.device = device, .math = math});  // of its own: tests count what theirs enqueues
      LstmForward f = Samples<LstmForward>::make(m, s);
      const Outputs got = checked_run(ctx, f, Prefill::nan);  // nothing that is left unwritten may matter
      auto from = got.begin();
      for_each_operand(f, [&](auto& v, int) {
        if constexpr (std::remove_reference_t<decltype(v)>::is_output) {
          std::ranges::transform(from->values, v.data, [](double x) { return static_cast<real>(x); });
          ++from;
        }
      });
      return Samples<LstmBackward>::of(m, f, m.uniform({s.T, s.B, s.D * s.H}));
    }
  }
  return Samples<Op>::make(m, s);
}

/// What two devices both tell: of forward in fast math all but gates.
template <class Op>
Outputs comparable(const Op& op, Math math, Outputs outputs) {
  if constexpr (std::is_same_v<Op, LstmForward>) {
    if (math == Math::fast)
      std::erase_if(outputs, [&](const Output& o) { return output_data(op, o.operand) == op.gates.data; });
  }
  return outputs;
}

/// The op of a shape for a GPU in this math, and what the CPU makes of the sample.
template <class Op>
struct Against {
  Maker maker{test_seed(), false};
  Math math;
  Op op;
  Outputs expected;
  double allowed;

  Against(Math m, const LstmShape& shape)
      : math(m), op(made_for<Op>(Device::cuda, m, maker, shape)), allowed(tolerance<Op>(shape, m)) {
    Context cpu;
    Maker of_cpu(test_seed(), false);
    const Op reference = Samples<Op>::make(of_cpu, shape);
    expected = comparable(reference, math, checked_run(cpu, reference, Prefill::random));
  }
  Worst worst_of(const Outputs& got) const { return compare(op, comparable(op, math, got), expected, allowed); }

  /// Runs it; a failure where it differs by more than is allowed.
  Outputs run(Context& cuda) const {
    Outputs got = checked_run(cuda, op, Prefill::random);
    const Worst worst = worst_of(got);
    EXPECT_TRUE(worst.ok()) << worst.text();
    report("cpu", Op::name, worst);
    return got;
  }
};

}  // namespace bib::test
