// Forward-backward in scaled probability space. Both directions are a row vector times a matrix, beta with the
// transposed one. alpha runs up while beta runs down in the same loop, two independent chains that hide each other's
// latency, unless the two matrices together would not stay in the cache.
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

/// One step of alpha or of beta:  sum = x matrix,  next = sum * emission * scale.
struct Chain {
  const double *x, *matrix, *emission;
  double *sum, *next;
  double scale;
  wide top;        // lane maxima of `next`
  wide_mask lost;  // lanes where a value of `next` came too close to 0
};

/// Steps C chains over W vectors of columns from `column` on, with U partial sums each to hide the latency of FMA.
template <int C, int W, int U>
BIB_INLINE void advance_block(Chain* chain, int rows, int stride, int column) {
  wide sums[U][C][W] = {};
  for (int i = 0; i < rows; i += U)
    for (int u = 0; u < U; ++u)
      for (int c = 0; c < C; ++c) {
        const wide x = splat_wide(chain[c].x[i + u]);
        const double* m = chain[c].matrix + static_cast<long long>(i + u) * stride + column;
        for (int w = 0; w < W; ++w) sums[u][c][w] += x * load_wide(m + w * wide_lanes);
      }
  for (int c = 0; c < C; ++c)
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

template <int C>
BIB_INLINE void advance(Chain* chain, int K, int stride) {
  constexpr int most = C == 1 ? 8 : 4;  // 8 accumulators keep two FMA units busy; one chain needs them all for itself
  for (int c = 0; c < C; ++c) chain[c].top = wide{};
  int k = 0, rest = stride / wide_lanes;
  for (; rest >= most; rest -= most, k += most * wide_lanes) advance_block<C, most, 1>(chain, K, stride, k);
  if (most > 4 && rest >= 4) {
    advance_block<C, 4, 2>(chain, (K + 1) / 2 * 2, stride, k);
    rest -= 4, k += 4 * wide_lanes;
  }
  if (rest == 3) advance_block<C, 3, 2>(chain, (K + 1) / 2 * 2, stride, k);
  if (rest == 2) advance_block<C, 2, 2>(chain, (K + 1) / 2 * 2, stride, k);
  if (rest == 1) advance_block<C, 1, 4>(chain, (K + 3) / 4 * 4, stride, k);
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

bool sum_paths(const Weights& weights, const Sequence& s, Lattice& l, bool marginals) {
  const int n = s.length, stride = l.stride;
  const auto at = [&](double* rows, int t) { return rows + static_cast<long long>(t) * stride; };
  double log_z = weights.first_top + weights.last_top + (n - 1) * weights.transition_top;
  const double dropped = fill_emissions(weights, s, l, log_z);

  Chain chain[2] = {{.matrix = weights.forward, .sum = l.row}, {.matrix = weights.backward}};
  for (int k = 0; k < stride; k += wide_lanes) {
    const wide a = load_wide(weights.exp_first + k) * load_wide(l.emission + k);
    const wide b = load_wide(weights.exp_last + k), g = b * load_wide(at(l.emission, n - 1) + k);
    store_wide(l.alpha + k, a);
    store_wide(at(l.marginal, n - 1) + k, b);
    store_wide(at(l.ahead, n - 1) + k, g);
    chain[0].top = max_wide(a, chain[0].top);
    chain[1].top = max_wide(g, chain[1].top);
  }
  long long exponent[2] = {};  // beta's cancels: marginals are divided by their sum
  // The scale of a step brings the row before it near 1: known early, so it is not on the path from row to row.
  const auto alpha_to = [&](int t) {
    chain[0].x = at(l.alpha, t - 1);
    chain[0].emission = at(l.emission, t);
    chain[0].next = at(l.alpha, t);
    chain[0].scale = power_of_two_below(largest_lane(chain[0].top), exponent[0]);
  };
  const auto beta_to = [&](int t) {
    chain[1].x = at(l.ahead, t + 1);
    chain[1].emission = at(l.emission, t);
    chain[1].sum = at(l.marginal, t);
    chain[1].next = at(l.ahead, t);
    chain[1].scale = power_of_two_below(largest_lane(chain[1].top), exponent[1]);
  };
  const bool together = marginals && stride <= both_matrices;
  for (int t = 1; t < n; ++t) {
    alpha_to(t);
    if (together) {
      beta_to(n - 1 - t);
      advance<2>(chain, l.K, stride);
    } else {
      advance<1>(chain, l.K, stride);
    }
  }
  for (int t = n - 2; t >= 0 && marginals && !together; --t) {
    beta_to(t);
    advance<1>(chain + 1, l.K, stride);
  }
  if (lane_bits(chain[0].lost | chain[1].lost)) return false;
  wide parts{};
  for (int k = 0; k < stride; k += wide_lanes)
    parts += load_wide(at(l.alpha, n - 1) + k) * load_wide(at(l.marginal, n - 1) + k);
  const double total = sum_lanes(parts);
  if (!(total >= crf::smallest_sum)) return false;
  const double relative = __builtin_log(total) + static_cast<double>(exponent[0]) * 0.69314718055994531;
  if (relative < n * __builtin_log(l.K) - dropped + crf::negligible) return false;
  l.log_z = log_z + relative;
  return !marginals || normalise(l, n);
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
