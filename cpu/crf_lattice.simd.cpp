// Forward-backward in scaled probability space. Both directions are a row vector times a matrix, beta with the
// transposed one. alpha runs up while beta runs down in the same loop (unless the two matrices together would not stay
// in the cache), and two sequences go through it side by side: four independent chains that hide each other's latency,
// and each vector of a matrix is loaded once for both sequences.
#include "cpu/crf_lattice.h"

#include <limits>

#include "cpu/vec_wide.h"

namespace bib::BIB_ISA {
namespace {

using crf::Lattice;
using crf::Sequence;
using crf::Weights;

constexpr int both_matrices = 40;  // stride up to which forward and backward matrix fit a first-level cache of 32 KiB
constexpr double infinity = std::numeric_limits<double>::infinity();

/// e^x for -700 <= x <= 0: x = n log 2 + r, Taylor series of degree 11 in |r| <= 0.35, relative error 7e-15; then n is
/// added to the exponent's bits.
BIB_INLINE wide exp_wide(wide x) {
  const wide magic = splat_wide(6755399441055744.0);  // 1.5 * 2^52: adding it leaves the integer n in the low bits
  const wide shifted = x * 1.4426950408889634 + magic;
  const wide n = shifted - magic;
  const wide r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6;
  wide p = splat_wide(1.0 / 39916800);
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  wide_mask bits, scale;
  __builtin_memcpy(&bits, &p, sizeof bits);
  __builtin_memcpy(&scale, &shifted, sizeof scale);
  bits += scale << 52;
  __builtin_memcpy(&p, &bits, sizeof p);
  return p;
}

/// Calls f(k) for starts of vectors that cover 0..K-1, the last overlapping the one before: for K >= wide_lanes.
template <class F>
BIB_INLINE void cover(int K, F f) {
  int k = 0;
  for (; k + wide_lanes <= K; k += wide_lanes) f(k);
  if (k < K) f(K - wide_lanes);
}

struct Range {
  double low = infinity, top = -infinity;
};

BIB_INLINE Range range_of(const real* x, int K) {
  Range range;
  if (K < wide_lanes) {
    for (int k = 0; k < K; ++k) {
      range.low = x[k] < range.low ? static_cast<double>(x[k]) : range.low;
      range.top = x[k] > range.top ? static_cast<double>(x[k]) : range.top;
    }
    return range;
  }
  narrow low = load_narrow(x), top = low;
  cover(K, [&](int k) {
    const narrow y = load_narrow(x + k);
    low = y < low ? y : low;
    top = y > top ? y : top;
  });
  return {.low = smallest_lane(__builtin_convertvector(low, wide)),
          .top = largest_lane(__builtin_convertvector(top, wide))};
}

/// Calls f(vector of x, where its exponentials go) for all of a row; pads with -infinity where K < wide_lanes.
template <class F>
BIB_INLINE void each_vector(const real* x, int K, double* out, F f) {
  if (K >= wide_lanes) return cover(K, [&](int k) { f(load_narrow(x + k), out + k); });
  real padded[wide_lanes];
  for (int k = 0; k < wide_lanes; ++k) padded[k] = k < K ? x[k] : -std::numeric_limits<real>::infinity();
  f(load_narrow(padded), out);
}

BIB_INLINE double exponentials(const real* x, int K, int stride, double top, double low, double dropped, double* out) {
  for (int k = K; k < stride; ++k) out[k] = 0;
  if (low - top >= -crf::widest && K >= wide_lanes) {
    each_vector(x, K, out,
                [&](narrow v, double* to) { store_wide(to, exp_wide(__builtin_convertvector(v, wide) - top)); });
    return dropped;
  }
  wide lost = splat_wide(dropped);
  each_vector(x, K, out, [&](narrow v, double* to) {
    const wide y = __builtin_convertvector(v, wide) - top;
    const wide_mask keep = y >= splat_wide(-crf::widest);
    const wide far = keep ? splat_wide(infinity) : -y;
    lost = far < lost ? far : lost;
    store_wide(to, keep ? exp_wide(keep ? y : wide{}) : wide{});
  });
  return smallest_lane(lost);
}

/// Fills the emission rows; adds the maxima taken out to `top`; returns the smallest distance dropped.
double fill_emissions(const Weights& weights, const Sequence& s, Lattice& l, double& top) {
  double dropped = weights.dropped;
  for (int t = 0; t < s.length; ++t) {
    const real* x = s.scores + t * s.score_step;
    double* row = l.emission + static_cast<long long>(t) * l.stride;
    const int tag = s.tags ? s.tags[t * s.tag_step] : -1;
    const Range range = tag >= 0 ? Range{.top = static_cast<double>(x[tag])} : range_of(x, l.K);
    double step_top = range.top;
    if (step_top == -infinity) step_top = 0;
    top += step_top;
    if (tag >= 0) {
      for (int k = 0; k < l.stride; ++k) row[k] = 0;
      row[tag] = x[tag] == -std::numeric_limits<real>::infinity() ? 0 : 1;
    } else {
      dropped = exponentials(x, l.K, l.stride, step_top, range.low, dropped, row);
    }
  }
  return dropped;
}

/// One step of alpha or of beta of one sequence:  sum = x matrix,  next = sum * emission * scale.
struct Chain {
  const double *x, *emission;
  double *sum, *next;
  double scale;
  wide top{};        // lane maxima of `next`
  wide_mask lost{};  // lanes where a value of `next` came too close to 0
};

/// Steps P directions of S sequences over W vectors of columns from `column` on. chain[p * S + s] is multiplied with
/// matrix[p], whose vectors are loaded once for all sequences. U partial sums each, to hide the latency of FMA; they
/// depend on W alone, so that a sequence's bits do not depend on its company.
template <int P, int S, int W>
BIB_INLINE void advance_block(const double* const* matrix, Chain* chain, int K, int stride, int column) {
  constexpr int U = W >= 4 ? 1 : W >= 2 ? 2 : 4;
  wide sums[U][P * S][W];
  for (int u = 0; u < U; ++u)
    for (int c = 0; c < P * S; ++c)
      for (int w = 0; w < W; ++w) sums[u][c][w] = wide{};
  for (int i = 0; i < (K + U - 1) / U * U; i += U)
    for (int u = 0; u < U; ++u)
      for (int p = 0; p < P; ++p) {
        const double* m = matrix[p] + static_cast<long long>(i + u) * stride + column;
        wide row[W];
        for (int w = 0; w < W; ++w) row[w] = load_wide(m + w * wide_lanes);
        for (int c = p * S; c < (p + 1) * S; ++c) {
          const wide x = splat_wide(chain[c].x[i + u]);
          for (int w = 0; w < W; ++w) sums[u][c][w] += x * row[w];
        }
      }
  for (int c = 0; c < P * S; ++c)
    for (int w = 0; w < W; ++w) {
      for (int u = 1; u < U; ++u) sums[0][c][w] += sums[u][c][w];
      const int k = column + w * wide_lanes;
      const wide next = sums[0][c][w] * (load_wide(chain[c].emission + k) * chain[c].scale);
      store_wide(chain[c].sum + k, sums[0][c][w]);
      store_wide(chain[c].next + k, next);
      chain[c].top = max_wide(next, chain[c].top);
      chain[c].lost |= (next < splat_wide(crf::smallest)) & (next > wide{});
    }
}

template <int P, int S>
BIB_INLINE void advance(const double* const* matrix, Chain* chain, int K, int stride) {
  if constexpr (P * S == 4 && vector_bytes < 64) {  // 16 registers
    advance<1, S>(matrix, chain, K, stride);
    advance<1, S>(matrix + 1, chain + S, K, stride);
    return;
  }
  for (int c = 0; c < P * S; ++c) chain[c].top = wide{};
  int k = 0, rest = stride / wide_lanes;
  for (; P * S == 1 && rest >= 8; rest -= 8, k += 8 * wide_lanes)  // a lone chain needs 8 sums to keep two units busy
    advance_block<P, S, 8>(matrix, chain, K, stride, k);
  for (; rest >= 4; rest -= 4, k += 4 * wide_lanes) advance_block<P, S, 4>(matrix, chain, K, stride, k);
  if (rest == 3) advance_block<P, S, 3>(matrix, chain, K, stride, k);
  if (rest == 2) advance_block<P, S, 2>(matrix, chain, K, stride, k);
  if (rest == 1) advance_block<P, S, 1>(matrix, chain, K, stride, k);
}

/// The power of two that brings `top` near 1 (1 for 0); its exponent is subtracted from `exponent`.
BIB_INLINE double power_of_two_below(double top, long long& exponent) {
  long long bits;
  __builtin_memcpy(&bits, &top, sizeof bits);
  const long long e = (bits >> 52) - 1023;
  if (top == 0 || e < -1000 || e > 1000) return 1;
  exponent += e;
  bits = (1023 - e) << 52;
  double scale;
  __builtin_memcpy(&scale, &bits, sizeof scale);
  return scale;
}

/// Turns alpha, beta (in `marginal`) into marginals; alpha is divided by the step's sum. False: a sum too small.
bool normalise(Lattice& l, int n) {
  bool sound = true;
  for (int t = 0; t < n; ++t) {
    double* a = l.alpha + static_cast<long long>(t) * l.stride;
    double* b = l.marginal + static_cast<long long>(t) * l.stride;
    wide parts{};
    for (int k = 0; k < l.stride; k += wide_lanes) parts += load_wide(a + k) * load_wide(b + k);
    const double total = sum_lanes(parts);
    sound &= total >= crf::smallest_sum;
    const double inverse = 1 / total;
    for (int k = 0; k < l.stride; k += wide_lanes) {
      const wide y = load_wide(a + k) * inverse;
      store_wide(a + k, y);
      store_wide(b + k, y * load_wide(b + k));
    }
  }
  return sound;
}

/// A sequence on its way: its chains, and what was taken out of them.
struct Walk {
  Lattice* l;
  int n;
  double log_z, dropped;
  long long exponent[2] = {};  // beta's cancels: marginals are divided by their sum
  Chain alpha, beta;

  double* at(double* rows, int t) const { return rows + static_cast<long long>(t) * l->stride; }

  void begin(const Weights& weights, const Sequence& s, Lattice& lattice) {
    l = &lattice, n = s.length;
    log_z = weights.first_top + weights.last_top + (n - 1) * weights.transition_top;
    dropped = fill_emissions(weights, s, lattice, log_z);
    for (int k = 0; k < lattice.stride; k += wide_lanes) {
      const wide a = load_wide(weights.exp_first + k) * load_wide(lattice.emission + k);
      const wide b = load_wide(weights.exp_last + k), g = b * load_wide(at(lattice.emission, n - 1) + k);
      store_wide(lattice.alpha + k, a);
      store_wide(at(lattice.marginal, n - 1) + k, b);
      store_wide(at(lattice.ahead, n - 1) + k, g);
      alpha.top = max_wide(a, alpha.top);
      beta.top = max_wide(g, beta.top);
    }
  }

  // The scale of a step brings the row before it near 1: known early, so it is not on the path from row to row.
  void alpha_to(int t, Chain& chain) {
    chain.x = at(l->alpha, t - 1);
    chain.emission = at(l->emission, t);
    chain.sum = l->row;
    chain.next = at(l->alpha, t);
    chain.scale = power_of_two_below(largest_lane(chain.top), exponent[0]);
  }
  void beta_to(int t, Chain& chain) {
    chain.x = at(l->ahead, t + 1);
    chain.emission = at(l->emission, t);
    chain.sum = at(l->marginal, t);
    chain.next = at(l->ahead, t);
    chain.scale = power_of_two_below(largest_lane(chain.top), exponent[1]);
  }

  bool finish(bool marginals) {
    if (lane_bits(alpha.lost | beta.lost)) return false;
    wide parts{};
    for (int k = 0; k < l->stride; k += wide_lanes)
      parts += load_wide(at(l->alpha, n - 1) + k) * load_wide(at(l->marginal, n - 1) + k);
    const double total = sum_lanes(parts);
    if (!(total >= crf::smallest_sum)) return false;
    const double relative = __builtin_log(total) + static_cast<double>(exponent[0]) * 0.69314718055994531;
    if (relative < n * __builtin_log(l->K) - dropped + crf::negligible) return false;
    l->log_z = log_z + relative;
    return !marginals || normalise(*l, n);
  }
};

/// Steps `begin` to `end` of S sequences, counted from where each direction starts.
template <bool alpha, bool beta, int S>
void steps(const Weights& weights, Walk* const* walk, int begin, int end) {
  constexpr int P = alpha + beta;
  const double* const matrix[2] = {alpha ? weights.forward : weights.backward, weights.backward};
  Chain chain[P * S];  // a copy: nothing else points to it
  for (int s = 0; s < S; ++s) {
    if (alpha) chain[s] = walk[s]->alpha;
    if (beta) chain[(P - 1) * S + s] = walk[s]->beta;
  }
  for (int t = begin; t < end; ++t) {
    for (int s = 0; s < S; ++s) {
      if (alpha) walk[s]->alpha_to(t, chain[s]);
      if (beta) walk[s]->beta_to(walk[s]->n - 1 - t, chain[(P - 1) * S + s]);
    }
    advance<P, S>(matrix, chain, walk[0]->l->K, walk[0]->l->stride);
  }
  for (int s = 0; s < S; ++s) {
    if (alpha) walk[s]->alpha = chain[s];
    if (beta) walk[s]->beta = chain[(P - 1) * S + s];
  }
}

/// Two sequences side by side until the shorter one ends.
template <bool alpha, bool beta>
void all_steps(const Weights& weights, Walk* first, Walk* second) {
  if (second && second->n > first->n) {
    Walk* const longer = second;
    second = first, first = longer;
  }
  Walk* const walk[2] = {first, second};
  const int both = second ? second->n : 1;
  if (second) steps<alpha, beta, 2>(weights, walk, 1, both);
  steps<alpha, beta, 1>(weights, walk, both, first->n);
}

void sum_paths(const Weights& weights, const Sequence* sequences, int count, Lattice* lattices, bool marginals) {
  for (int i = 0; i < count; i += 2) {
    Walk walk[2];
    const int here = count - i < 2 ? 1 : 2;
    for (int s = 0; s < here; ++s) walk[s].begin(weights, sequences[i + s], lattices[i + s]);
    Walk* const second = here == 2 ? walk + 1 : nullptr;
    if (marginals && weights.stride <= both_matrices) {
      all_steps<true, true>(weights, walk, second);
    } else {
      all_steps<true, false>(weights, walk, second);
      if (marginals) all_steps<false, true>(weights, walk, second);
    }
    for (int s = 0; s < here; ++s) lattices[i + s].log_space = !walk[s].finish(marginals);
  }
}

/// R rows and W vectors of  pairs += weight * matrix * (alpha^T ahead), the sum over time kept in registers.
template <int R, int W>
BIB_INLINE void add_pair_block(const Weights& weights, const Lattice& l, int n, double weight, double* pairs, int row,
                               int column) {
  wide sums[R][W] = {};
  const double* a = l.alpha + row;
  const double* g = l.ahead + l.stride + column;
  for (int t = 0; t + 1 < n; ++t, a += l.stride, g += l.stride)
    for (int r = 0; r < R; ++r)
      for (int w = 0; w < W; ++w) sums[r][w] += splat_wide(a[r]) * load_wide(g + w * wide_lanes);
  for (int r = 0; r < R && row + r < l.K; ++r)
    for (int w = 0; w < W; ++w) {
      const long long at = static_cast<long long>(row + r) * l.stride + column + w * wide_lanes;
      store_wide(pairs + at, load_wide(pairs + at) + sums[r][w] * (load_wide(weights.forward + at) * weight));
    }
}

void add_pairs(const Weights& weights, const Lattice& l, int n, double weight, double* pairs) {
  const int vectors = l.stride / wide_lanes;
  for (int i = 0; i < l.K; i += 4) {  // rows past K are padding, and stride is a multiple of 4
    int v = 0;
    for (; v + 4 <= vectors && vector_bytes == 64; v += 4)
      add_pair_block<4, 4>(weights, l, n, weight, pairs, i, v * wide_lanes);
    for (; v + 2 <= vectors; v += 2) add_pair_block<4, 2>(weights, l, n, weight, pairs, i, v * wide_lanes);
    for (; v < vectors; ++v) add_pair_block<4, 1>(weights, l, n, weight, pairs, i, v * wide_lanes);
  }
}

void write_marginals(const Lattice& l, int n, double weight, bool add, real* out, long long step) {
  for (int t = 0; t < n; ++t, out += step) {
    const double* p = l.marginal + static_cast<long long>(t) * l.stride;
    if (add || l.K < wide_lanes) {
      for (int k = 0; k < l.K; ++k) out[k] = static_cast<real>(weight * p[k] + (add ? static_cast<double>(out[k]) : 0));
    } else {
      cover(l.K, [&](int k) { store_narrow(out + k, __builtin_convertvector(load_wide(p + k) * weight, narrow)); });
    }
  }
}

double exponentials_row(const real* x, int K, int stride, double top, double dropped, double* out) {
  return exponentials(x, K, stride, top, -infinity, dropped, out);
}

}  // namespace

const crf::LatticeKernels lattice_kernels{.exponentials = exponentials_row,
                                          .sum_paths = sum_paths,
                                          .add_pairs = add_pairs,
                                          .write_marginals = write_marginals};

}  // namespace bib::BIB_ISA
