// What the generic op tests and benchmarks know about an op: Samples<Op> and Gradient<Op>, one specialisation per op in
// tests/samples/<family>.h. tests/samples/linear.h is the example to copy. Everything else follows from operands().
#pragma once
#include <cmath>
#include <string_view>
#include <type_traits>

#include "tests/maker.h"

namespace bib::test {

/// What an op does to one element of an output.
enum class Writes {
  set,     // y  = f(inputs), whatever was there: tests fill it with random values and with NaN first
  add,     // y += f(inputs): tests compare a run from random values with one from zero
  update,  // y  = f(y, inputs), in place: tests start from what make() put there
  keep,    // y stays, bit for bit
  any,     // unspecified: may hold anything, is never compared
};

/// An axis of an operand, both counted from 0.
struct OperandAxis {
  int operand, axis;
};

/// template <> struct Samples<LstmForward> {
///   struct or alias Shape            a plain struct that begins with `std::string_view name`; the name says why it is
///   there static constexpr Shape shapes[]  small ones for the tests: one element, odd tails, empty or full lengths,
///   real use static constexpr Shape timed[]   for the benchmark, named by size ("ner_32x64x256"); without it, `shapes`
///   static Op make(Maker&, const Shape&)
///   static int reduction(const Shape&)      terms in the longest sum: sets the tolerance
/// Optional:
///   static Writes writes(const Op&, const void* output, std::int64_t i)
///                                    output == op.d_w.data ...; without it, every element is `set`
///   static constexpr std::string_view layout[]  one string per operand, in the order of operands(), one letter per
///                                    axis: "TBI", "B", "", ...: T is time, B is batch. With it (and op.lengths), tests
///                                    check that a sequence alone, in a batch, and with garbage in its padding gives
///                                    the same answer, and that gradients of a batch are the sums of its sequences'
///   static constexpr OperandAxis free[]      what check() takes at any extent, as nothing else tells it; all other
///                                    axes of all operands are compared with another
///   static constexpr bool exact = true          sums and products only: on small integers, equality to the last bit
///   static constexpr double looseness = 4       factor on the tolerance, with the reason beside it
///   static constexpr double magnitude = 1       size of the terms, where the result may cancel to far less (a loss
///                                    that is a difference of logarithms); without it, the result's own rms counts
///   static double flops(const Op&)              for GFLOP/s: what the result needs, padding and exp() not counted
///   static double bytes(const Op&)              where less than all operands is moved (rows of a table)
/// };
template <class Op>
struct Samples;

/// Pairs a forward op with its gradients, for the check by central differences (only for ops that have gradients):
/// template <> struct Gradient<LinearForward> {
///   static auto inputs(auto& f) { return std::tie(f.x, f.w, f.b); }     what is differentiated with respect to
///   static auto outputs(auto& f) { return std::tie(f.y); }              what the loss sum(r * y) reads
///   static auto gradients(Maker&, const Op& f, View<const real, 2> d_y) -> std::tuple of views, one per input:
///                                    runs the backward op, given f (already run) and the gradient of each output
/// };
/// An op that gives loss and gradients in one pass (CrfLoss) multiplies its weight by d_loss and runs itself.
template <class Op>
struct Gradient;

template <class Op>
concept Sampled = requires {
  Samples<Op>::shapes;
};
template <class Op>
concept Differentiable = Sampled<Op> && requires(Op f) {
  Gradient<Op>::inputs(f);
};

template <class Op>
using ShapeOf = std::remove_cvref_t<decltype(Samples<Op>::shapes[0])>;

template <class Op>
Writes writes(const Op& op, const void* output, std::int64_t i) {
  if constexpr (requires { Samples<Op>::writes(op, output, i); }) {
    return Samples<Op>::writes(op, output, i);
  } else {
    return Writes::set;
  }
}

template <class Op>
constexpr bool exact_on_integers() {
  if constexpr (requires { Samples<Op>::exact; }) return Samples<Op>::exact;
  return false;
}

/// |a - b| <= tolerance (|b| + rms(b)): 8 eps for each doubling of the longest sum (rounding errors of a sum grow with
/// the depth of its tree), twice that for backward ops, which consume a rounded forward. Fast math rounds what is
/// multiplied, to fp16 or TF32 forward and bf16 backward, by 2^-11, 2^-10 (cut off) and 2^-8 at most, and tanh, by
/// 2^-11; the errors of many products do not add up, those of many steps do, a little.
template <class Op>
double tolerance(const ShapeOf<Op>& shape, Math math = Math::strict) {
  if (math == Math::fast) return Op::name.ends_with("_backward") ? 0x1p-6 : 0x1p-8;
  double t = 8.0 * std::numeric_limits<real>::epsilon() * std::ceil(std::log2(2.0 + Samples<Op>::reduction(shape)));
  if constexpr (requires { Samples<Op>::looseness; }) t *= Samples<Op>::looseness;
  return Op::name.ends_with("_backward") ? 2 * t : t;
}

/// Steps that are not padding: what an op with lengths has to work on.
inline double steps(View<const int, 1> lengths) {
  double sum = 0;
  for (int b = 0; b < lengths.dim(0); ++b) sum += lengths[b];
  return sum;
}

/// Calls f(view, index) for every operand that is not left out, index counting all of them.
template <class Op, class F>
void for_each_operand(Op& op, F&& f) {
  int index = 0;
  std::apply([&](auto&... v) { ((v ? f(v, index) : void(), ++index), ...); }, Op::operands(op));
}

}  // namespace bib::test
