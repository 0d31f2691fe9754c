// The products of minimal filtering, groups of four positions side by side. A product's rows are rows of the packed
// sequence or sums of a few, made before they are needed; its result goes with coefficients 1 and -1 into the
// activations of a block of positions, which stay in the cache until they have gone into the running maximum.
#include "cpu/conv_pool.simd.h"

#include "cpu/minimal_filter.h"
#include "cpu/vec.h"

namespace bib::BIB_ISA {
namespace {

using minimal::Product;

// Registers of a tile: rows * vectors sums, `vectors` of w, one of x. 6*4+4+1 of 32, 6*2+2+1 of 16.
constexpr int most_rows = 6;
constexpr int most_vectors = vector_registers == 32 ? 4 : 2;
constexpr int panel = most_vectors * lanes;
constexpr int block_groups = 3 * most_rows;

/// y[r][o] += output[o] * (x_r w) for the four positions o of each group r.
template <int Rows, int Vectors>
void tile(const real* x, long stride, int C, const real* w, const int* output, real* y) {
  vec sum[Rows][Vectors] = {};
  for (int k = 0; k < C; ++k, w += Vectors * lanes) {
    vec filters[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) filters[v] = load(w + v * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const vec input = splat(x[r * stride + k]);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[r][v] += input * filters[v];
    }
  }
  for (int o = 0; o < minimal::outputs; ++o) {
    if (output[o] == 0) continue;
    const vec sign = splat(static_cast<real>(output[o]));
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        real* to = y + (r * minimal::outputs + o) * Vectors * lanes + v * lanes;
        store(to, load(to) + sign * sum[r][v]);
      }
  }
}

constexpr int whole_vectors(int C) { return (C + lanes - 1) / lanes * lanes; }

/// to[r] = the sum of N rows of x_r with coefficients, x_r a group behind x_r-1. Whole vectors are read and written.
template <int N>
void combine(const real* x, int groups, int C, const int* input, real* to) {
  long row[N];
  vec sign[N];
  for (int i = 0, n = 0; n < N; ++i)
    if (input[i] != 0) row[n] = static_cast<long>(i) * C, sign[n++] = splat(static_cast<real>(input[i]));
  for (int g = 0; g < groups; ++g, x += minimal::outputs * static_cast<long>(C))
    for (int c = 0; c < C; c += lanes, to += lanes) {
      vec sum = sign[0] * load(x + row[0] + c);
#pragma GCC unroll 8
      for (int n = 1; n < N; ++n) sum += sign[n] * load(x + row[n] + c);
      store(to, sum);
    }
}

/// The rows of a product, one of each group, made in `made` unless they stand in x as they are.
struct Rows {
  const real* data;
  long stride;
  Rows(const real* x, int groups, int C, const Product& product, real* made) {
    data = x + static_cast<long>(product.row) * C;
    stride = minimal::outputs * static_cast<long>(C);
    int terms = 0;
    for (int coefficient : product.input) terms += coefficient != 0;
    if (terms == 1) return;
    terms == 2 ? combine<2>(data, groups, C, product.input, made) : combine<4>(data, groups, C, product.input, made);
    data = made, stride = whole_vectors(C);
  }
};

/// A product of some groups for one panel.
template <int Vectors>
void add_product(const Rows& rows, int groups, int C, const real* filter, const int* output, real* y) {
  using Tile = void (*)(const real*, long, int, const real*, const int*, real*);
  constexpr Tile tiles[most_rows] = {tile<1, Vectors>, tile<2, Vectors>, tile<3, Vectors>,
                                     tile<4, Vectors>, tile<5, Vectors>, tile<6, Vectors>};
  int rest = (groups + most_rows - 1) / most_rows;  // tiles left; all about equally high, none a stub
  for (int g = 0; g < groups; --rest) {
    const int high = (groups - g + rest - 1) / rest;
    tiles[high - 1](rows.data + g * rows.stride, rows.stride, C, filter, output,
                    y + g * minimal::outputs * Vectors * lanes);
    g += high;
  }
}

/// The maximum of some positions' activations, y[positions][Vectors * lanes], joins best and where.
template <int Vectors>
void join_best(const real* y, int first, int positions, real* best, int* where) {
  vec top[Vectors];
  ivec at[Vectors];
  for (int v = 0; v < Vectors; ++v) {
    top[v] = load(best + v * lanes);
    for (int i = 0; i < lanes; ++i) at[v][i] = where[v * lanes + i];
  }
  for (int p = 0; p < positions; ++p, y += Vectors * lanes)
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      const vec sum = load(y + v * lanes);
      const ivec stays = top[v] >= sum;  // so that a sequence of NaN gives NaN
      top[v] = choose(stays, top[v], sum);
      at[v] = stays ? at[v] : ivec{} + (first + p);
    }
  for (int v = 0; v < Vectors; ++v) {
    store(best + v * lanes, top[v]);
    for (int i = 0; i < lanes; ++i) where[v * lanes + i] = static_cast<int>(at[v][i]);
  }
}

/// f(Vectors) for a panel of so many filters.
template <class F>
BIB_INLINE void with_width(int width, F&& f) {
  switch (width / lanes) {
    case 1: return f.template operator()<1>();
    case 2: return f.template operator()<2>();
    case 3: return f.template operator() < most_vectors < 3 ? 2 : 3 > ();
    case 4: return f.template operator()<most_vectors>();
  }
}

void best(const real* x, int positions, int C, int W, const ConvPoolPanel* panels, int count, real* scratch) {
  constexpr int block = block_groups * minimal::outputs;
  real *const made = scratch, *const y = made + block_groups * whole_vectors(C);
  for (int i = 0; i < count; ++i)
    for (int f = 0; f < panels[i].width; ++f)
      panels[i].best[f] = static_cast<real>(-__builtin_inf()), panels[i].where[f] = 0;
  for (int first = 0; first < positions; first += block, x += block * static_cast<long>(C)) {
    const int here = positions - first < block ? positions - first : block;
    const int groups = (here + minimal::outputs - 1) / minimal::outputs;
    for (int i = 0; i < count; ++i)
      __builtin_memset(y + i * block * panel, 0, sizeof(real) * groups * minimal::outputs * panels[i].width);
    minimal::for_parts(W, [&](const minimal::Plan& plan, int tap, int filters_before) {
      for (int j = 0; j < plan.products; ++j) {
        const Product& product = plan.product[j];
        const Rows rows(x + static_cast<long>(tap) * C, groups, C, product, made);
        for (int i = 0; i < count; ++i) {
          const real* filter = panels[i].w + static_cast<long>(filters_before + product.filter) * C * panels[i].width;
          with_width(panels[i].width, [&]<int Vectors>() {
            add_product<Vectors>(rows, groups, C, filter, product.output, y + i * block * panel);
          });
        }
      }
    });
    for (int i = 0; i < count; ++i)
      with_width(panels[i].width, [&]<int Vectors>() {
        join_best<Vectors>(y + i * block * panel, first, here, panels[i].best, panels[i].where);
      });
  }
}

int scratch_size(int C, int count) { return block_groups * (whole_vectors(C) + minimal::outputs * panel * count); }

void add(real a, const real* __restrict x, real* __restrict y, int n) {
  for (int i = 0; i < n; ++i) y[i] += a * x[i];
}

void add_all(const real* a, const real* const* x, int count, real* y, int n) {
  constexpr int vectors = 4;
  int i = 0;
  for (; i + vectors * lanes <= n; i += vectors * lanes) {
    vec sum[vectors];
    for (int v = 0; v < vectors; ++v) sum[v] = load(y + i + v * lanes);
    for (int j = 0; j < count; ++j)
      for (int v = 0; v < vectors; ++v) sum[v] += a[j] * load(x[j] + i + v * lanes);
    for (int v = 0; v < vectors; ++v) store(y + i + v * lanes, sum[v]);
  }
  for (; i < n; i += lanes) {
    vec sum = load_some(y + i, n - i);
    for (int j = 0; j < count; ++j) sum += a[j] * load_some(x[j] + i, n - i);
    store_some(y + i, sum, n - i);
  }
}

void turn(const real* from, int ld_from, int rows, int columns, bool add, real* to, int ld_to) {
  for (int r = 0; r < rows; r += lanes) {
    const int high = rows - r < lanes ? rows - r : lanes;
    for (int c = 0; c < columns; c += lanes) {
      vec square[lanes];
      for (int i = 0; i < lanes; ++i)
        square[i] = i < high ? load_some(from + long{r + i} * ld_from + c, columns - c) : vec{};
      transpose(square);
      for (int i = 0; i < lanes && c + i < columns; ++i) {
        real* row = to + long{c + i} * ld_to + r;
        store_some(row, add ? load_some(row, high) + square[i] : square[i], high);
      }
    }
  }
}

}  // namespace

const ConvPoolSimd conv_pool{.panel = panel,
                             .lanes = lanes,
                             .scratch_size = scratch_size,
                             .best = best,
                             .add = add,
                             .add_all = add_all,
                             .turn = turn};

}  // namespace bib::BIB_ISA
