#include "cpu/linear.simd.h"

#include <cstddef>

#include "cpu/panel.h"

namespace bib::BIB_ISA {
namespace {

int blocks_of(int O) { return (O + lanes - 1) / lanes; }

void pack(const real* w, int O, int I, real* packed) {
  for_panels(blocks_of(O), [&](auto V, int first) {
    const int row = first * lanes, rows = O - row < V.value * lanes ? O - row : V.value * lanes;
    transposed_rows(w + std::ptrdiff_t{row} * I, I, rows, I, packed, V.value * lanes);
    packed += std::ptrdiff_t{I} * V.value * lanes;
  });
}

void forward(const real* x, int rows, int I, const real* packed, const real* bias, int O, real* y) {
  for_panels(blocks_of(O), [&](auto V, int first) {
    const real* panel = packed + std::ptrdiff_t{first} * lanes * I;
    for_tiles(rows, [&](auto S, int row) {
      vec acc[S.value][V.value];
      const real* a[S.value];
      for (int s = 0; s < S.value; ++s) {
        a[s] = x + std::ptrdiff_t{row + s} * I;
        for (int v = 0; v < V.value; ++v) acc[s][v] = load(bias + (first + v) * lanes);
      }
      multiply(acc, a, panel, I);
      for (int s = 0; s < S.value; ++s) {
        real* to = y + std::ptrdiff_t{row + s} * O;
        for (int v = 0; v < V.value; ++v) store_some(to + (first + v) * lanes, acc[s][v], O - (first + v) * lanes);
      }
    });
  });
}

}  // namespace

const LinearSimd linear{.lanes = lanes, .pack = pack, .forward = forward};

}  // namespace bib::BIB_ISA
