#include "cpu/rows.h"

#include <algorithm>

#include "cpu/parallel.h"

namespace bib {

namespace {
// Rows per task: about 64 KiB, and never a function of the thread count.
std::int64_t rows_per_task(int columns) { return std::max<std::int64_t>(1, 16384 / std::max(1, columns)); }
}  // namespace

void repeat_row(Context& ctx, View<const real, 1> row, View<real, 2> y) {
  const int columns = row.dim(0);
  parallel_chunks(ctx, y.dim(0), rows_per_task(columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) std::copy_n(row.data, columns, y[n].data);
  });
}

void add_rows(Context& ctx, View<const real, 2> x, View<real, 1> sum) {
  const int N = x.dim(0), columns = x.dim(1);
  const std::int64_t grain = rows_per_task(columns);
  const int chunks = static_cast<int>((N + grain - 1) / grain);
  ArenaScope scratch(ctx.arena());
  const auto partial = ctx.arena().make<real, 2>({chunks, columns});
  parallel_chunks(ctx, N, grain, [&](std::int64_t begin, std::int64_t end) {
    real* to = partial[begin / grain].data;
    std::copy_n(x[begin].data, columns, to);
    for (std::int64_t n = begin + 1; n < end; ++n) {
      const real* row = x[n].data;
      for (int i = 0; i < columns; ++i) to[i] += row[i];
    }
  });
  for (int chunk = 0; chunk < chunks; ++chunk)
    for (int i = 0; i < columns; ++i) sum[i] += partial[chunk][i];
}

}  // namespace bib
