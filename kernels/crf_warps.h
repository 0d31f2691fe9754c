// Up to 32 tags: what a block of four warps does for a sequence, a lane per tag, as crf_chains.h explains it.
//
// Emissions and sums of steps: a warp takes eight steps at once, so that their loads wait together. A chain is a
// warp's: each lane has its column of the matrix in registers, a row passes through shared memory, two buffers in
// turns, one __syncwarp() a step. The scale comes from the maximum of the row before, and is multiplied to the emission
// before the sum is there. A sum has four parts, tag i in part i % 4, added as (0 + 1) + (2 + 3).
#pragma once
#include "kernels/crf_chains.h"

namespace bib::device::crf {

constexpr int most_lanes = warp_lanes;      // tags up to which a warp takes a chain
constexpr unsigned sequence_threads = 128;  // a warp for alpha and for beta of either variant
constexpr int sequence_warps = static_cast<int>(sequence_threads) / warp_lanes;
constexpr int at_once = 8;  // steps whose loads a warp has under way together

/// Where rows of the transitions begin in shared memory: an odd distance, so that lanes can read a row or a column
/// each.
template <int kTags>
constexpr int matrix_stride = kTags + 1;

/// What is taken out of a warp's scores.
__device__ __forceinline__ float warp_top(float x) { return finite_or_0(from_ordered(warp_max(ordered(x)))); }

/// What was taken out of the transition scores, and by warp the smallest distance dropped.
struct Tops {
  float transition, first, last;
  float dropped[sequence_warps];
};

/// All threads of the block; they have to meet before they read the results. w and tops are shared memory.
template <int kTags>
__device__ void exponentials_in_block(const Batch& a, const Weights& w, Tops& tops) {
  SHARED(int, of_warp, [sequence_warps]);
  constexpr int rows = kTags / sequence_warps;
  const int me = lane_id(), warp = warp_id();
  const bool mine = me < a.K;
  float x[rows];
#pragma unroll
  for (int q = 0; q < rows; ++q) {
    const int i = warp + q * sequence_warps;
    x[q] = i < a.K && mine ? a.transition[i * a.K + me] : -INFINITY;
  }
  const float first = mine ? a.first[me] : -INFINITY, last = mine ? a.last[me] : -INFINITY;
  int key = ordered(x[0]);
#pragma unroll
  for (int q = 1; q < rows; ++q) key = max(key, ordered(x[q]));
  key = warp_max(key);
  if (me == 0) of_warp[warp] = key;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < sequence_warps; ++i) key = max(key, of_warp[i]);
  const float top = finite_or_0(from_ordered(key)), top_of_first = warp_top(first), top_of_last = warp_top(last);
  float dropped = INFINITY;
#pragma unroll
  for (int q = 0; q < rows; ++q) {
    const int i = warp + q * sequence_warps;
    const double e = exponential(x[q], top, dropped);
    if (i < a.K && mine) w.forward[i * w.stride + me] = e;
  }
  const double of_first = exponential(first, top_of_first, dropped), of_last = exponential(last, top_of_last, dropped);
  if (warp == 0 && mine) w.exp_first[me] = of_first, w.exp_last[me] = of_last;
  dropped = warp_fold(dropped, smaller_float);
  if (me == 0) tops.dropped[warp] = dropped;
  if (threadIdx.x == 0) tops.transition = top, tops.first = top_of_first, tops.last = top_of_last;
}

/// What a warp has found in its steps: tops taken out, by variant; the smallest distance dropped; steps with a tag.
struct Found {
  double tops[2];
  float dropped;
  int annotated;
};

/// One warp: exponentials of the emissions of its steps of sequence b, of both variants where there are tags.
__device__ inline Found exponentials_in_warp(const Sums& s, int b) {
  const Batch& a = s.batch;
  const int n = a.lengths[b], me = lane_id();
  Found found{.tops = {}, .dropped = INFINITY, .annotated = 0};
  const bool mine = me < a.K;
  for (int t = at_once * warp_id(); t < n; t += at_once * sequence_warps) {
    const float* from = a.scores + a.at(t, b, me);
    double* const to = s.lattice.emission + s.row(0, b, t) + me;
    float x[at_once];
#pragma unroll
    for (int q = 0; q < at_once; ++q) {
      x[q] = t + q < n && mine ? *from : -INFINITY;
      from += static_cast<std::int64_t>(a.B) * a.K;
    }
    const int tags = a.tags && me < at_once && t + me < n ? a.tag(t + me, b) : -1;  // lane q's is that of t + q
    float top[at_once];
    double e[at_once];
#pragma unroll
    for (int q = 0; q < at_once; ++q) {
      top[q] = warp_top(x[q]);
      e[q] = exponential(x[q], top[q], found.dropped);
      found.tops[0] += top[q];
    }
#pragma unroll
    for (int q = 0; q < at_once; ++q)
      if (t + q < n && mine) to[q * a.K] = e[q];
    if (!a.tags) continue;
    int tag[at_once];
#pragma unroll
    for (int q = 0; q < at_once; ++q) tag[q] = __shfl_sync(all_lanes, tags, q);
#pragma unroll
    for (int q = 0; q < at_once; ++q) {
      const float gold = __shfl_sync(all_lanes, x[q], tag[q] & (warp_lanes - 1));
      const bool open = tag[q] < 0, known = !isinf(gold);
      found.tops[1] += open | !known ? top[q] : gold;
      found.annotated += !open;
      const double of_tag = (me == tag[q]) & known ? 1.0 : 0.0;
      e[q] = open ? e[q] : of_tag;
    }
    double* const partial = to + s.row(1, 0, 0);
#pragma unroll
    for (int q = 0; q < at_once; ++q)
      if (t + q < n && mine) partial[q * a.K] = e[q];
  }
  found.dropped = warp_fold(found.dropped, smaller_float);
  return found;
}

/// What the chains of a variant end with.
struct Outcome {
  double log_z;  // NaN where the scaled chains lost too much
  int lost;      // of beta
};

/// log Z of a chain of alpha that ends with `next`, or NaN. One warp.
__device__ inline double scaled_log_z(const Sums& s, const Tops& tops, const Found* found, int variant, int n,
                                      double next, int exponent, bool lost) {
  const int me = lane_id();
  const double total = warp_sum(me < s.batch.K ? next * s.weights.exp_last[me] : 0.0);
  double taken = 0;
  float dropped = INFINITY;
  for (int w = 0; w < sequence_warps; ++w) {
    taken += found[w].tops[variant];
    dropped = fminf(dropped, fminf(found[w].dropped, tops.dropped[w]));
  }
  const double relative = log(total) + exponent * ln2;
  const bool sound =
      !lost && total >= smallest_sum && relative >= n * log(static_cast<double>(s.batch.K)) - dropped + negligible;
  return sound ? taken + relative + tops.first + tops.last + (n - 1) * static_cast<double>(tops.transition) : NAN;
}

/// Chain of one direction of a variant of sequence b, taken by a warp. `rows` is shared memory: [2][kTags].
template <int kTags>
__device__ void chain_in_warp(const Sums& s, const Tops& tops, const Found* found, int variant, int b, bool back,
                              double* rows, Outcome& outcome) {
  constexpr int early = 3;  // steps by which emissions are read early
  const int K = s.batch.K, n = s.batch.lengths[b], me = lane_id();
  const bool mine = me < K;
  const std::int64_t start = s.row(variant, b, back ? n - 1 : 0) + me;
  const int step = back ? -K : K;
  double column[kTags];
#pragma unroll
  for (int i = 0; i < kTags; ++i)
    column[i] = i < K && mine ? s.weights.forward[back ? me * s.weights.stride + i : i * s.weights.stride + me] : 0.0;
  const double* emission = s.lattice.emission + start;
  double ahead[early];
#pragma unroll
  for (int i = 0; i < early; ++i) ahead[i] = mine && i + 1 < n ? emission[(i + 1) * step] : 0.0;
  double* chained = (back ? s.lattice.ahead : s.lattice.alpha) + start;
  double* beta = s.lattice.beta + start;
  const double end = mine ? (back ? s.weights.exp_last : s.weights.exp_first)[me] : 0.0;
  double next = mine ? end * *emission : 0.0;
  emission += (early + 1) * step;
  unsigned least = ~0u;  // upper word less 1 of the least value but 0
  int exponent = 0;
  unsigned at = 0;  // of the two rows
  const auto put = [&](double sum) {
    least = min(least, static_cast<unsigned>(__double2hiint(next)) - 1);
    if (me < kTags) rows[at + me] = next;
    if (mine) *chained = next;
    if (mine && back) *beta = sum;
  };
  put(end);
  const auto step_once = [&](int u, double& of_step) {
    __syncwarp();
    const int scale = exponent_of(warp_max(__double2hiint(next)));
    const double own = of_step * power_of_two(-scale);  // exact
    exponent += scale;
    of_step = u + early < n && mine ? *emission : 0.0;
    emission += step;
    double part[4] = {};
#pragma unroll
    for (int i = 0; i < kTags; i += 4) {
      const double2 v = load2(rows + at + i), w = load2(rows + at + i + 2);
      part[0] += v.x * column[i];
      part[1] += v.y * column[i + 1];
      part[2] += w.x * column[i + 2];
      part[3] += w.y * column[i + 3];
    }
    const double sum = (part[0] + part[1]) + (part[2] + part[3]);
    next = sum * own;
    chained += step;
    beta += step;
    at ^= kTags;
    put(sum);
  };
  for (int first = 1; first < n; first += early) {
#pragma unroll
    for (int q = 0; q < early; ++q) {  // ahead[q] always in its own registers: a move would wait for the load
      if (first + q >= n) break;
      step_once(first + q, ahead[q]);
    }
  }
  const bool lost = __any_sync(all_lanes, least < static_cast<unsigned>(__double2hiint(smallest)));
  const double log_z = back ? 0.0 : scaled_log_z(s, tops, found, variant, n, next, exponent, lost);
  if (me != 0) return;
  if (back) {
    outcome.lost = lost;
  } else {
    outcome.log_z = log_z;
  }
}

/// Turns beta into marginals and divides alpha by the sum of alpha beta of its step; whether every sum was large
/// enough. Lanes that meet for the sums share the steps out: lanes 4q to 4q + 3 end with that of step q, so that a warp
/// divides once. All threads of the block.
__device__ inline bool normalise_in_warps(const Sums& s, int variant, int b) {
  static_assert(at_once == 8);
  const int n = s.batch.lengths[b], K = s.batch.K, me = lane_id();
  int bad = 0;
  for (int t = at_once * warp_id(); t < n; t += at_once * sequence_warps) {
    const std::int64_t at = s.row(variant, b, t) + me;
    double alpha[at_once], both[at_once], part[at_once];
#pragma unroll
    for (int q = 0; q < at_once; ++q) {
      const bool here = t + q < n && me < K;
      alpha[q] = here ? s.lattice.alpha[at + q * K] : 0.0;
      both[q] = here ? s.lattice.beta[at + q * K] : 0.0;
    }
#pragma unroll
    for (int q = 0; q < at_once; ++q) part[q] = both[q] *= alpha[q];
#pragma unroll
    for (int half = at_once / 2; half > 0; half /= 2) {
      const bool upper = me & half * 4;
#pragma unroll
      for (int q = 0; q < half; ++q) {
        const double given = upper ? part[q] : part[q + half], kept = upper ? part[q + half] : part[q];
        part[q] = kept + __shfl_xor_sync(all_lanes, given, half * 4);
      }
    }
    double total = part[0] + __shfl_xor_sync(all_lanes, part[0], 2);
    total += __shfl_xor_sync(all_lanes, total, 1);
    bad |= t + me / 4 < n && !(total >= smallest_sum);
    const double inverse = 1 / total;
#pragma unroll
    for (int q = 0; q < at_once; ++q) {
      const double of_step = __shfl_sync(all_lanes, inverse, 4 * q);
      if (t + q >= n || me >= K) continue;
      s.lattice.alpha[at + q * K] = alpha[q] * of_step;
      s.lattice.beta[at + q * K] = both[q] * of_step;
    }
  }
  return !__syncthreads_or(bad);
}

}  // namespace bib::device::crf
