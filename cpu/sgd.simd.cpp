#include "cpu/sgd.simd.h"

#include "cpu/flush.h"
#include "cpu/vec.h"

namespace bib::BIB_ISA {
namespace {

// Weight decay passes over infinite values: a parameter at -inf with gradient 0 stays there, its velocity finite.
void update(const SgdFactors& factors, std::int64_t n, const real* __restrict grad, real* __restrict value,
            real* __restrict velocity) {
  const FlushDenormals flush;
  const SgdFactors a = factors;
  const real infinity = static_cast<real>(__builtin_inf());
  for (std::int64_t i = 0; i < n; ++i) {
    const real x = value[i];
    const real shrinking = x > -infinity && x < infinity ? x : real(0);
    const real v = a.momentum * velocity[i] + (a.scale * grad[i] + a.weight_decay * shrinking);
    velocity[i] = v;
    value[i] = x - a.lr * v;
  }
}

}  // namespace

const SgdSimd sgd{.update = update};

}  // namespace bib::BIB_ISA
