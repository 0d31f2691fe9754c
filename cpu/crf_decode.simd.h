// Inner loops of Viterbi and of its N best, compiled per instruction set.
#pragma once
#include "bib/real.h"

namespace bib {

struct CrfDecodeSimd {
  /// into[t][j] = max over i of (best[t-1][i] + transition[i][j]);  best[t] += into[t];  for t in 1..n-1.
  /// Rows of `stride` reals, a multiple of 16, padded with -infinity; before, best holds the emissions.
  void (*forward)(const real* transition, int K, int stride, real* best, real* into, int n);
  /// The largest a[i] + b[i] and the lowest i at which it is found.
  real (*max_of_sum)(const real* a, const real* b, int stride);
  int (*find_sum)(const real* a, const real* b, int stride, real sum);  // 0 where there is none (NaN)
  /// The N best of {before[r][i] + step[i]} in falling order, equal ones by lower i, then lower r: score[r], and
  /// from[r] = i * N + r. `before` is [N,stride], each column falling; stride is a multiple of 8, step's padding
  /// -infinity. `head` and `rank` are scratch of `stride`.
  void (*merge)(const double* before, const double* step, int stride, int N, double* head, int* rank, double* score,
                int* from);
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
