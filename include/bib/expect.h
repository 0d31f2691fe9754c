// Argument checks: what the caller got wrong becomes std::invalid_argument with a message that names it.
#pragma once
#include <array>
#include <stdexcept>
#include <string>
#include <string_view>

namespace bib {

inline void expect(bool condition, std::string_view what) {
  if (!condition) [[unlikely]]
    throw std::invalid_argument(std::string(what));
}

std::string shape_text(const int* shape, int rank);

/// Throws std::invalid_argument "op: operand is [2,3], expected [2,4]" unless the view has exactly this shape.
template <class V>
void expect_shape(std::string_view op, std::string_view operand, const V& view, std::array<int, V::rank> expected) {
  if (view.shape == expected && (view.data != nullptr || view.size() == 0)) [[likely]]
    return;
  throw std::invalid_argument(std::string(op) + ": " + std::string(operand) + " is " + (view.data ? "" : "(null) ") +
                              shape_text(view.shape.data(), V::rank) + ", expected " +
                              shape_text(expected.data(), V::rank));
}

/// Throws std::invalid_argument "op: operand[2,3] is 7, expected 0..6" for the first of the values, which are on the
/// host, that does not lie between `least` and `most`.
void expect_values(std::string_view op, std::string_view operand, const int* values, const int* shape, int rank,
                   int least, int most);
template <class V>
void expect_values(std::string_view op, std::string_view operand, const V& view, int least, int most) {
  expect_values(op, operand, view.data, view.shape.data(), V::rank, least, most);
}

/// The same for values [T,B], of which the steps from lengths[b] on may hold anything.
void expect_values_within(std::string_view op, std::string_view operand, const int* values, const int* lengths, int T,
                          int B, int least, int most);
template <class V, class L>
void expect_values_within(std::string_view op, std::string_view operand, const V& view, const L& lengths, int least,
                          int most) {
  expect_values_within(op, operand, view.data, lengths.data, view.dim(0), view.dim(1), least, most);
}

/// As expect_shape, for an operand that may be left out: an empty View (data == nullptr) passes.
template <class V>
void expect_shape_or_none(std::string_view op, std::string_view operand, const V& view,
                          std::array<int, V::rank> expected) {
  if (view.data) expect_shape(op, operand, view, expected);
}

}  // namespace bib
