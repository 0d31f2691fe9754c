// Sums over all tag paths of one sequence: log Z, marginals and pairwise expectations.
//
// Scaled probability space (Rabiner 1989; CRFsuite): transitions and emissions are exponentials relative to their
// maximum, in double, and each row of alpha and beta is scaled by a power of two, which rounds nothing. That is exact
// up to rounding as long as no path's weight is lost to underflow, which is checked, not hoped for:
//   - A finite score more than `widest` below its maximum is taken as forbidden. `dropped` remembers the smallest such
//     distance, and at the end  log(dropped paths) <= n log K - dropped  must be far below the sum that was found.
//   - Every factor left is at least exp(-widest), so a value of a reachable tag passes through (0, smallest) before it
//     could become 0. Any value seen there, or a product alpha beta too small, refuses the sequence.
// A refused sequence is computed in log space (crf_lattice.cpp), which is also the readable reference of the fast path.
// A sequence's result depends on that sequence alone: alone or in a batch, on any thread, the bits are the same.
#pragma once
#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {
class Context;
}

namespace bib::crf {

inline constexpr double widest = 100;       // exp(-100) = 4e-44: two such factors and `smallest` still make a normal
inline constexpr double smallest = 1e-200;  // of alpha and beta, whose rows' maxima are near 1
inline constexpr double smallest_sum = 1e-250;  // of alpha beta at one step
inline constexpr double negligible = 40;        // log: exp(-40) = 4e-18 of the sum may be missing

/// What depends on the transition scores alone; made once per call. Rows are padded to `stride` with exact zeros.
struct Weights {
  int K = 0, stride = 0;                                                // stride: K rounded up to 8
  const real *transition = nullptr, *first = nullptr, *last = nullptr;  // as given, [K,K] [K] [K]
  double *forward = nullptr, *backward = nullptr;                       // [stride,stride] exp'd, and transposed
  double *exp_first = nullptr, *exp_last = nullptr;                     // [stride]
  double transition_top = 0, first_top = 0, last_top = 0;               // the maxima taken out
  double dropped = 0;                                                   // +infinity when nothing was
};

/// One sequence of a batch. A tag >= 0 allows that tag alone at its step; tags == nullptr or -1 allows every tag.
struct Sequence {
  int length = 0;  // >= 1
  const real* scores = nullptr;
  long long score_step = 0;  // elements from one time step to the next
  const int* tags = nullptr;
  long long tag_step = 0;
};

/// Scratch and result for one sequence; all [T,stride].
struct Lattice {
  int K = 0, stride = 0, T = 0;
  double* emission = nullptr;  // exp(score - step's maximum); in log space the score
  double* alpha = nullptr;     // scaled, after sum_paths() divided by the step's sum; in log space log alpha
  double* ahead = nullptr;     // emission * beta, scaled; in log space log beta
  double* marginal = nullptr;  // p(y_t = k | x)
  double* row = nullptr;       // [stride]
  double log_z = 0;            // -infinity when every path is forbidden
  bool log_space = false;
};

/// Compiled per instruction set (crf_lattice.simd.cpp).
struct LatticeKernels {
  /// out[k] = exp(x[k] - top), 0 beyond `widest`; 0 in the padding; returns the smaller of `dropped` and what it drops.
  double (*exponentials)(const real* x, int K, int stride, double top, double dropped, double* out);
  /// log_z, and if `marginals` also marginal, alpha and ahead, of `count` sequences, a lattice each. log_space is set
  /// where a sequence is refused: nothing else in its lattice is valid then.
  void (*sum_paths)(const Weights&, const Sequence*, int count, Lattice*, bool marginals);
  /// pairs[i][j] += weight sum_t p(y_t = i, y_t+1 = j | x);  pairs is [K,stride].
  void (*add_pairs)(const Weights&, const Lattice&, int length, double weight, double* pairs);
  /// out[t][k] = weight marginal[t][k] (+ what it was if `add`) for t < length.
  void (*write_marginals)(const Lattice&, int length, double weight, bool add, real* out, long long step);
};
const LatticeKernels& lattice_kernels();

/// Memory comes from the context's arena: call both from the thread that owns it, inside an ArenaScope.
Weights make_weights(Context& ctx, int K, const real* transition, const real* first, const real* last);
Lattice make_lattice(Context& ctx, const Weights& weights, int T);

/// The fast path, or log space when that refuses; `at_once` sequences together are faster than one by one.
inline constexpr int at_once = 2;
void sum_paths(const Weights& weights, const Sequence* sequences, int count, Lattice* lattices, bool marginals);
/// Log space alone: what the fast path is tested against.
void sum_paths_log(const Weights& weights, const Sequence& sequence, Lattice& lattice, bool marginals);

/// p(y_t = i, y_t+1 = j | x)
double pair_probability(const Weights& weights, const Lattice& lattice, int t, int i, int j);
void add_pairs(const Weights& weights, const Lattice& lattice, int length, double weight, double* pairs);

}  // namespace bib::crf

namespace bib {
BIB_TABLES(crf::LatticeKernels, lattice_kernels)
}  // namespace bib
