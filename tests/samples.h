// Every sample file, one per op family. An op without a sample, or a backward op without a gradient check, does not
// compile: what is not sampled would be neither tested nor timed.
#pragma once
#include "tests/samples/adam.h"
#include "tests/samples/add_at.h"
#include "tests/samples/conv1d.h"
#include "tests/samples/conv_pool.h"
#include "tests/samples/crf.h"
#include "tests/samples/dropout.h"
#include "tests/samples/ema.h"
#include "tests/samples/embedding.h"
#include "tests/samples/linear.h"
#include "tests/samples/loss.h"
#include "tests/samples/lstm.h"
#include "tests/samples/max_pool.h"
#include "tests/samples/norm.h"
#include "tests/samples/sgd.h"

namespace bib::test {

/// Whether the gradients that Backward computes are checked: FooBackward by Gradient<FooForward>.
template <class Backward, class... Ops>
constexpr bool gradient_checked() {
  constexpr std::string_view suffix = "_backward", name = Backward::name, family = name.substr(0, name.find(suffix));
  if (!name.ends_with(suffix)) return true;
  return ((Ops::name.starts_with(family) && Ops::name.substr(family.size()) == "_forward" && Differentiable<Ops>) ||
          ...);
}

template <class Op, class... Ops>
struct SampleOf {
  static_assert(Sampled<Op>, "this op has no Samples<Op>: write tests/samples/<family>.h and include it here");
  static_assert(gradient_checked<Op, Ops...>(), "this op's forward has no Gradient<Op>: write it beside its sample");
  static constexpr bool found = true;
};

template <class... Ops>
constexpr bool every_op_has_a_sample(OpList<Ops...>) {
  return (SampleOf<Ops, Ops...>::found && ...);
}
static_assert(every_op_has_a_sample(AllOps{}));

}  // namespace bib::test
