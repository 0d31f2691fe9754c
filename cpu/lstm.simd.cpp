// LSTM kernels of one instruction set: packing, one unit of sentences through time and back, packed products.
#include "cpu/lstm.simd.h"

#include <cstddef>

#include "cpu/lstm_steps.h"
#include "cpu/panel.h"

namespace bib::BIB_ISA {
namespace {

int smaller(int a, int b) { return a < b ? a : b; }

void pack_gates(const real* w, int H, int K, int block, real* packed) {
  const int first = block * lanes;
  packed += std::ptrdiff_t{block} * K * 4 * lanes;
  for (int gate = 0; gate < 4; ++gate) {
    const real* rows = w + (std::ptrdiff_t{gate} * H + first) * K;
    for (int k = 0; k < K; k += lanes) {
      vec tile[lanes];
      for (int i = 0; i < lanes; ++i) {
        tile[i] = first + i < H ? load_some(rows + std::ptrdiff_t{i} * K + k, K - k) : vec{};
      }
      transpose(tile);
      for (int i = 0; i < smaller(lanes, K - k); ++i) store(packed + ((k + i) * 4 + gate) * lanes, tile[i]);
    }
  }
}

void pack_bias(const real* b, int H, real* packed) {
  for (int block = 0; block < blocks_of(H); ++block)
    for (int gate = 0; gate < 4; ++gate, packed += lanes)
      store(packed, load_some(b + gate * H + block * lanes, H - block * lanes));
}

void pack_rows(const real* w, int H, int N, int block, int k, int depth, real* packed) {
  for_panels(blocks_of(N), [&](auto V, int first) {
    real* out = packed + (std::ptrdiff_t{first} * depth + std::ptrdiff_t{k} * V.value) * lanes;
    for (int i = 0; i < 4 * lanes; ++i) {
      const int gate = i / lanes, unit = block * lanes + i % lanes;
      const real* row = w + (std::ptrdiff_t{gate} * H + unit) * N;
      for (int v = first; v < first + V.value; ++v, out += lanes)
        store(out, unit < H ? load_some(row + v * lanes, N - v * lanes) : vec{});
    }
  });
}

void pack_columns(const real* const* rows, const real* const* scales, int N, real* to, int ld) {
  for (int n = 0; n < N; n += lanes) {
    vec tile[lanes];
    for (int i = 0; i < lanes; ++i) {
      tile[i] = rows[i] ? load_some(rows[i] + n, N - n) : vec{};
      if (rows[i] && scales) tile[i] *= load_some(scales[i] + n, N - n);
    }
    transpose(tile);
    for (int i = 0; i < smaller(lanes, N - n); ++i) store(to + std::ptrdiff_t{n + i} * ld, tile[i]);
  }
}

// ---- forward ----

/// products = w_x x + b for the first `rows` addresses in u.rows.
void input_products(const LstmForwardUnit& u, int rows) {
  const int width = 4 * padded(u.H);
  for (int block = 0; block < blocks_of(u.H); ++block) {
    const real* panel = u.w_x + std::ptrdiff_t{block} * u.I * 4 * lanes;
    const real* bias = u.b + block * 4 * lanes;
    for (int k = 0; k < u.I; k += panel_depth) {
      for_tiles(rows, [&](auto S, int row) {
        vec acc[S.value][4];
        const real* a[S.value];
        real* c = u.products + std::ptrdiff_t{row} * width + block * 4 * lanes;
        for (int s = 0; s < S.value; ++s) {
          a[s] = u.rows[row + s] + k;
          for (int v = 0; v < 4; ++v) acc[s][v] = load((k ? c + s * width : bias) + v * lanes);
        }
        multiply(acc, a, panel + std::ptrdiff_t{k} * 4 * lanes, smaller(panel_depth, u.I - k));
        for (int s = 0; s < S.value; ++s)
          for (int v = 0; v < 4; ++v) store(c + s * width + v * lanes, acc[s][v]);
      });
    }
  }
}

/// The cell of sentence j at step t for one block of units, from the four gates' sums.
BIB_INLINE void cell(const LstmForwardUnit& u, int t, int j, int block, const vec (&sums)[4], real* state) {
  const int unit = block * lanes, left = u.H - unit;
  const std::ptrdiff_t at = token(u, t, j), here = std::ptrdiff_t{j} * padded(u.H) + unit;
  const vec i = sigmoid(sums[0]), f = sigmoid(sums[1]), g = tanh(sums[2]), o = sigmoid(sums[3]);
  const vec c = fma(f, load(u.cell + here), i * g);
  const vec h = o * tanh(c);
  store(u.cell + here, c);
  store(state + here, u.mask ? h * load_some(u.mask + std::ptrdiff_t{u.sentence[j]} * u.H + unit, left) : h);
  store_some(u.h + at * u.D * u.H + unit, h, left);
  if (!u.gates) return;
  real* gates = u.gates + at * 4 * u.H + unit;
  store_some(gates, i, left);
  store_some(gates + u.H, f, left);
  store_some(gates + 2 * u.H, g, left);
  store_some(gates + 3 * u.H, o, left);
  store_some(u.c + at * u.H + unit, c, left);
}

/// One step of all active sentences: products (of this step) += w_h h, then the cell while the sums are in registers.
/// Every other step takes the blocks backwards, so that weights as large as the cache are still there in part.
void time_step(const LstmForwardUnit& u, int t, bool backwards, real* products, const real* last, real* state) {
  const int height = padded(u.H), width = 4 * height, old = carried(u, t);
  for (int i = 0; i < blocks_of(u.H); ++i) {
    const int block = backwards ? blocks_of(u.H) - 1 - i : i;
    const real* panel = u.w_h + std::ptrdiff_t{block} * u.H * 4 * lanes;
    real* sums = products + block * 4 * lanes;
    for (int k = 0; k < u.H; k += panel_depth) {
      for_tiles(old, [&](auto S, int row) {
        vec acc[S.value][4];
        const real* a[S.value];
        real* c = sums + std::ptrdiff_t{row} * width;
        for (int s = 0; s < S.value; ++s) {
          a[s] = last + std::ptrdiff_t{row + s} * height + k;
          for (int v = 0; v < 4; ++v) acc[s][v] = load(c + s * width + v * lanes);
        }
        multiply(acc, a, panel + std::ptrdiff_t{k} * 4 * lanes, smaller(panel_depth, u.H - k));
        if (k + panel_depth >= u.H) {
          for (int s = 0; s < S.value; ++s) cell(u, t, row + s, block, acc[s], state);
        } else {
          for (int s = 0; s < S.value; ++s)
            for (int v = 0; v < 4; ++v) store(c + s * width + v * lanes, acc[s][v]);
        }
      });
    }
    for (int j = old; j < u.active[t]; ++j) {  // first step of these sentences: h before it is 0
      vec acc[4];
      for (int v = 0; v < 4; ++v) acc[v] = load(sums + std::ptrdiff_t{j} * width + v * lanes);
      cell(u, t, j, block, acc, state);
    }
  }
}

struct Forward {
  const LstmForwardUnit& u;
  int now = 0;

  void add(int row, std::ptrdiff_t token) { u.rows[row] = u.x + token * u.I; }
  void products(int rows) { input_products(u, rows); }
  void step(int t, int row) {
    real* products = u.products + std::ptrdiff_t{row} * 4 * padded(u.H);
    time_step(u, t, now, products, u.state[now], u.state[1 - now]);
    clear_padding(u, t, u.active[t]);
    now = 1 - now;
  }
};

void forward(const LstmForwardUnit& u) {
  __builtin_memset(u.cell, 0, sizeof(real) * static_cast<std::size_t>(u.count) * padded(u.H));
  through_time(u, Forward{u});
  for (int t = u.steps; t < u.T; ++t) clear_padding(u, t, 0);
}

// ---- backward ----

real* gradient_row(const LstmGradientRows& rows, int block, int packed) {
  return rows.data + (std::ptrdiff_t{block} * rows.tokens + packed) * 4 * lanes;
}

/// c = d_gates panels, whole vectors of it; row r of block i of d_gates lies at i block_stride + r row_stride.
struct GradientProduct {
  int rows, blocks, vectors;
  const real* d_gates;
  std::ptrdiff_t block_stride, row_stride;
  const real* panels;
  real* c;  // [rows, vectors lanes]
};

/// A run of gates meets all panels in turn, so that it comes from memory once; each tile asks for what the next will
/// read, whose rows are too short for the hardware's prefetcher.
BIB_INLINE void gradient_product(const GradientProduct& p) {
  constexpr int width = 4 * lanes;
  constexpr int step = panel_depth / width > 0 ? panel_depth / width : 1;
  const std::ptrdiff_t row_stride = p.row_stride, ld = std::ptrdiff_t{p.vectors} * lanes;
  for (int block = 0; block < p.blocks; block += step) {
    for_panels(p.vectors, [&](auto V, int first) {
      const real* panel = p.panels + std::ptrdiff_t{first} * lanes * p.blocks * width;
      for_tiles(p.rows, [&](auto S, int row) {
        vec acc[S.value][V.value];
        real* c = p.c + row * ld + first * lanes;
        for (int s = 0; s < S.value; ++s)
          for (int v = 0; v < V.value; ++v) acc[s][v] = block ? load(c + s * ld + v * lanes) : vec{};
        for (int i = block; i < smaller(block + step, p.blocks); ++i) {
          const real* a[S.value];
          for (int s = 0; s < S.value; ++s) a[s] = p.d_gates + i * p.block_stride + (row + s) * row_stride;
          multiply(acc, a, panel + std::ptrdiff_t{i} * width * V.value * lanes, width, [&](int k) {
            for (int s = 0; s < S.value; ++s) {
              __builtin_prefetch(a[s] + S.value * row_stride);
              if (i == block && k < V.value * lanes) __builtin_prefetch(c + (S.value + s) * ld + k);
            }
          });
        }
        for (int s = 0; s < S.value; ++s)
          for (int v = 0; v < V.value; ++v) store(c + s * ld + v * lanes, acc[s][v]);
      });
    });
  }
}

/// d_gates of sentence j at step t; d_cell becomes the gradient of the cell before it.
///   do = dh tanh c   dc += dh o (1 - tanh^2 c)   di = dc g   df = dc c_prev   dg = dc i   dc_prev = dc f
void cell_backward(const LstmBackwardUnit& u, int t, int j, bool has_previous, int packed) {
  const std::ptrdiff_t at = token(u, t, j);
  const real* gates = u.gates + at * 4 * u.H;
  const real* c_previous = has_previous ? u.c + token(u, previous_step(u, t), j) * u.H : nullptr;
  const real* mask = u.mask ? u.mask + std::ptrdiff_t{u.sentence[j]} * u.H : nullptr;
  for (int block = 0; block < u.d_gates.blocks; ++block) {
    const int unit = block * lanes, left = u.H - unit;
    const std::ptrdiff_t here = std::ptrdiff_t{j} * padded(u.H) + unit;
    const vec i = load_some(gates + unit, left), f = load_some(gates + u.H + unit, left),
              g = load_some(gates + 2 * u.H + unit, left), o = load_some(gates + 3 * u.H + unit, left);
    const vec tanh_c = tanh(load_some(u.c + at * u.H + unit, left));
    vec d_h = load(u.d_state + here);
    if (mask) d_h *= load_some(mask + unit, left);
    d_h += load_some(u.d_h + at * u.D * u.H + unit, left);
    const vec d_c = load(u.d_cell + here) + d_h * o * (1 - tanh_c * tanh_c);
    const vec before = c_previous ? load_some(c_previous + unit, left) : vec{};
    store(u.d_cell + here, d_c * f);
    real* d_gates = gradient_row(u.d_gates, block, packed);
    store(d_gates, d_c * g * i * (1 - i));
    store(d_gates + lanes, d_c * before * f * (1 - f));
    store(d_gates + 2 * lanes, d_c * i * (1 - g * g));
    store(d_gates + 3 * lanes, d_h * tanh_c * o * (1 - o));
  }
}

void backward(const LstmBackwardUnit& u) {
  const std::size_t bytes = sizeof(real) * static_cast<std::size_t>(u.count) * padded(u.H);
  __builtin_memset(u.d_state, 0, bytes);  // a sentence's last step receives nothing from a later one
  __builtin_memset(u.d_cell, 0, bytes);
  for (int q = u.steps; q-- > 0;) {
    const int t = u.direction == 0 ? q : u.steps - 1 - q, old = carried(u, t);
    const auto packed = [&](int j) { return u.packed_row[t] + u.first + j * u.stride; };
    for (int j = 0; j < u.active[t]; ++j) cell_backward(u, t, j, j < old, packed(j));
    gradient_product({.rows = old,
                      .blocks = u.d_gates.blocks,
                      .vectors = blocks_of(u.H),
                      .d_gates = gradient_row(u.d_gates, 0, packed(0)),
                      .block_stride = std::ptrdiff_t{u.d_gates.tokens} * 4 * lanes,
                      .row_stride = u.stride * 4 * lanes,
                      .panels = u.w_h,
                      .c = u.d_state});
  }
}

void input_gradient(const LstmInputGradient& g) {
  gradient_product({.rows = g.rows,
                    .blocks = g.d_gates.blocks,
                    .vectors = blocks_of(g.I),
                    .d_gates = gradient_row(g.d_gates, 0, g.first),
                    .block_stride = std::ptrdiff_t{g.d_gates.tokens} * 4 * lanes,
                    .row_stride = 4 * lanes,
                    .panels = g.w_x,
                    .c = g.sums});
  for (int row = 0; row < g.rows; ++row) {
    const real* from = g.sums + std::ptrdiff_t{row} * padded(g.I);
    for (int i = 0; i < g.I; i += lanes) store_some(g.d_x[row] + i, load(from + i), g.I - i);
  }
}

/// to[gate H + unit][n] += from[n][gate][unit] for the block's units and N columns.
void add_transposed(const real* from, int N, int H, int block, real* to) {
  const int first = block * lanes;
  for (int gate = 0; gate < 4; ++gate) {
    for (int n = 0; n < N; n += lanes) {
      vec tile[lanes];
      for (int i = 0; i < lanes; ++i) tile[i] = n + i < N ? load(from + ((n + i) * 4 + gate) * lanes) : vec{};
      transpose(tile);
      for (int i = 0; i < smaller(lanes, H - first); ++i) {
        real* row = to + (std::ptrdiff_t{gate} * H + first + i) * N + n;
        store_some(row, load_some(row, N - n) + tile[i], N - n);
      }
    }
  }
}

void weight_gradient(const LstmWeightGradient& g) {
  constexpr int width = 4 * lanes;
  for (int k = 0; k < g.tokens; k += panel_depth) {
    for_tiles(g.I + g.H + 1, [&](auto S, int row) {
      vec acc[S.value][4];
      const real* a[S.value];
      real* c = g.products + std::ptrdiff_t{row} * width;
      for (int s = 0; s < S.value; ++s) {
        a[s] = g.columns + std::ptrdiff_t{k} * (g.I + g.H + 1) + (row + s) * panel_depth;
        for (int v = 0; v < 4; ++v) acc[s][v] = k ? load(c + s * width + v * lanes) : vec{};
      }
      multiply(acc, a, g.d_gates + std::ptrdiff_t{k} * width, smaller(panel_depth, g.tokens - k), [&](int i) {
        for (int s = 0; s < S.value; ++s) {
          __builtin_prefetch(a[s] + S.value * panel_depth);
          if (i < width) __builtin_prefetch(c + (S.value + s) * width + i);
        }
      });
      for (int s = 0; s < S.value; ++s)
        for (int v = 0; v < 4; ++v) store(c + s * width + v * lanes, acc[s][v]);
    });
  }
  if (g.tokens == 0) return;
  add_transposed(g.products, g.I, g.H, g.block, g.d_w_x);
  add_transposed(g.products + std::ptrdiff_t{g.I} * width, g.H, g.H, g.block, g.d_w_h);
  add_transposed(g.products + std::ptrdiff_t{g.I + g.H} * width, 1, g.H, g.block, g.d_b);
}

}  // namespace

const LstmKernels lstm_kernels{.lanes = lanes,
                               .depth = panel_depth,
                               .pack_gates = pack_gates,
                               .pack_bias = pack_bias,
                               .pack_rows = pack_rows,
                               .pack_columns = pack_columns,
                               .forward = forward,
                               .backward = backward,
                               .input_gradient = input_gradient,
                               .weight_gradient = weight_gradient};

}  // namespace bib::BIB_ISA
