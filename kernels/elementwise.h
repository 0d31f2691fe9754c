// Kernels that do the same to every element of some arrays.
#pragma once
#include <bit>

#include "kernels/group.h"

namespace bib::device {

/// N = 1 or 4 floats that lie side by side; an address of four must be a multiple of 16.
template <int N>
struct Floats {
  float v[N];
  __device__ float& operator[](int i) { return v[i]; }
  __device__ float operator[](int i) const { return v[i]; }
};
template <int N>
__device__ __forceinline__ Floats<N> load(const float* p) {
  if constexpr (N == 1) {
    return {p[0]};
  } else {
    const float4 four = load4(p);
    return {four.x, four.y, four.z, four.w};
  }
}
template <int N>
__device__ __forceinline__ void store(float* p, const Floats<N>& x) {
  if constexpr (N == 1) {
    p[0] = x[0];
  } else {
    store4(p, make_float4(x[0], x[1], x[2], x[3]));
  }
}

/// Whether four floats may be loaded from, and stored to, each of these.
template <class... T>
bool all_aligned(const T*... p) {
  return (aligned(p) && ...);
}

/// i / by for i >= 0, by a multiplication where i is below 2^31: a division takes a GPU some 20 instructions, of 64
/// bits some 80 (Granlund and Montgomery 1994).
struct Divisor {
  int by;
  unsigned bits, factor;
  explicit Divisor(int n) : by(std::max(n, 1)) {
    const auto d = static_cast<std::uint64_t>(by);
    bits = static_cast<unsigned>(std::bit_width(d - 1));
    factor = static_cast<unsigned>((((std::uint64_t{1} << bits) - d) << 32) / d + 1);
  }
  __device__ int over(int i) const {
    const auto n = static_cast<unsigned>(i);
    return static_cast<int>((static_cast<unsigned>(std::uint64_t{n} * factor >> 32) + n) >> bits);
  }
  __device__ std::int64_t over(std::int64_t i) const {
    return i >> 31 == 0 ? std::int64_t{over(static_cast<int>(i))} : i / by;
  }
};

/// x^n for n >= 0, within n roundings of a double: a tenth of the time of pow().
__device__ inline double power(double x, int n) {
  double y = 1;
  for (; n > 0; n /= 2, x *= x)
    if (n % 2 != 0) y *= x;
  return y;
}

/// f(i) for i in 0..n-1; consecutive threads take consecutive i.
template <class F>
__global__ void for_each_kernel(F f, std::int64_t n) {
  after_previous();
  for (std::int64_t i = global_thread(); i < n; i += grid_threads()) f(i);
}

/// `f` is a plain struct with a __device__ operator()(std::int64_t) const.
template <class F>
void for_each(Context& ctx, std::string_view name, std::int64_t n, const F& f) {
  launch(ctx, name, for_each_kernel<F>, grid_for(ctx.cuda(), n), f, n);
}

/// f for n elements, one of several kinds of work in a launch.
template <class F>
struct Sized {
  std::int64_t n;
  F f;
};
template <class F, class... Rest>
struct InTurn {  // the kinds of work one after another, counted through
  Sized<F> first;
  InTurn<Rest...> rest;
  static constexpr std::int64_t whole = 256;  // a block does one kind
  __host__ __device__ std::int64_t room() const { return (first.n + whole - 1) / whole * whole; }
  std::int64_t size() const { return room() + rest.size(); }
  __device__ void operator()(std::int64_t i) const {
    if (i >= room()) return rest(i - room());
    if (i < first.n) first.f(i);
  }
};
template <class F>
struct InTurn<F> {
  Sized<F> first;
  std::int64_t size() const { return first.n; }
  __device__ void operator()(std::int64_t i) const { first.f(i); }
};
template <class F>
InTurn<F> in_turn(const Sized<F>& only) {
  return {only};
}
template <class F, class... Rest>
InTurn<F, Rest...> in_turn(const Sized<F>& first, const Sized<Rest>&... rest) {
  return {first, in_turn(rest...)};
}
/// One launch for all; none may read what another writes.
template <class... F>
void for_each_of(Context& ctx, std::string_view name, const Sized<F>&... jobs) {
  const auto all = in_turn(jobs...);
  for_each(ctx, name, all.size(), all);
}

/// The rows of a table that one op touches: f.take<N>(row, u, e) for elements e.. e + N - 1 of row u, N being 4 where
/// `wide` and else 1, after f.open(u) by one thread of the row, whose result every thread of the row is given.
template <class F>
struct RowsJob {
  F f;
  int rows, columns;
  bool wide;
  RowThreads threads;
  unsigned blocks;
};

template <class F>
__global__ void for_each_row_kernel(Group<RowsJob<F>> group) {
  after_previous();
  SHARED(typename F::Row, opened, [32]);
  const auto [job, block] = group.mine();
  const int row = job.threads.row(), u = block * job.threads.rows() + row;
  if (u < job.rows && job.threads.along() == 0) opened[row] = job.f.open(u);
  __syncthreads();
  if (u >= job.rows) return;
  const int step = job.wide ? 4 : 1;
  for (int e = job.threads.along() * step; e < job.columns; e += job.threads.width() * step) {
    if (job.wide) {
      job.f.template take<4>(opened[row], u, e);
    } else {
      job.f.template take<1>(opened[row], u, e);
    }
  }
}

/// `work_of(op)` is what to do to the rows of each op, which has `rows` and a table `value`; work.wide() whether all
/// that it reads and writes is aligned.
template <class Work, class Op>
void for_each_row(Context& ctx, std::span<const Op> ops, Work (*work_of)(const Op&)) {
  std::vector<RowsJob<Work>> jobs;
  for (const Op& op : ops) {
    const int rows = op.rows.dim(0), columns = op.value.dim(1);
    const Work work = work_of(op);
    const bool wide = columns % 4 == 0 && work.wide();
    const RowThreads threads = row_threads(wide ? columns / 4 : columns);
    jobs.push_back({work, rows, columns, wide, threads, threads.blocks_for(rows)});
  }
  launch_all(ctx, Op::name, for_each_row_kernel<Work>, std::span<const RowsJob<Work>>(jobs));
}

}  // namespace bib::device
