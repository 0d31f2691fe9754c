// Moving average of the weights, one pass over memory; rows that rested are caught up in closed form.
#include "bib/ops/ema.h"

#include <algorithm>
#include <cmath>

#include "cpu/ema.simd.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace bib {

namespace {
constexpr std::int64_t grain = 16384;

const EmaSimd& simd() { return BIB_SELECT(ema); }
}  // namespace

void on_cpu(Context& ctx, const EmaStep& op) {
  const double decay = op.decay;
  parallel_chunks(ctx, op.value.size(), grain, [&](std::int64_t begin, std::int64_t end) {
    simd().update(static_cast<real>(decay), static_cast<real>(1 - decay), end - begin, op.value.data + begin,
                  op.average.data + begin);
  });
}

void on_cpu(Context& ctx, const EmaRows& op) {
  const int E = op.value.dim(1);
  parallel_chunks(ctx, op.rows.dim(0), std::max<std::int64_t>(1, grain / std::max(1, E)),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t u = begin; u < end; ++u) {
                      const int row = op.rows[u], steps = op.step - op.averaged_step[row];
                      if (steps <= 0) continue;  // complete already
                      const double keep = std::pow(double{op.decay}, steps);
                      simd().update(static_cast<real>(keep), static_cast<real>(1 - keep), E, op.value[row].data,
                                    op.average[row].data);
                      op.averaged_step[row] = op.step;
                    }
                  });
}

}  // namespace bib
