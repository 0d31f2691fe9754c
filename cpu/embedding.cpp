// Embedding lookup, and its gradient by unique row: each row is summed by one task in the order of its positions.
#include "bib/ops/embedding.h"

#include <algorithm>

#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace bib {

namespace {
constexpr int lookups_per_task = 256, rows_per_task = 64;
}

void on_cpu(Context& ctx, const EmbeddingForward& op) {
  const int E = op.table.dim(1), Y = op.y.dim(2);
  parallel_chunks(ctx, op.ids.size(), lookups_per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      real* y = op.y.data + i * Y + op.column;
      const int id = op.ids.data[i];
      if (id < 0) {
        std::fill_n(y, E, real(0));
      } else {
        std::copy_n(op.table[id].data, E, y);
      }
    }
  });
}

void on_cpu(Context& ctx, const EmbeddingBackward& op) {
  parallel_chunks(ctx, op.d_rows.dim(0), rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t u = begin; u < end; ++u) {
      sum_lookups(op.offsets, op.positions, op.d_y, op.column, static_cast<int>(u), op.d_rows[u]);
    }
  });
}

}  // namespace bib
