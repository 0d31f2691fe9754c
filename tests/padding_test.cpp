// Every op whose samples declare a layout: padding and company never change a sequence's answer.
#include "tests/op_test.h"

namespace bib::test {
namespace {

template <class Op>
    struct HasLayout : std::bool_constant < requires {
  Samples<Op>::layout;
} > {};

using LayoutTypes = TypesOf<Kept<HasLayout, AllOps>::type>::type;

template <class Op>
class Padding : public ::testing::Test {};
TYPED_TEST_SUITE(Padding, LayoutTypes, OpName);

/// Where an element stands: its index along the axis of a letter, -1 without such an axis.
template <class V>
int index_along(const V& v, std::string_view layout, char letter, std::int64_t element) {
  for (int axis = V::rank - 1; axis >= 0; --axis) {
    const int index = static_cast<int>(element % v.dim(axis));
    if (layout.size() > static_cast<std::size_t>(axis) && layout[axis] == letter) return index;
    element /= v.dim(axis);
  }
  return -1;
}

bool has(std::string_view layout, char letter) { return layout.find(letter) != layout.npos; }

template <class Op>
int batch_size(const Op& op) {
  int B = 0;
  for_each_operand(op, [&](auto& v, int k) {
    const std::string_view layout = Samples<Op>::layout[k];
    if (has(layout, 'B')) B = v.dim(static_cast<int>(layout.find('B')));
  });
  return B;
}

template <class Op>
int steps_of(const Op& op, int b) {
  if constexpr (requires { op.lengths; }) return op.lengths[b];
  return std::numeric_limits<int>::max();
}

/// The part of v that belongs to sequence b: its batch index, and its steps where there is a time axis.
template <class V>
std::vector<std::int64_t> elements_of(const V& v, std::string_view layout, int b, int steps) {
  std::vector<std::int64_t> part;
  for (std::int64_t i = 0; i < v.size(); ++i) {
    const bool ours = index_along(v, layout, 'B', i) == b && index_along(v, layout, 'T', i) < steps;
    if (ours) part.push_back(i);
  }
  return part;
}

/// The op on sequence b alone: a batch of one, as long as the sequence (one padded step where its length is 0).
template <class Op>
Op alone(Maker& m, const Op& batch, int b) {
  Op one = batch;
  const int steps = std::max(1, steps_of(batch, b));
  for_each_operand(one, [&](auto& v, int k) {
    using V = std::remove_reference_t<decltype(v)>;
    const std::string_view layout = Samples<Op>::layout[k];
    if (!has(layout, 'B')) return;
    auto shape = v.shape;
    for (int axis = 0; axis < V::rank; ++axis) {
      if (layout[axis] == 'B') shape[axis] = 1;
      if (layout[axis] == 'T') shape[axis] = std::min(shape[axis], steps);
    }
    const auto from = elements_of(v, layout, b, steps);
    const auto to = m.allocate<typename V::value_type>(shape);
    for (std::size_t i = 0; i < from.size(); ++i) to.data[i] = v.data[from[i]];
    v = to;
  });
  return one;
}

/// Calls f(output, its view, its layout) for every output of the op.
template <class Op, class F>
void for_each_output(const Op& op, Outputs& outputs, F&& f) {
  auto output = outputs.begin();
  for_each_operand(op, [&](auto& v, int k) {
    if constexpr (std::remove_reference_t<decltype(v)>::is_output) f(*output++, v, Samples<Op>::layout[k]);
  });
}

TYPED_TEST(Padding, sequence_alone_has_the_answer_it_has_in_a_batch) {
  Context ctx;
  for_each_shape<TypeParam>(ctx, false, [&](Maker& m, const TypeParam& op, const auto& shape) {
    const Outputs batch = checked_run(ctx, op, Prefill::zero);
    Outputs sums = batch;  // outputs without a batch axis must be the sums over the sequences
    for_each_output(op, sums, [](Output& sum, auto&, std::string_view layout) {
      if (!has(layout, 'B')) std::fill(sum.values.begin(), sum.values.end(), 0.0);
    });
    for (int b = 0; b < batch_size(op); ++b) {
      const TypeParam one = alone(m, op, b);
      const Outputs got = checked_run(ctx, one, Prefill::zero);
      Outputs expected = batch;
      std::size_t k = 0;
      for_each_output(op, expected, [&](Output& output, auto& v, std::string_view layout) {
        const std::vector<double>& mine = got[k].values;
        std::vector<double>& sum = sums[k++].values;
        if (!has(layout, 'B')) {
          for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += mine[i];
          output.values = mine;
          return;
        }
        const auto from = elements_of(v, layout, b, std::max(1, steps_of(op, b)));
        output.values.clear();
        for (std::int64_t i : from) output.values.push_back(batch[k - 1].values[i]);
      });
      const Worst worst = compare(one, got, expected, tolerance<TypeParam>(shape));
      EXPECT_TRUE(worst.ok()) << "sequence " << b << " alone: " << worst.text();
    }
    const auto added = [](Writes w) { return w == Writes::add; };
    const Worst worst = compare_where(op, batch, sums, tolerance<TypeParam>(shape), added);
    EXPECT_TRUE(worst.ok()) << "sum over the sequences: " << worst.text();
  });
}

/// Huge values and invalid ids past a sequence's length must never be used.
TYPED_TEST(Padding, garbage_past_the_length_changes_no_bit) {
  for (Device device : devices()) {
    Context ctx({.device = device});
    for_each_shape<TypeParam>(ctx, false, [&](Maker&, const TypeParam& op, const auto&) {
      const Outputs expected = checked_run(ctx, op, Prefill::random);
      for_each_operand(op, [&](auto& v, int k) {
        using V = std::remove_cvref_t<decltype(v)>;
        using T = typename V::value_type;
        const std::string_view layout = Samples<TypeParam>::layout[k];
        if (V::is_output || !has(layout, 'T') || !has(layout, 'B')) return;
        auto* data = const_cast<T*>(v.data);  // made by a Maker, which owns it as mutable
        for (std::int64_t i = 0; i < v.size(); ++i) {
          if (index_along(v, layout, 'T', i) < steps_of(op, index_along(v, layout, 'B', i))) continue;
          data[i] = std::is_integral_v<T> ? std::numeric_limits<T>::max() : static_cast<T>(i % 2 ? 1e4 : -1e4);
        }
      });
      EXPECT_EQ(difference(op, checked_run(ctx, op, Prefill::random), expected), "");
    });
  }
}

}  // namespace
}  // namespace bib::test
