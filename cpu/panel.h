// The register-blocked product that the recurrent kernels are made of: a few rows of A times a panel of packed columns.
// Every element of C is one chain of multiply-adds in the order of k, whatever tile it falls into: a row's result does
// not depend on the rows beside it, so neither on the batch nor on the number of threads.
#pragma once
#include <cstddef>

#include "cpu/vec.h"

namespace bib::BIB_ISA {

// Tile height with 4 vectors across: as many accumulators as the register file holds beside a column and a row value.
#if defined(__AVX512F__) || defined(__aarch64__)
#define BIB_TILE_ROWS 6
#elif defined(__AVX2__)
#define BIB_TILE_ROWS 3
#else
#define BIB_TILE_ROWS 2
#endif
constexpr int tile_rows = BIB_TILE_ROWS;
constexpr int panel_vectors = 4;
// Rows of a panel taken at a time: 32 KiB, so that they stay in the first-level cache from one tile to the next.
constexpr int panel_depth = 32768 / (panel_vectors * vector_bytes);

template <int N>
struct Number {
  static constexpr int value = N;
};

constexpr int padded(int n) { return (n + lanes - 1) / lanes * lanes; }

/// f(Number<S>, first) over 0..rows-1 in tiles of nearly equal height S <= tile_rows.
template <class F>
BIB_INLINE void for_tiles(int rows, F&& f) {
  const int tiles = (rows + tile_rows - 1) / tile_rows;
  for (int i = 0; i < tiles; ++i) {
    const int begin = static_cast<int>(static_cast<long>(rows) * i / tiles);
    const int end = static_cast<int>(static_cast<long>(rows) * (i + 1) / tiles);
    switch (end - begin) {
      case 1: f(Number<1>{}, begin); break;
      case 2: f(Number<2>{}, begin); break;
#if BIB_TILE_ROWS >= 3
      case 3: f(Number<3>{}, begin); break;
#endif
#if BIB_TILE_ROWS == 6
      case 4: f(Number<4>{}, begin); break;
      case 5: f(Number<5>{}, begin); break;
      case 6: f(Number<6>{}, begin); break;
#endif
    }
  }
}

/// f(Number<V>, first) over `vectors` columns of vectors in panels of nearly equal width V <= 4.
template <class F>
BIB_INLINE void for_panels(int vectors, F&& f) {
  const int panels = (vectors + panel_vectors - 1) / panel_vectors;
  for (int i = 0; i < panels; ++i) {
    const int begin = vectors * i / panels, end = vectors * (i + 1) / panels;
    switch (end - begin) {
      case 1: f(Number<1>{}, begin); break;
      case 2: f(Number<2>{}, begin); break;
      case 3: f(Number<3>{}, begin); break;
      case 4: f(Number<4>{}, begin); break;
    }
  }
}

/// acc[s][v] += sum_k a[s][k] panel[k][v]
template <int S, int V>
BIB_INLINE void multiply(vec (&acc)[S][V], const real* const (&a)[S], const real* panel, int depth) {
  for (int k = 0; k < depth; ++k, panel += V * lanes) {
    vec row[S];
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) row[s] = splat(a[s][k]);
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      const vec column = load(panel + v * lanes);
#pragma GCC unroll 8
      for (int s = 0; s < S; ++s) acc[s][v] += column * row[s];
    }
  }
}

/// The same, with ahead(k) before every vector of A's rows: time to ask for memory that the next tile will read, whose
/// streams are too short for the hardware's prefetcher. Leaves `a` past what was read.
template <int S, int V, class Ahead>
BIB_INLINE void multiply(vec (&acc)[S][V], const real* (&a)[S], const real* panel, int depth, Ahead&& ahead) {
  for (int k = 0; k < depth; k += lanes) {
    ahead(k);
    multiply(acc, a, panel + std::ptrdiff_t{k} * V * lanes, depth - k < lanes ? depth - k : lanes);
    for (int s = 0; s < S; ++s) a[s] += lanes;
  }
}

/// to[c][r] = from[r][c]; rows are made whole vectors by zeros.
BIB_INLINE void transposed_rows(const real* from, int ld_from, int rows, int columns, real* to, int ld_to) {
  for (int r = 0; r < rows; r += lanes) {
    for (int c = 0; c < columns; c += lanes) {
      vec tile[lanes];
      for (int i = 0; i < lanes; ++i)
        tile[i] = r + i < rows ? load_some(from + long{r + i} * ld_from + c, columns - c) : vec{};
      transpose(tile);
      for (int i = 0; i < lanes && i < columns - c; ++i) store(to + long{c + i} * ld_to + r, tile[i]);
    }
  }
}

}  // namespace bib::BIB_ISA
