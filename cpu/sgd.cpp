// SGD with momentum, one pass over memory.
#include "bib/ops/sgd.h"

#include <algorithm>

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"
#include "cpu/sgd.simd.h"

namespace bib {

namespace {

constexpr std::int64_t grain = 16384;

const SgdSimd& simd() { return BIB_SELECT(sgd); }

SgdFactors factors(const SgdHyper& hyper, real scale) {
  return {.scale = scale, .lr = hyper.lr, .momentum = hyper.momentum, .weight_decay = hyper.weight_decay};
}

}  // namespace

void on_cpu(Context& ctx, const SgdStep& op) {
  const SgdFactors a = factors(op.hyper, op.scale[0]);
  parallel_chunks(ctx, op.grad.size(), grain, [&](std::int64_t begin, std::int64_t end) {
    simd().update(a, end - begin, op.grad.data + begin, op.value.data + begin, op.velocity.data + begin);
  });
}

void on_cpu(Context& ctx, const SgdRows& op) {
  const int E = op.value.dim(1);
  const SgdFactors a = factors(op.hyper, op.scale[0]);
  parallel_chunks(ctx, op.rows.dim(0), std::max<std::int64_t>(1, grain / std::max(1, E)),
                  [&](std::int64_t begin, std::int64_t end) {
                    std::vector<real> room;
                    for (int u = static_cast<int>(begin); u < end; ++u) {
                      const int row = op.rows[u];
                      simd().update(a, E, row_gradient(op, u, room), op.value[row].data, op.velocity[row].data);
                    }
                  });
}

}  // namespace bib
