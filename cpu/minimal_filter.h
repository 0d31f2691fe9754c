// Minimal filtering (Winograd, Arithmetic Complexity of Computations, 1980): four outputs of a filter of r taps from
// fewer products than 4 r. With the outputs y_i = sum_t x_i+t g_t:
//   r = 2, two outputs:  (x0 - x1) g0,  x1 (g0 + g1),  (x1 - x2) g1;    y0 = first + second, y1 = second - third
//   r = 3, two outputs:  (x0 - x2) g0,  (x1 + x2) (g0 + g1 + g2) / 2,  (x2 - x1) (g0 - g1 + g2) / 2,  (x1 - x3) g2
//   r = 4, four outputs: r = 2 applied to pairs of taps, whose products are those of r = 2 again
// so 4, 6, 8 and 9 products in place of 4, 8, 12 and 16. Here x_i is a row of channels, and a product a matrix product.
// Coefficients are 1, -1 and a half, so that rounding stays that of sums with a few more terms. Wider filters are sums
// of such filters, four taps at a time.
#pragma once

namespace bib::minimal {

inline constexpr int outputs = 4, most_taps = 4, most_products = 9;

/// A combination of taps: sum_t tap[t] g_t, halved where `half` is set.
struct Filter {
  int tap[most_taps] = {};
  bool half = false;
};

/// (sum_i input[i] x_row+i) times a filter goes with output[o] into y_o. There are 1, 2 or 4 inputs in all.
struct Product {
  int filter = 0, row = 0;
  int input[4] = {}, output[outputs] = {};
};

struct Plan {
  int taps = 0, filters = 0, products = 0;
  Filter filter[most_products];
  Product product[most_products];
};

/// Two or one outputs: rows are products, columns the inputs, taps and outputs.
struct Base {
  int taps, outputs, products;
  int input[4][4], tap[4][3], output[4][2];
  bool half[4];
};

inline constexpr Base one_tap{
    .taps = 1, .outputs = 1, .products = 1, .input = {{1}}, .tap = {{1}}, .output = {{1}}, .half = {}};
inline constexpr Base two_taps{.taps = 2,
                               .outputs = 2,
                               .products = 3,
                               .input = {{1, -1, 0}, {0, 1, 0}, {0, 1, -1}},
                               .tap = {{1, 0}, {1, 1}, {0, 1}},
                               .output = {{1, 0}, {1, 1}, {0, -1}},
                               .half = {}};
inline constexpr Base three_taps{.taps = 3,
                                 .outputs = 2,
                                 .products = 4,
                                 .input = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}},
                                 .tap = {{1, 0, 0}, {1, 1, 1}, {1, -1, 1}, {0, 0, 1}},
                                 .output = {{1, 0}, {1, 1}, {1, -1}, {0, -1}},
                                 .half = {false, true, true, false}};

/// Sets row and input from the coefficients of rows 0..6.
constexpr void set_input(Product& p, const int (&of_row)[7]) {
  while (of_row[p.row] == 0) ++p.row;
  for (int i = 0; i < 4 && p.row + i < 7; ++i) p.input[i] = of_row[p.row + i];
}

constexpr Plan repeated(const Base& base) {
  Plan plan{.taps = base.taps, .filters = base.products};
  for (int j = 0; j < base.products; ++j) {
    plan.filter[j].half = base.half[j];
    for (int t = 0; t < base.taps; ++t) plan.filter[j].tap[t] = base.tap[j][t];
    for (int first = 0; first < outputs; first += base.outputs) {
      Product& p = plan.product[plan.products++];
      p.filter = j;
      int rows[7] = {};
      for (int i = 0; i < base.taps + base.outputs - 1; ++i) rows[first + i] = base.input[j][i];
      set_input(p, rows);
      for (int o = 0; o < base.outputs; ++o) p.output[first + o] = base.output[j][o];
    }
  }
  return plan;
}

constexpr Plan nested(const Base& base) {
  Plan plan{.taps = 4, .filters = 9, .products = 9};
  for (int a = 0; a < 3; ++a)
    for (int b = 0; b < 3; ++b) {
      Product& p = plan.product[3 * a + b];
      p.filter = 3 * a + b;
      int rows[7] = {};
      for (int i = 0; i < 3; ++i)
        for (int k = 0; k < 3; ++k) rows[2 * i + k] += base.input[a][i] * base.input[b][k];
      set_input(p, rows);
      for (int i = 0; i < 2; ++i)
        for (int k = 0; k < 2; ++k) {
          plan.filter[p.filter].tap[2 * i + k] = base.tap[a][i] * base.tap[b][k];
          p.output[2 * i + k] = base.output[a][i] * base.output[b][k];
        }
    }
  return plan;
}

inline constexpr Plan plans[most_taps] = {repeated(one_tap), repeated(two_taps), repeated(three_taps),
                                          nested(two_taps)};

/// f(plan, first tap, filters before it) for the parts of a filter of W taps.
template <class F>
constexpr void for_parts(int W, F&& f) {
  for (int tap = 0, filters = 0; tap < W;) {
    const Plan& plan = plans[(W - tap < most_taps ? W - tap : most_taps) - 1];
    f(plan, tap, filters);
    tap += plan.taps;
    filters += plan.filters;
  }
}

constexpr int filters_of(int W) {
  int n = 0;
  for_parts(W, [&](const Plan& plan, int, int) { n += plan.filters; });
  return n;
}

/// Rows of x that `positions` outputs, rounded up to groups of four, may read.
constexpr int rows_read(int positions, int W) { return (positions + outputs - 1) / outputs * outputs + W - 1; }

}  // namespace bib::minimal
