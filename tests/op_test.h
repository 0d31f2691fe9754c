// What the generic op tests share: the list of ops as gtest types, the devices at hand, one checked run.
#pragma once
#include <gtest/gtest.h>

#include <optional>

#include "tests/compare.h"
#include "tests/cuda_at_hand.h"
#include "tests/samples.h"

namespace bib::test {

template <class List>
struct TypesOf;
template <class... Ops>
struct TypesOf<OpList<Ops...>> {
  using type = ::testing::Types<Ops...>;
};

template <class... Lists>
struct Joined {
  using type = OpList<>;
};
template <class... A, class... B, class... Rest>
struct Joined<OpList<A...>, OpList<B...>, Rest...> : Joined<OpList<A..., B...>, Rest...> {};
template <class List>
struct Joined<List> {
  using type = List;
};

/// The ops of the list for which Keep<Op>::value holds.
template <template <class> class Keep, class List>
struct Kept;
template <template <class> class Keep, class... Ops>
struct Kept<Keep, OpList<Ops...>> {
  using type = typename Joined<std::conditional_t<Keep<Ops>::value, OpList<Ops>, OpList<>>...>::type;
};
template <class Op>
struct IsDifferentiable : std::bool_constant<Differentiable<Op>> {};
template <class Op>
struct IsExact : std::bool_constant<exact_on_integers<Op>()> {};

using AllTypes = TypesOf<AllOps>::type;
using DifferentiableTypes = TypesOf<Kept<IsDifferentiable, AllOps>::type>::type;
using ExactTypes = TypesOf<Kept<IsExact, AllOps>::type>::type;

struct OpName {
  template <class Op>
  static std::string GetName(int) {
    return std::string(Op::name);
  }
};

inline std::vector<Device> devices() {
  std::vector<Device> all{Device::cpu};
  if (cuda_at_hand()) all.push_back(Device::cuda);
  return all;
}

/// "lstm_forward, shape odd_tails, seed 1, cuda. Again: BIB_SEED=1 build/tests/repeat_test --gtest_filter=..."
template <class Op>
std::string scene(std::string_view shape, const Context& ctx) {
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::string seed = std::to_string(test_seed()), isa = cpu_isa_name();
  return std::string(Op::name) + ", shape " + std::string(shape) + ", seed " + seed + ", " +
         (ctx.device() == Device::cuda ? "cuda" : "cpu " + isa + ", " + std::to_string(ctx.threads()) + " threads") +
         "\nAgain: BIB_SEED=" + seed + " BIB_CPU_ISA=" + isa + " " + ::testing::internal::GetArgvs()[0] +
         " --gtest_filter='" + test->test_suite_name() + "." + test->name() + "'";
}

/// Scratch that an op reads before it wrote it is NaN.
inline void poison_arena(Context& ctx) {
  ctx.arena().reset();  // one block, which the poison fills
  const int n = static_cast<int>(std::max<std::size_t>(ctx.arena().bytes_reserved(), 1 << 20) / sizeof(real));
  ArenaScope scope(ctx.arena());
  const auto scratch = ctx.arena().make<real, 1>({n});
  const std::vector<real> poison(static_cast<std::size_t>(n), std::numeric_limits<real>::quiet_NaN());
  copy_bytes(ctx, scratch.data, scratch.device, poison.data(), Device::cpu, poison.size() * sizeof(real));
}

/// Runs a copy of the op and checks that it kept to its outputs.
template <class Op>
Outputs checked_run(Context& ctx, const Op& op, Prefill prefill, const Shift& shift = {}) {
  Placed<Op> placed(ctx, op, prefill, shift);
  poison_arena(ctx);
  placed.run();
  ctx.wait();
  EXPECT_EQ(placed.trespass(), "");
  return placed.outputs();
}

/// For every shape: f(maker, op, shape). `whole` makes operands of small integers.
template <class Op, class F>
void for_each_shape(Context& ctx, bool whole, F&& f) {
  for (const auto& shape : Samples<Op>::shapes) {
    SCOPED_TRACE(scene<Op>(shape.name, ctx));
    Maker maker(test_seed(), whole);
    const Op op = Samples<Op>::make(maker, shape);
    f(maker, op, shape);
  }
}

/// Whether the op writes any element in this way: without one, there is nothing to run for.
template <class Op>
bool writes_any(const Op& op, Writes how) {
  bool found = false;
  for_each_operand(op, [&](const auto& v, int) {
    if constexpr (std::remove_cvref_t<decltype(v)>::is_output) {
      for (std::int64_t i = 0; i < v.size() && !found; ++i) found = writes(op, v.data, i) == how;
    }
  });
  return found;
}

/// The longest line a passing test prints: how much of the allowed error was used, and where.
inline void report(const char* against, std::string_view op, const Worst& worst) {
  if (worst.operand < 0) return;
  std::printf("  %.*s against %s: worst %.3f of the allowed error, %s\n", static_cast<int>(op.size()), op.data(),
              against, worst.fraction, worst.text().c_str());
}

}  // namespace bib::test
