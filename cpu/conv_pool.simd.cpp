// Row p of the unfolded input is x[p*C .. p*C + W*C): rows overlap, so the convolution is a matrix product that reads
// the packed sequence itself. A tile of rows x filters is summed in registers and goes into the running maximum at
// once; activations exist nowhere else.
#include "cpu/conv_pool.simd.h"

#include "cpu/vec.h"

namespace bib::BIB_ISA {
namespace {

// Registers of a tile: rows * vectors sums, `vectors` of w, one of x. 6*4+4+1 of 32, 6*2+2+1 of 16.
constexpr int most_rows = 6;
constexpr int most_vectors = vector_bytes == 64 ? 4 : 2;

template <int Rows, int Vectors>
void tile(const real* x, int p, int C, int K, const real* w, vec* best, ivec* where) {
  x += static_cast<long>(p) * C;
  vec sum[Rows][Vectors] = {};
  for (int k = 0; k < K; ++k, w += Vectors * lanes) {
    vec filters[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) filters[v] = load(w + v * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const vec input = splat(x[r * C + k]);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[r][v] += input * filters[v];
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const ivec stays = best[v] >= sum[r][v];  // so that a sequence of NaN gives NaN
      best[v] = choose(stays, best[v], sum[r][v]);
      where[v] = stays ? where[v] : ivec{} + (p + r);
    }
  }
}

template <int Vectors>
void best_of(const real* x, int positions, int C, int K, const real* w, real* to, int* where_to) {
  using Tile = void (*)(const real*, int, int, int, const real*, vec*, ivec*);
  constexpr Tile tiles[most_rows] = {tile<1, Vectors>, tile<2, Vectors>, tile<3, Vectors>,
                                     tile<4, Vectors>, tile<5, Vectors>, tile<6, Vectors>};
  vec best[Vectors];
  ivec where[Vectors] = {};
  for (vec& v : best) v = splat(static_cast<real>(-__builtin_inf()));
  int rest = (positions + most_rows - 1) / most_rows;  // tiles left; all about equally high, none a stub
  for (int p = 0; p < positions; --rest) {
    const int rows = (positions - p + rest - 1) / rest;
    tiles[rows - 1](x, p, C, K, w, best, where);
    p += rows;
  }
  for (int v = 0; v < Vectors; ++v) {
    store(to + v * lanes, best[v]);
    for (int i = 0; i < lanes; ++i) where_to[v * lanes + i] = static_cast<int>(where[v][i]);
  }
}

void best(const real* x, int positions, int C, int K, const real* w, int width, real* to, int* where) {
  switch (width / lanes) {
    case 1: return best_of<1>(x, positions, C, K, w, to, where);
    case 2: return best_of<2>(x, positions, C, K, w, to, where);
    case 3: return best_of < most_vectors < 3 ? 2 : 3 > (x, positions, C, K, w, to, where);
    case 4: return best_of<most_vectors>(x, positions, C, K, w, to, where);
  }
}

void add(real a, const real* __restrict x, real* __restrict y, int n) {
  for (int i = 0; i < n; ++i) y[i] += a * x[i];
}

}  // namespace

const ConvPoolSimd conv_pool{.panel = most_vectors * lanes, .lanes = lanes, .best = best, .add = add};

}  // namespace bib::BIB_ISA
