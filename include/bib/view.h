// View<T, R>: a borrowed, contiguous, row-major tensor of rank R. Never owns; copy it freely.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "bib/real.h"

namespace bib {

enum class Device : std::uint8_t { cpu, cuda };

template <class T, int R>
struct View {
  static_assert(R >= 1);
  using value_type = std::remove_const_t<T>;
  static constexpr int rank = R;
  static constexpr bool is_output = !std::is_const_v<T>;

  T* data = nullptr;  // null: the operand is left out (only where the op says so)
  std::array<int, R> shape{};
  Device device = Device::cpu;

  constexpr int dim(int i) const { return shape[static_cast<std::size_t>(i)]; }

  constexpr std::int64_t size() const {
    std::int64_t n = 1;
    for (int extent : shape) n *= extent;
    return n;
  }

  constexpr explicit operator bool() const { return data != nullptr; }

  /// x[t] is the slice at index t of the outermost axis: a View of rank R-1, or T& when R is 1.
  constexpr decltype(auto) operator[](std::int64_t i) const {
    if constexpr (R == 1) {
      return (data[i]);
    } else {
      View<T, R - 1> slice{.data = data, .device = device};
      for (int d = 1; d < R; ++d) slice.shape[d - 1] = shape[d];
      slice.data += i * slice.size();
      return slice;
    }
  }

  /// The same elements seen with another shape of equal size.
  template <int Q>
  constexpr View<T, Q> reshaped(std::array<int, Q> to) const {
    return View<T, Q>{.data = data, .shape = to, .device = device};
  }

  constexpr operator View<const T, R>() const requires(!std::is_const_v<T>) {
    return {.data = data, .shape = shape, .device = device};
  }
};

}  // namespace bib
