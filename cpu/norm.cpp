// Gradient norm: partial sums of fixed chunks, added up in double in their order.
#include "bib/ops/norm.h"

#include <algorithm>
#include <cmath>

#include "cpu/isa.h"
#include "cpu/norm.simd.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace bib {

void on_cpu(Context& ctx, const NormSquared& op) {
  constexpr std::int64_t values = 16384;
  const NormSimd& simd = BIB_SELECT(norm);
  const std::int64_t grain = op.d_y ? std::max<std::int64_t>(1, values / op.E) : values,
                     items = op.d_y ? op.rows() : op.x.size();
  ArenaScope scratch(ctx.arena());
  const auto partial = ctx.arena().make<real, 1>({static_cast<int>((items + grain - 1) / grain)});
  parallel_chunks(ctx, items, grain, [&](std::int64_t begin, std::int64_t end) {
    if (!op.d_y) {
      partial[begin / grain] = simd.sum_of_squares(op.x.data + begin, end - begin);
      return;
    }
    std::vector<real> row(static_cast<std::size_t>(op.E));
    real sum = 0;
    for (int u = static_cast<int>(begin); u < end; ++u) {
      sum_lookups(op.offsets, op.positions, op.d_y, op.column, u, {.data = row.data(), .shape = {op.E}});
      sum += simd.sum_of_squares(row.data(), op.E);
    }
    partial[begin / grain] = sum;
  });
  double sum = op.sum[0];
  for (int i = 0; i < partial.dim(0); ++i) sum += partial[i];
  op.sum[0] = static_cast<real>(sum);
}

void on_cpu(Context&, const ClipScale& op) {
  const real norm = std::sqrt(op.sum[0]), limit = op.max_norm;
  op.scale[0] = limit > 0 && norm > limit ? limit / norm : real(1);
}

}  // namespace bib
