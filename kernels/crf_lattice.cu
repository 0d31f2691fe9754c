// Four launches, whatever the number of steps: exponentials of the transitions, of the emissions, the two chains of
// every sequence at the same time, and the finish of every sequence.
// Chains: one block per (sequence, variant, direction), a thread per tag (up to 32 tags: one warp, each lane with its
// column of the matrix in registers). A row passes through shared memory, two buffers in turns, one barrier a step. Its
// scale, a power of two, comes from the maximum of the row before, which every thread sees while it sums; so there is
// no reduction on the way.
#include "kernels/crf_lattice.h"
#include "kernels/reduce.h"

namespace bib::device::crf {
namespace {

constexpr double widest = 100, smallest = 1e-200, smallest_sum = 1e-250, negligible = 40;  // as on the CPU
constexpr int small = 32;

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

__device__ double larger(double a, double b) { return a > b ? a : b; }
__device__ double smaller(double a, double b) { return a < b ? a : b; }

/// Largest of n scores, 0 where all are -infinity.
__device__ double block_top(const float* x, std::int64_t n) {
  double top = -INFINITY;
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) top = larger(top, x[i]);
  top = block_fold(top, larger);
  return isinf(top) ? 0.0 : top;
}

/// exp(x - top), 0 beyond `widest`; takes note of the smallest distance that is dropped.
__device__ double exponential(float x, double top, double& dropped) {
  const double y = x - top;
  if (y >= -widest) return exp(y);
  dropped = smaller(dropped, -y);
  return 0;
}

/// One block.
__global__ void exponentials_of_weights(Batch a, Weights w) {
  const std::int64_t size = static_cast<std::int64_t>(a.K) * a.K;
  const double top = block_top(a.transition, size), first = block_top(a.first, a.K), last = block_top(a.last, a.K);
  double dropped = INFINITY;
  for (std::int64_t i = threadIdx.x; i < size; i += blockDim.x) {
    const double e = exponential(a.transition[i], top, dropped);
    w.forward[i] = e;
    w.backward[i % a.K * a.K + i / a.K] = e;
  }
  for (int k = static_cast<int>(threadIdx.x); k < a.K; k += static_cast<int>(blockDim.x)) {
    w.exp_first[k] = exponential(a.first[k], first, dropped);
    w.exp_last[k] = exponential(a.last[k], last, dropped);
  }
  dropped = block_fold(dropped, smaller);
  if (threadIdx.x != 0) return;
  w.tops[0] = top;
  w.tops[1] = first;
  w.tops[2] = last;
  w.tops[3] = dropped;
}

/// One warp per step of a sequence.
__global__ void exponentials_of_emissions(Batch a, Lattice l) {
  const int row = static_cast<int>(blockIdx.x * (blockDim.x / warp_lanes)) + warp_id();
  if (row >= a.T * a.B || row / a.B >= a.lengths[row % a.B]) return;
  const float* x = a.scores + static_cast<std::int64_t>(row) * a.K;
  double top = -INFINITY, dropped = INFINITY;
  for (int k = lane_id(); k < a.K; k += warp_lanes) top = larger(top, x[k]);
  top = warp_fold(top, larger);
  if (isinf(top)) top = 0;
  for (int k = lane_id(); k < a.K; k += warp_lanes)
    l.emission[static_cast<std::int64_t>(row) * a.K + k] = exponential(x[k], top, dropped);
  dropped = warp_fold(dropped, smaller);
  if (lane_id() != 0) return;
  l.top[row] = top;
  l.dropped[row] = dropped;
}

__device__ bool wanted(const Sums& s, int variant, int b) {
  if (s.batch.lengths[b] == 0) return false;
  if (variant == 0) return true;
  const int n = annotated(s.batch, b);
  return n > 0 && n < s.batch.lengths[b];
}

__device__ double emission(const Sums& s, int variant, int t, int b, int k) {
  const int tag = variant ? s.batch.tag(t, b) : -1;
  if (tag < 0) return s.lattice.emission[s.batch.at(t, b, k)];
  return k == tag && !isinf(s.batch.scores[s.batch.at(t, b, k)]) ? 1.0 : 0.0;
}

/// Chain of direction blockIdx.y (0 alpha, 1 beta) of variant blockIdx.z.
template <bool in_warp>
__global__ void chains(Sums s) {
  DYN_SHARED(double, rows);  // [2][K]
  const int b = static_cast<int>(blockIdx.x), K = s.batch.K, n = s.batch.lengths[b], me = static_cast<int>(threadIdx.x);
  const int variant = static_cast<int>(blockIdx.z), width = static_cast<int>(blockDim.x);
  const bool back = blockIdx.y == 1;
  if (!wanted(s, variant, b)) return;
  const double* matrix = back ? s.weights.backward : s.weights.forward;
  const double* ends = back ? s.weights.exp_last : s.weights.exp_first;
  double column[in_warp ? small : 1];
  if constexpr (in_warp) {
#pragma unroll
    for (int i = 0; i < small; ++i) column[i] = i < K && me < K ? matrix[i * K + me] : 0.0;
  }
  int exponent = 0, lost = 0;
  for (int u = 0; u < n; ++u) {
    const int t = back ? n - 1 - u : u;
    const double* before = rows + (u + 1) % 2 * K;
    double* now = rows + u % 2 * K;
    int scale = 0;
    for (int j = me; j < K; j += width) {
      double sum = u == 0 ? ends[j] : 0.0, top = u == 0 ? 1.0 : 0.0;
      if (u > 0) {
        const auto add = [&](int i, double m) {
          const double v = before[i];
          top = larger(top, v);
          sum += v * m;
        };
        if constexpr (in_warp) {
#pragma unroll
          for (int i = 0; i < small; ++i)
            if (i < K) add(i, column[i]);
        } else {
          for (int i = 0; i < K; ++i) add(i, matrix[static_cast<std::int64_t>(i) * K + j]);
        }
      }
      scale = top > 0 ? ilogb(top) : 0;
      const double next = scalbn(sum * emission(s, variant, t, b, j), -scale);
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
__device__ double scaled_log_z(const Sums& s, int variant, int b) {
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
  constexpr double ln2 = 0.69314718055994531;
  const double relative = log(total) + s.lattice.exponent[sequence] * ln2;
  const bool sound = !s.lattice.lost[sequence] && !s.lattice.lost[s.lattice.variants * s.batch.B + sequence] &&
                     total >= smallest_sum && relative >= n * log(static_cast<double>(K)) - dropped + negligible;
  return sound ? tops + relative + s.weights.tops[1] + s.weights.tops[2] + (n - 1) * s.weights.tops[0] : NAN;
}

/// Divides alpha by the sum of alpha beta of its step, a warp per step; whether every sum was large enough.
__device__ bool normalise(const Sums& s, int variant, int b) {
  int bad = 0;
  for (int t = warp_id(); t < s.batch.lengths[b]; t += static_cast<int>(blockDim.x) / warp_lanes) {
    const std::int64_t row = s.row(variant, b, t);
    double total = 0;
    for (int k = lane_id(); k < s.batch.K; k += warp_lanes) total += s.lattice.alpha[row + k] * s.lattice.beta[row + k];
    total = warp_sum(total);
    bad |= !(total >= smallest_sum);
    for (int k = lane_id(); k < s.batch.K; k += warp_lanes) s.lattice.alpha[row + k] /= total;
  }
  return !__syncthreads_or(bad);
}

/// log of the sum of exp(term(i)), i < K
template <class F>
__device__ double log_sum(int K, const F& term) {
  double top = -INFINITY, sum = 0;
  for (int i = 0; i < K; ++i) top = larger(top, term(i));
  if (isinf(top)) return top;
  for (int i = 0; i < K; ++i) sum += exp(term(i) - top);
  return top + log(sum);
}

/// The same lattice in log space: slower, right for any finite score. All threads; log Z.
__device__ double sum_in_log_space(const Sums& s, int variant, int b) {
  const int n = s.batch.lengths[b], K = s.batch.K, me = static_cast<int>(threadIdx.x),
            width = static_cast<int>(blockDim.x);
  const auto row = [&](double* of, int t) { return of + s.row(variant, b, t); };
  const auto score = [&](int t, int k) -> double {
    const int tag = variant ? s.batch.tag(t, b) : -1;
    return tag < 0 || tag == k ? s.batch.scores[s.batch.at(t, b, k)] : -INFINITY;
  };
  const auto transition = [&](int i, int j) -> double {
    return s.batch.transition[static_cast<std::int64_t>(i) * K + j];
  };
  for (int t = 0; t < n; ++t) {
    for (int j = me; j < K; j += width) {
      const double* before = row(s.lattice.alpha, t > 0 ? t - 1 : 0);
      row(s.lattice.alpha, t)[j] =
          score(t, j) + (t == 0 ? s.batch.first[j] : log_sum(K, [&](int i) { return before[i] + transition(i, j); }));
    }
    __syncthreads();
  }
  for (int t = n; t-- > 0;) {
    for (int i = me; i < K; i += width) {
      const double* next = row(s.lattice.ahead, t + 1 < n ? t + 1 : t);
      const double beta = t + 1 == n ? s.batch.last[i] : log_sum(K, [&](int j) { return transition(i, j) + next[j]; });
      row(s.lattice.beta, t)[i] = beta;
      row(s.lattice.ahead, t)[i] = beta + score(t, i);
    }
    __syncthreads();
  }
  return log_sum(K, [&](int k) { return row(s.lattice.alpha, n - 1)[k] + s.batch.last[k]; });
}

/// One block per sequence and variant.
__global__ void finish(Sums s) {
  const int b = static_cast<int>(blockIdx.x), variant = static_cast<int>(blockIdx.y),
            sequence = variant * s.batch.B + b;
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

Lattice make_lattice(Arena& arena, const Batch& a, int variants) {
  const std::array shape{variants, a.B, a.T, a.K};
  return {.alpha = arena.make<double, 4>(shape).data,
          .beta = arena.make<double, 4>(shape).data,
          .ahead = arena.make<double, 4>(shape).data,
          .emission = arena.make<double, 3>({a.T, a.B, a.K}).data,
          .top = arena.make<double, 2>({a.T, a.B}).data,
          .dropped = arena.make<double, 2>({a.T, a.B}).data,
          .log_z = arena.make<double, 2>({variants, a.B}).data,
          .exponent = arena.make<int, 2>({variants, a.B}).data,
          .lost = arena.make<int, 3>({2, variants, a.B}).data,
          .in_log = arena.make<int, 2>({variants, a.B}).data,
          .variants = variants};
}

}  // namespace

Sums sum_paths(Context& ctx, const Batch& a, bool partial) {
  constexpr unsigned warps = 4;
  Arena& arena = ctx.arena();
  const auto B = static_cast<unsigned>(a.B), variants = partial ? 2u : 1u;
  const Sums s{.batch = a,
               .weights = {.forward = arena.make<double, 2>({a.K, a.K}).data,
                           .backward = arena.make<double, 2>({a.K, a.K}).data,
                           .exp_first = arena.make<double, 1>({a.K}).data,
                           .exp_last = arena.make<double, 1>({a.K}).data,
                           .tops = arena.make<double, 1>({4}).data},
               .lattice = make_lattice(arena, a, static_cast<int>(variants))};
  const auto rows = static_cast<unsigned>(a.T) * B;
  launch(ctx, "crf weights", exponentials_of_weights, {.threads = a.K <= 16 ? 256 : 1024}, a, s.weights);
  launch(ctx, "crf emissions", exponentials_of_emissions,
         {.blocks = dim3((rows + warps - 1) / warps), .threads = warps * warp_lanes}, a, s.lattice);
  const Grid grid{.blocks = dim3(B, 2, variants),
                  .threads = dim3(threads_for(a.K)),
                  .shared = 2 * sizeof(double) * static_cast<std::size_t>(a.K)};
  launch(ctx, "crf chains", a.K <= small ? chains<true> : chains<false>, grid, s);
  launch(ctx, "crf lattice", finish, {.blocks = dim3(B, variants), .threads = 128}, s);
  return s;
}

}  // namespace bib::device::crf
