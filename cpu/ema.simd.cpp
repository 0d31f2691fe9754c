#include "cpu/ema.simd.h"

#include "cpu/flush.h"
#include "cpu/vec.h"

namespace bib::BIB_ISA {
namespace {

// Where value and average agree nothing may change: a constant keeps its bits however often it is averaged, and -inf
// stays -inf (0 * -inf, with a factor that underflowed, would be NaN).
void update(real keep, real add, std::int64_t n, const real* __restrict value, real* __restrict average) {
  const FlushDenormals flush;
  for (std::int64_t i = 0; i < n; ++i) {
    const real x = value[i], y = average[i], mixed = keep * y + add * x;
    average[i] = x == y ? x : mixed;
  }
}

}  // namespace

const EmaSimd ema{.update = update};

}  // namespace bib::BIB_ISA
