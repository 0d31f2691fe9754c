// Kernels that do the same to every element of some arrays.
#pragma once
#include "kernels/group.h"

namespace bib::device {

/// f(i) for i in 0..n-1; consecutive threads take consecutive i.
template <class F>
__global__ void for_each_kernel(F f, std::int64_t n) {
  for (std::int64_t i = global_thread(); i < n; i += grid_threads()) f(i);
}

/// `f` is a plain struct with a __device__ operator()(std::int64_t) const.
template <class F>
void for_each(Context& ctx, std::string_view name, std::int64_t n, const F& f) {
  launch(ctx, name, for_each_kernel<F>, grid_for(ctx.cuda(), n), f, n);
}

/// The rows of a table that one op touches: f(u, e) for elements e of row u, after f.open(u) by one thread of the row,
/// whose result every thread of the row is given.
template <class F>
struct RowsJob {
  F f;
  int rows, columns;
  RowThreads threads;
  unsigned blocks;
};

template <class F>
__global__ void for_each_row_kernel(Group<RowsJob<F>> group) {
  SHARED(typename F::Row, opened, [32]);
  const auto [job, block] = group.mine();
  const int row = job.threads.row(), u = block * job.threads.rows() + row;
  if (u < job.rows && job.threads.along() == 0) opened[row] = job.f.open(u);
  __syncthreads();
  if (u >= job.rows) return;
  for (int e = job.threads.along(); e < job.columns; e += job.threads.width()) job.f(opened[row], u, e);
}

/// `work_of(op)` is what to do to the rows of each op, which has `rows` and a table `value`.
template <class Work, class Op>
void for_each_row(Context& ctx, std::span<const Op> ops, Work (*work_of)(const Op&)) {
  std::vector<RowsJob<Work>> jobs;
  for (const Op& op : ops) {
    const int rows = op.rows.dim(0), columns = op.value.dim(1);
    const RowThreads threads = row_threads(columns);
    jobs.push_back({work_of(op), rows, columns, threads, threads.blocks_for(rows)});
  }
  launch_all(ctx, Op::name, for_each_row_kernel<Work>, std::span<const RowsJob<Work>>(jobs));
}

}  // namespace bib::device
