// Where things lie in a unit of sentences, for the LSTM's kernels. Only for *.simd.cpp.
#pragma once
#include <cstddef>

#include "cpu/lstm.simd.h"
#include "cpu/vec.h"

namespace bib::BIB_ISA {

BIB_INLINE int blocks_of(int H) { return (H + lanes - 1) / lanes; }

/// Where step t's predecessor lies, and how many of the active sentences have one.
BIB_INLINE int previous_step(const LstmUnit& u, int t) { return u.direction == 0 ? t - 1 : t + 1; }
BIB_INLINE int carried(const LstmUnit& u, int t) {
  return u.direction == 1 ? u.active[t + 1] : t > 0 ? u.active[t] : 0;
}
BIB_INLINE std::ptrdiff_t token(const LstmUnit& u, int t, int j) { return std::ptrdiff_t{t} * u.B + u.sentence[j]; }

/// A unit through time: f.add(token) for each token of some steps, f.products() once for them, f.step(t, row) for each
/// step in turn, row being that of its first token.
template <class Unit, class F>
BIB_INLINE void through_time(const Unit& u, F&& f) {
  for (int q = 0; q < u.steps;) {
    const auto time = [&](int step) { return u.direction == 0 ? step : u.steps - 1 - step; };
    int rows = 0, end = q;  // as many steps as fit: their input products run as one
    for (; end < u.steps && rows + u.active[time(end)] <= u.chunk_rows; ++end)
      for (int j = 0; j < u.active[time(end)]; ++j) f.add(rows++, token(u, time(end), j));
    f.products(rows);
    for (int row = 0; q < end; ++q) {
      f.step(time(q), row);
      row += u.active[time(q)];
    }
  }
}

/// h of the padding is 0.
template <class Unit>
BIB_INLINE void clear_padding(const Unit& u, int t, int from) {
  for (int j = from; j < u.count; ++j)
    __builtin_memset(u.h + token(u, t, j) * u.D * u.H, 0, sizeof(*u.h) * static_cast<std::size_t>(u.H));
}

}  // namespace bib::BIB_ISA
