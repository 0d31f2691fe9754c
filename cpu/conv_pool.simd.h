// The inner loops of the fused convolution, compiled per instruction set.
#pragma once
#include "bib/real.h"

namespace bib {

struct ConvPoolSimd {
  int panel, lanes;  // filters computed side by side; the last panel may hold any smaller multiple of `lanes`

  /// best[f] = max_p sum_k x[p*C + k] w[k*width + f], where[f] = the first p that reaches it,
  /// f in 0..width-1,  p in 0..positions-1,  k in 0..K-1. The sums run over k in order, one fused step each.
  void (*best)(const real* x, int positions, int C, int K, const real* w, int width, real* best, int* where);
  /// y += a x
  void (*add)(real a, const real* x, real* y, int n);
};

namespace base {
extern const ConvPoolSimd conv_pool;
}
namespace avx2 {
extern const ConvPoolSimd conv_pool;
}
namespace avx512 {
extern const ConvPoolSimd conv_pool;
}

}  // namespace bib
