#include "cpu/adam.simd.h"

#include "cpu/flush.h"
#include "cpu/vec.h"

namespace bib::BIB_ISA {
namespace {

BIB_INLINE real root_of(real x) {
  if constexpr (sizeof(real) == sizeof(float)) return __builtin_sqrtf(x);
  return __builtin_sqrt(x);
}

// A parameter at -inf with gradient 0 stays there: it meets no 0 * value and no difference of values.
void update(const AdamFactors& factors, std::int64_t n, const real* __restrict grad, real* __restrict value,
            real* __restrict m, real* __restrict v) {
  const FlushDenormals flush;
  const AdamFactors a = factors;
  for (std::int64_t i = 0; i < n; ++i) {
    const real g = a.scale * grad[i];
    const real m_new = a.keep_m * m[i] + a.add_m * g;
    const real v_new = a.keep_v * v[i] + a.add_v * (g * g);
    m[i] = m_new;
    v[i] = v_new;
    value[i] = a.keep_value * value[i] - a.rate * m_new / (a.root * root_of(v_new) + a.epsilon);
  }
}

}  // namespace

const AdamSimd adam{.update = update};

}  // namespace bib::BIB_ISA
