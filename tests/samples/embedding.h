#pragma once
#include <map>
#include <vector>

#include "tests/harness.h"

namespace bib::test {

struct EmbeddingShape {
  std::string_view name;
  int T, B, V, E, Y, column;
};

/// Which positions looked up which row: what the code that builds batches hands to EmbeddingBackward.
struct RowIndex {
  std::vector<int> rows, offsets, positions;
};

inline RowIndex row_index(View<const int, 2> ids) {
  std::map<int, std::vector<int>> looked_up;
  for (int i = 0; i < static_cast<int>(ids.size()); ++i)
    if (ids.data[i] >= 0) looked_up[ids.data[i]].push_back(i);
  RowIndex index;
  index.offsets = {0};
  for (const auto& [row, at] : looked_up) {
    index.rows.push_back(row);
    index.positions.insert(index.positions.end(), at.begin(), at.end());
    index.offsets.push_back(static_cast<int>(index.positions.size()));
  }
  return index;
}

inline View<int, 1> on_host(Maker& m, const std::vector<int>& list) {
  return m.values(std::array{static_cast<int>(list.size())}, std::span<const int>(list));
}

/// Rows with their gradient, or with what it is the sum of, for a row optimiser.
template <class Op, class Shape>
void make_row_gradient(Maker& m, const Shape& s, Op& op) {
  if (s.T == 0) {
    op.rows = m.unique(s.U, s.V);
    op.d_rows = m.uniform({s.U, s.E});
  } else {
    const RowIndex index = row_index(m.ints({s.T, s.U}, -1, s.V - 1));
    op.rows = on_host(m, index.rows);
    op.offsets = on_host(m, index.offsets);
    op.positions = on_host(m, index.positions);
    op.d_y = m.uniform({s.T, s.U, s.Y});
  }
}

/// The gradient of element e of unique row u that a row optimiser is given, by its definition.
template <class Op>
double row_gradient(const Op& op, int u, int e) {
  if constexpr (requires { op.d_rows; })
    if (!op.d_y) return static_cast<double>(op.d_rows[u][e]);
  double sum = 0;
  for (int i = op.offsets[u]; i < op.offsets[u + 1]; ++i)
    sum += static_cast<double>(op.d_y.data[op.positions[i] * op.d_y.dim(2) + op.column + e]);
  return sum;
}

template <>
struct Samples<EmbeddingForward> {
  static constexpr EmbeddingShape shapes[] = {{"one", 1, 1, 1, 1, 1, 0},
                                              {"no_tokens", 0, 3, 5, 4, 4, 0},
                                              {"middle_columns_odd", 7, 3, 11, 5, 13, 6},
                                              {"few_rows_many_lookups", 40, 17, 3, 8, 8, 0},
                                              {"wider_than_a_block", 3, 4, 5, 300, 300, 0},
                                              {"three_rounds_odd", 2, 4, 3, 301, 304, 3},
                                              {"last_columns", 9, 4, 200, 64, 96, 32},
                                              {"often_and_seldom", 32, 3, 3, 70, 70, 0},
                                              {"all_of_32_the_same", 8, 4, 1, 5, 5, 0}};
  static constexpr OperandAxis free[] = {{1, 0}};  // V
  static constexpr EmbeddingShape timed[] = {{"syllables_64x32_E64_of_128", 64, 32, 8000, 64, 128, 64},
                                             {"bigrams_56x64_E128", 56, 64, 100000, 128, 128, 0}};
  static constexpr bool exact = true;

  static EmbeddingForward make(Maker& m, const EmbeddingShape& s) {
    return {.ids = m.ints({s.T, s.B}, s.V > 1 ? -1 : 0, s.V - 1),
            .table = m.uniform({s.V, s.E}),
            .y = m.output({s.T, s.B, s.Y}),
            .column = s.column};
  }
  static Writes writes(const EmbeddingForward& op, const void*, std::int64_t i) {
    const std::int64_t column = i % op.y.dim(2) - op.column;
    return column >= 0 && column < op.table.dim(1) ? Writes::set : Writes::keep;
  }
  static int reduction(const EmbeddingShape&) { return 1; }
  static double bytes(const EmbeddingForward& op) {
    return static_cast<double>(op.ids.size()) * (sizeof(int) + 2.0 * sizeof(real) * op.table.dim(1));
  }
};

template <>
struct Samples<EmbeddingBackward> {
  static constexpr auto& shapes = Samples<EmbeddingForward>::shapes;
  static constexpr OperandAxis free[] = {{1, 0}, {2, 0}, {2, 1}};  // N, T, B
  static constexpr auto& timed = Samples<EmbeddingForward>::timed;
  static constexpr bool exact = true;

  static EmbeddingBackward make(Maker& m, const EmbeddingShape& s) {
    const RowIndex index = row_index(m.ints({s.T, s.B}, s.V > 1 ? -1 : 0, s.V - 1));
    return {.offsets = on_host(m, index.offsets),
            .positions = on_host(m, index.positions),
            .d_y = m.uniform({s.T, s.B, s.Y}),
            .d_rows = m.output({static_cast<int>(index.rows.size()), s.E}),
            .column = s.column};
  }
  static int reduction(const EmbeddingShape& s) { return s.T * s.B; }
  static double bytes(const EmbeddingBackward& op) {
    const double read = static_cast<double>(op.positions.size()) * op.d_rows.dim(1);
    return sizeof(real) * (read + static_cast<double>(op.d_rows.size()));
  }
};

template <>
struct Gradient<EmbeddingForward> {
  static auto inputs(auto& f) { return std::tie(f.table); }
  static auto outputs(auto& f) { return std::tie(f.y); }
  static auto gradients(Maker& m, const EmbeddingForward& f, View<const real, 3> d_y) {
    const RowIndex index = row_index(f.ids);
    const int U = static_cast<int>(index.rows.size()), E = f.table.dim(1);
    const EmbeddingBackward g{.offsets = on_host(m, index.offsets),
                              .positions = on_host(m, index.positions),
                              .d_y = d_y,
                              .d_rows = m.output({U, E}),
                              .column = f.column};
    m.run(g);
    const auto d_table = m.zeros(f.table.shape);
    for (int u = 0; u < U; ++u) std::copy_n(g.d_rows[u].data, E, d_table[index.rows[u]].data);
    return std::tuple{d_table};
  }
};

}  // namespace bib::test
