// Viterbi's inner loops, compiled per instruction set.
#pragma once
#include "bib/real.h"

namespace bib {

struct CrfDecodeSimd {
  /// best[t] += max over i of (best[t-1][i] + transition[i]), for t in 1..n-1: rows of `stride` reals, a multiple of
  /// 16, padded with -infinity in `transition` and, before, with emissions in `best`.
  void (*forward)(const real* transition, int K, int stride, real* best, int n);
  /// The lowest i < K at which a[i] + b[i] is largest; a and b padded as above. 0 when all are -infinity.
  int (*argmax_of_sum)(const real* a, const real* b, int stride);
};

namespace base {
extern const CrfDecodeSimd crf_decode;
}
namespace avx2 {
extern const CrfDecodeSimd crf_decode;
}
namespace avx512 {
extern const CrfDecodeSimd crf_decode;
}

}  // namespace bib
