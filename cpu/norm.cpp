// Gradient norm: partial sums of fixed chunks, added up in double in their order.
#include "bib/ops/norm.h"

#include <cmath>

#include "cpu/isa.h"
#include "cpu/norm.simd.h"
#include "cpu/parallel.h"

namespace bib {

void on_cpu(Context& ctx, const NormSquared& op) {
  constexpr std::int64_t grain = 16384;
  const NormSimd& simd = select(base::norm, avx2::norm, avx512::norm);
  ArenaScope scratch(ctx.arena());
  const auto partial = ctx.arena().make<real, 1>({static_cast<int>((op.x.size() + grain - 1) / grain)});
  parallel_chunks(ctx, op.x.size(), grain, [&](std::int64_t begin, std::int64_t end) {
    partial[begin / grain] = simd.sum_of_squares(op.x.data + begin, end - begin);
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
