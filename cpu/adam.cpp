// Adam, one pass over memory: gradient, both moments and value are read once and written once.
#include "bib/ops/adam.h"

#include <algorithm>
#include <cmath>

#include "cpu/adam.simd.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace bib {

namespace {

constexpr std::int64_t grain = 16384;

const AdamSimd& simd() { return BIB_SELECT(adam); }

/// Powers in double: beta2^step is within 1e-3 of 1 at first, where float would lose the correction's digits.
AdamFactors factors(const AdamHyper& hyper, real scale) {
  const double beta1 = hyper.beta1, beta2 = hyper.beta2, lr = hyper.lr;
  return {.scale = scale,
          .keep_m = static_cast<real>(beta1),
          .add_m = static_cast<real>(1 - beta1),
          .keep_v = static_cast<real>(beta2),
          .add_v = static_cast<real>(1 - beta2),
          .keep_value = static_cast<real>(1 - lr * hyper.weight_decay),
          .rate = static_cast<real>(lr / (1 - std::pow(beta1, hyper.step))),
          .root = static_cast<real>(1 / std::sqrt(1 - std::pow(beta2, hyper.step))),
          .epsilon = static_cast<real>(hyper.epsilon)};
}

}  // namespace

void on_cpu(Context& ctx, const AdamStep& op) {
  const AdamFactors a = factors(op.hyper, op.scale[0]);
  parallel_chunks(ctx, op.grad.size(), grain, [&](std::int64_t begin, std::int64_t end) {
    simd().update(a, end - begin, op.grad.data + begin, op.value.data + begin, op.m.data + begin, op.v.data + begin);
  });
}

void on_cpu(Context& ctx, const AdamRows& op) {
  const int E = op.value.dim(1);
  const AdamFactors common = factors(op.hyper, op.scale[0]);
  parallel_chunks(ctx, op.rows.dim(0), std::max<std::int64_t>(1, grain / std::max(1, E)),
                  [&](std::int64_t begin, std::int64_t end) {
                    std::vector<real> room;
                    for (int u = static_cast<int>(begin); u < end; ++u) {
                      const int row = op.rows[u];
                      const int slept = std::max(0, op.hyper.step - 1 - op.last_step[row]);
                      AdamFactors a = common;
                      if (slept > 0) {
                        a.keep_m = static_cast<real>(std::pow(double{op.hyper.beta1}, slept + 1));
                        a.keep_v = static_cast<real>(std::pow(double{op.hyper.beta2}, slept + 1));
                      }
                      simd().update(a, E, row_gradient(op, u, room), op.value[row].data, op.m[row].data,
                                    op.v[row].data);
                      op.last_step[row] = op.hyper.step;
                    }
                  });
}

}  // namespace bib
