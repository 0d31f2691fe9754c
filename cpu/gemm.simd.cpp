#include "cpu/gemm.simd.h"

#include <cstddef>

#include "cpu/panel.h"

namespace bib::BIB_ISA {
namespace {

int smaller(int a, int b) { return a < b ? a : b; }

void pack(const real* b, int ldb, bool transposed, int k, int n, real* to) {
  const int width = padded(n);
  if (transposed) return transposed_rows(b, ldb, n, k, to, width);
  for (int row = 0; row < k; ++row, b += ldb)
    for (int v = 0; v < n; v += lanes, to += lanes) store(to, load_some(b + v, n - v));
}

template <int V>
void multiply_panel(const GemmBlock& g) {
  int k = 0;
  do {  // once without any k: C becomes beta C
    for_tiles(g.rows, [&](auto S, int row) {
      vec acc[S.value][V];
      const real* a[S.value];
      real* c = g.c + std::ptrdiff_t{row} * g.ldc;
      for (int s = 0; s < S.value; ++s) {
        a[s] = g.a + std::ptrdiff_t{row + s} * g.lda + k;
        for (int v = 0; v < V; ++v) {
          const real* at = c + std::ptrdiff_t{s} * g.ldc + v * lanes;
          acc[s][v] = k             ? load_some(at, g.n - v * lanes)
                      : g.beta == 0 ? vec{}
                                    : load_some(at, g.n - v * lanes) * g.beta;
        }
      }
      multiply(acc, a, g.panel + std::ptrdiff_t{k} * V * lanes, smaller(panel_depth, g.k - k));
      for (int s = 0; s < S.value; ++s)
        for (int v = 0; v < V; ++v) store_some(c + std::ptrdiff_t{s} * g.ldc + v * lanes, acc[s][v], g.n - v * lanes);
    });
    k += panel_depth;
  } while (k < g.k);
}

void multiply_block(const GemmBlock& g) {
  switch ((g.n + lanes - 1) / lanes) {
    case 1: return multiply_panel<1>(g);
    case 2: return multiply_panel<2>(g);
    case 3: return multiply_panel<3>(g);
    case 4: return multiply_panel<4>(g);
  }
}

}  // namespace

const GemmSimd gemm{.lanes = lanes,
                    .panel = panel_vectors * lanes,
                    .pack = pack,
                    .transpose = transposed_rows,
                    .multiply = multiply_block};

}  // namespace bib::BIB_ISA
