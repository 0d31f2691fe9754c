#include "tests/reference.h"

namespace bib::test {
namespace {

TEST(Embedding, copies_rows_and_zeros_where_the_id_is_minus_one) {
  for_each_run<EmbeddingForward>([](const EmbeddingForward& op, double, const EmbeddingForward& before) {
    for (int t = 0; t < op.ids.dim(0); ++t)
      for (int b = 0; b < op.ids.dim(1); ++b)
        for (int k = 0; k < op.y.dim(2); ++k) {
          const int id = op.ids[t][b], e = k - op.column;
          const real expected = e < 0 || e >= op.table.dim(1) ? before.y[t][b][k] : id < 0 ? 0 : op.table[id][e];
          EXPECT_EQ(op.y[t][b][k], expected) << t << ' ' << b << ' ' << k;
        }
  });
}

TEST(Embedding, row_without_positions_has_gradient_zero) {
  Maker m;
  const EmbeddingBackward op{.offsets = m.values<int>({4}, {0, 2, 2, 3}),
                             .positions = m.values<int>({3}, {0, 3, 1}),
                             .d_y = m.values<real>({2, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}),
                             .d_rows = m.output({3, 2}),
                             .column = 1};
  m.run(op);
  EXPECT_EQ(download(m.cpu(), op.d_rows), (std::vector<real>{2 + 11, 3 + 12, 0, 0, 5, 6}));
}

TEST(Embedding, column_block_beyond_y_is_refused) {
  Maker m;
  const EmbeddingForward op{
      .ids = m.ints({2, 2}, 0, 1), .table = m.uniform({2, 3}), .y = m.output({2, 2, 4}), .column = 2};
  EXPECT_THROW(m.run(op), std::invalid_argument);
}

}  // namespace
}  // namespace bib::test
