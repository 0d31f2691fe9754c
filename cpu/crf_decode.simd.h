// Inner loops of Viterbi and of its N best, compiled per instruction set.
#pragma once
#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {

/// The best paths of one sequence of n steps, [n,stride]: their scores, which begin as the emissions, and the same
/// before the last emission.
struct CrfPaths {
  real *best, *into;
  int n;
};

struct CrfDecodeSimd {
  /// into[t][j] = max over i of (best[t-1][i] + transition[i][j]);  best[t] += into[t];  for t in 1..n-1, of one or two
  /// sequences, the longer one first. Rows of `stride` reals, a multiple of 16, padded with -infinity.
  void (*forward)(const real* transition, int K, int stride, const CrfPaths* paths, int count);
  /// The largest a[i] + b[i] and the lowest i at which it is found.
  real (*max_of_sum)(const real* a, const real* b, int stride);
  int (*find_sum)(const real* a, const real* b, int stride, real sum);  // 0 where there is none (NaN)
  /// The N best of {before[r][i] + step[i]} in falling order, equal ones by lower i, then lower r: score[r], and
  /// from[r] = i * N + r. `before` is [N,stride], each column falling; stride is a multiple of 8, step's padding
  /// -infinity. `head` and `rank` are scratch of `stride`.
  void (*merge)(const double* before, const double* step, int stride, int N, double* head, int* rank, double* score,
                int* from);
};

BIB_TABLES(CrfDecodeSimd, crf_decode)

}  // namespace bib
