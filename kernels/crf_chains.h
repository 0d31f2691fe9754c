// How all tag paths of a sequence are summed: alpha and beta of scaled probability space in double, as
// cpu/crf_lattice.h explains them, with the same bounds and the same retreat to log space, taken per sequence on the
// device. Here is what any number of tags can do, by a block; what up to 32 do: crf_warps.h. Launches: crf_sums.h.
//
// Chains: a thread per tag. A row passes through shared memory, two buffers in turns, one barrier a step. Its scale, a
// power of two, comes from the maximum of the row before, which every thread sees while it sums; so there is no
// reduction on the way. A sum has four parts, tag i in part i % 4, added as (0 + 1) + (2 + 3): a chain of additions is
// a quarter as long. Emissions are read two steps early.
#pragma once
#include "kernels/crf_log_space.h"
#include "kernels/reduce.h"

namespace bib::device::crf {

constexpr float widest = 100;
constexpr double smallest = 1e-200, smallest_sum = 1e-250, negligible = 40;  // as on the CPU
constexpr double ln2 = 0.69314718055994531;

/// Doubles from one buffer of a row to the other: they stay aligned to 16 bytes.
__host__ __device__ constexpr int row_stride(int K) { return (K + 1) / 2 * 2; }

template <class F>
__device__ double block_fold(double v, F&& f) {
  SHARED(double, of_warp, [32]);
  v = warp_fold(v, f);
  __syncthreads();
  if (lane_id() == 0) of_warp[warp_id()] = v;
  __syncthreads();
  double all = of_warp[0];
  for (int w = 1; w < static_cast<int>(blockDim.x) / warp_lanes; ++w) all = f(all, of_warp[w]);
  return all;
}

__device__ inline double smaller(double a, double b) { return a < b ? a : b; }
__device__ inline float smaller_float(float a, float b) { return fminf(a, b); }

/// What is taken out of scores whose maximum this is: of forbidden ones nothing.
__device__ inline float finite_or_0(float top) { return isinf(top) ? 0.0f : top; }

__device__ inline float block_top(const float* x, std::int64_t n) {
  double top = -INFINITY;
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) top = larger(top, x[i]);
  return finite_or_0(static_cast<float>(block_fold(top, larger)));
}

/// e^y for -widest <= y <= 0: y = n log 2 + r, Taylor series of degree 12 in |r| <= 0.35, which leaves 2e-16. There is
/// no branch in it, so that several go side by side.
__device__ __forceinline__ double exp_of_near(double y) {
  constexpr double whole = 6755399441055744.0;  // added, it leaves the nearest whole number in the lower word
  constexpr double inverse_factorial[] = {
      1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720,
      1.0 / 120,       1.0 / 24,       1.0 / 6,       1.0 / 2,      1.0,         1.0};
  const double shifted = y * 1.4426950408889634 + whole, n = shifted - whole;
  const double r = y - n * 0.693147180369123816490 - n * 1.90821492927058770002e-10;
  double e = inverse_factorial[0];
#pragma unroll
  for (int i = 1; i < 13; ++i) e = e * r + inverse_factorial[i];
  return __hiloint2double(__double2hiint(e) + __double2loint(shifted) * (1 << 20), __double2loint(e));
}

/// exp(x - top), 0 beyond `widest`; takes note of the smallest distance that is dropped (to a float's rounding, where
/// only multiples of 1 matter), which is beyond all where a score is NaN or infinite: that is for log space.
__device__ __forceinline__ double exponential(float x, float top, float& dropped) {
  const float distance = top - x;
  const bool near = distance >= 0 && distance <= widest;
  dropped = fminf(dropped, near ? INFINITY : (distance > 0 ? distance : -INFINITY));
  const double e = exp_of_near(static_cast<double>(near ? x : top) - top);
  const int kept = near ? ~0 : 0;  // of its bits: a choice between e and 0 would become a branch around all of it
  return __hiloint2double(__double2hiint(e) & kept, __double2loint(e) & kept);
}

/// All threads of one block.
__device__ inline void exponentials_of_weights(const Batch& a, const Weights& w) {
  const std::int64_t size = static_cast<std::int64_t>(a.K) * a.K;
  const float top = block_top(a.transition, size), first = block_top(a.first, a.K), last = block_top(a.last, a.K);
  float dropped = INFINITY;
  for (std::int64_t i = threadIdx.x; i < size; i += blockDim.x) {
    const double e = exponential(a.transition[i], top, dropped);
    w.forward[i] = e;
    w.backward[i % a.K * a.K + i / a.K] = e;
  }
  for (int k = static_cast<int>(threadIdx.x); k < a.K; k += static_cast<int>(blockDim.x)) {
    w.exp_first[k] = exponential(a.first[k], first, dropped);
    w.exp_last[k] = exponential(a.last[k], last, dropped);
  }
  const double least_dropped = block_fold(dropped, smaller);
  if (threadIdx.x != 0) return;
  w.tops[0] = top;
  w.tops[1] = first;
  w.tops[2] = last;
  w.tops[3] = least_dropped;
}

/// One warp: step t of sequence b.
__device__ inline void exponentials_of_emissions(const Batch& a, const Lattice& l, int t, int b) {
  const int row = t * a.B + b;
  const float* x = a.scores + static_cast<std::int64_t>(row) * a.K;
  double most = -INFINITY;
  float dropped = INFINITY;
  for (int k = lane_id(); k < a.K; k += warp_lanes) most = larger(most, x[k]);
  const float top = finite_or_0(static_cast<float>(warp_fold(most, larger)));
  for (int k = lane_id(); k < a.K; k += warp_lanes)
    l.emission[static_cast<std::int64_t>(row) * a.K + k] = exponential(x[k], top, dropped);
  dropped = warp_fold(dropped, smaller_float);
  if (lane_id() != 0) return;
  l.top[row] = top;
  l.dropped[row] = dropped;
}

/// One warp: how many steps of sequence b are annotated.
__device__ inline void count_annotated(const Batch& a, const Lattice& l, int b) {
  int n = 0;
  for (int t = lane_id(); t < a.lengths[b]; t += warp_lanes) n += a.tag(t, b) >= 0;
  n = warp_sum(n);
  if (lane_id() == 0) l.annotated[b] = n;
}

__device__ inline bool wanted(int variant, int n, int annotated) {
  return variant == 0 ? n > 0 : annotated > 0 && annotated < n;
}
__device__ inline bool wanted(const Sums& s, int variant, int b) {
  return wanted(variant, s.batch.lengths[b], variant == 0 ? 0 : s.lattice.annotated[b]);
}

__device__ inline double emission(const Sums& s, int variant, int t, int b, int k) {
  const int tag = variant ? s.batch.tag(t, b) : -1;
  if (tag < 0) return s.lattice.emission[s.batch.at(t, b, k)];
  return k == tag && !isinf(s.batch.scores[s.batch.at(t, b, k)]) ? 1.0 : 0.0;
}

/// log2 of the largest of the numbers >= 0 whose upper words had this maximum, rounded down; 0 where all were 0.
__device__ inline int exponent_of(int upper) { return upper >= 1 << 20 ? (upper >> 20) - 1023 : 0; }
__device__ inline double power_of_two(int exponent) { return __hiloint2double((1023 + exponent) << 20, 0); }

/// A row times a column in the order that all sums of the chains have, and the maximum of the row's upper words.
struct Product {
  double part[4] = {};
  int upper[4] = {};
  __device__ __forceinline__ void add(int i, double v, double m) {
    part[i % 4] += v * m;
    upper[i % 4] = max(upper[i % 4], __double2hiint(v));
  }
  __device__ double sum() const { return (part[0] + part[1]) + (part[2] + part[3]); }
  __device__ int exponent() const { return exponent_of(max(max(upper[0], upper[1]), max(upper[2], upper[3]))); }
};

/// Chain of one direction of a variant of sequence b, by a block. `rows` is shared memory: [2][row_stride(K)].
__device__ inline void chain(const Sums& s, int variant, int b, bool back, double* rows) {
  const int K = s.batch.K, n = s.batch.lengths[b], me = static_cast<int>(threadIdx.x);
  const int stride = row_stride(K), width = static_cast<int>(blockDim.x);
  const double* matrix = back ? s.weights.backward : s.weights.forward;
  const double* ends = back ? s.weights.exp_last : s.weights.exp_first;
  const auto step_of = [&](int u) { return back ? n - 1 - u : u; };
  const auto own_emission = [&](int u) { return u < n && me < K ? emission(s, variant, step_of(u), b, me) : 0.0; };
  double ahead[2] = {own_emission(0), own_emission(1)};  // of this thread's first tag
  int exponent = 0, lost = 0;
  for (int u = 0; u < n; ++u) {
    const int t = step_of(u);
    const double* before = rows + (u + 1) % 2 * stride;
    double* now = rows + u % 2 * stride;
    const double own = ahead[0];
    ahead[0] = ahead[1];
    ahead[1] = own_emission(u + 2);
    int scale = 0;
    for (int j = me; j < K; j += width) {
      double sum = u == 0 ? ends[j] : 0.0;
      if (u > 0) {
        Product product;
        for (int i = 0; i < K; i += 4) {
#pragma unroll
          for (int q = 0; q < 4; ++q)
            if (i + q < K) product.add(q, before[i + q], matrix[static_cast<std::int64_t>(i + q) * K + j]);
        }
        sum = product.sum();
        scale = product.exponent();
      }
      const double next = sum * (j == me ? own : emission(s, variant, t, b, j)) * power_of_two(-scale);
      lost |= next > 0 && next < smallest;
      now[j] = next;
      const std::int64_t to = s.row(variant, b, t) + j;
      if (back) {
        s.lattice.beta[to] = sum;
        s.lattice.ahead[to] = next;
      } else {
        s.lattice.alpha[to] = next;
      }
    }
    exponent += scale;
    __syncthreads();
  }
  lost = __syncthreads_or(lost);
  if (me != 0) return;
  const int sequence = variant * s.batch.B + b;
  s.lattice.lost[(back ? s.lattice.variants * s.batch.B : 0) + sequence] = lost;
  if (!back) s.lattice.exponent[sequence] = exponent;
}

/// log Z of the scaled chains, or NaN where they lost too much. All threads.
__device__ inline double scaled_log_z(const Sums& s, int variant, int b) {
  const int n = s.batch.lengths[b], K = s.batch.K, sequence = variant * s.batch.B + b,
            me = static_cast<int>(threadIdx.x);
  const int width = static_cast<int>(blockDim.x);
  double total = 0, tops = 0, dropped = s.weights.tops[3];
  for (int k = me; k < K; k += width) total += s.lattice.alpha[s.row(variant, b, n - 1) + k] * s.weights.exp_last[k];
  total = block_sum(total);
  for (int t = me; t < n; t += width) {
    const int row = t * s.batch.B + b, tag = variant ? s.batch.tag(t, b) : -1;
    tops += tag < 0 || isinf(s.batch.scores[s.batch.at(t, b, tag)]) ? s.lattice.top[row]
                                                                    : s.batch.scores[s.batch.at(t, b, tag)];
    dropped = smaller(dropped, s.lattice.dropped[row]);
  }
  tops = block_sum(tops);
  dropped = block_fold(dropped, smaller);
  const double relative = log(total) + s.lattice.exponent[sequence] * ln2;
  const bool sound = !s.lattice.lost[sequence] && !s.lattice.lost[s.lattice.variants * s.batch.B + sequence] &&
                     total >= smallest_sum && relative >= n * log(static_cast<double>(K)) - dropped + negligible;
  return sound ? tops + relative + s.weights.tops[1] + s.weights.tops[2] + (n - 1) * s.weights.tops[0] : NAN;
}

/// Turns beta into marginals and divides alpha by the sum of alpha beta of its step, a warp per step; whether every sum
/// was large enough.
__device__ inline bool normalise(const Sums& s, int variant, int b) {
  int bad = 0;
  for (int t = warp_id(); t < s.batch.lengths[b]; t += static_cast<int>(blockDim.x) / warp_lanes) {
    const std::int64_t row = s.row(variant, b, t);
    double total = 0;
    for (int k = lane_id(); k < s.batch.K; k += warp_lanes) total += s.lattice.alpha[row + k] * s.lattice.beta[row + k];
    total = warp_sum(total);
    bad |= !(total >= smallest_sum);
    for (int k = lane_id(); k < s.batch.K; k += warp_lanes)
      s.lattice.beta[row + k] *= s.lattice.alpha[row + k] /= total;
  }
  return !__syncthreads_or(bad);
}

/// log Z and marginals. All threads of a block.
__device__ inline void finish(const Sums& s, int variant, int b) {
  const int sequence = variant * s.batch.B + b;
  if (!wanted(s, variant, b)) {
    if (threadIdx.x == 0) s.lattice.log_z[sequence] = 0, s.lattice.in_log[sequence] = 0;
    return;
  }
  double log_z = scaled_log_z(s, variant, b);
  bool sound = !isnan(log_z);
  if (sound) sound = normalise(s, variant, b);
  __syncthreads();
  if (!sound) log_z = sum_in_log_space(s, variant, b);
  if (threadIdx.x != 0) return;
  s.lattice.log_z[sequence] = log_z;
  s.lattice.in_log[sequence] = !sound;
}

}  // namespace bib::device::crf
