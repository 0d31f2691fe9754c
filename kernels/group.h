// Several ops of one kind in one launch: the blocks of a grid are dealt out to them in their order.
#pragma once
#include <span>
#include <vector>

#include "kernels/device.h"
#include "kernels/launch.h"

namespace bib::device {

/// The arguments of a launch. Job is a plain struct that says with `unsigned blocks` how many it needs.
template <class Job>
struct Group {
  static constexpr int most = 16;
  static_assert(most * sizeof(Job) <= 3840, "a kernel's arguments are at most 4 KiB");
  struct Mine {
    const Job& job;
    int block;  // of the job's
  };

  Job of[most];
  unsigned end[most];  // the first block behind each
  int count;

  __device__ Mine mine() const {
    int k = 0;
    while (blockIdx.x >= end[k]) ++k;
    return {of[k], static_cast<int>(blockIdx.x - (k ? end[k - 1] : 0u))};
  }
};

/// Enqueues a launch for every `most` of the jobs: of `grid` as it is, or with `dealt` of the blocks that they need.
template <class Job>
void launch_groups(Context& ctx, std::string_view name, void (*kernel)(Group<Job>), std::span<const Job> jobs,
                   Grid grid, bool dealt) {
  while (!jobs.empty()) {
    Group<Job> group{};
    group.count = static_cast<int>(std::min<std::size_t>(jobs.size(), Group<Job>::most));
    unsigned blocks = 0;
    for (int k = 0; k < group.count; ++k) {
      group.of[k] = jobs[static_cast<std::size_t>(k)];
      group.end[k] = blocks += group.of[k].blocks;
    }
    if (dealt) grid.blocks = dim3(blocks);
    launch(ctx, name, kernel, grid, group);
    jobs = jobs.subspan(static_cast<std::size_t>(group.count));
  }
}

/// Every block is dealt one of the jobs, by mine().
template <class Job>
void launch_all(Context& ctx, std::string_view name, void (*kernel)(Group<Job>), std::span<const Job> jobs,
                const Grid& grid = {}) {
  launch_groups(ctx, name, kernel, jobs, grid, true);
}

/// Every block goes through all jobs in their order, as they have outputs in common.
template <class Job>
void launch_through(Context& ctx, std::string_view name, void (*kernel)(Group<Job>), std::span<const Job> jobs,
                    const Grid& grid = {}) {
  launch_groups(ctx, name, kernel, jobs, grid, false);
}

/// The same of a job for each op: `job_of(op)` makes it.
template <class Op, class Job, class F>
void launch_all(Context& ctx, void (*kernel)(Group<Job>), std::span<const Op> ops, F&& job_of) {
  std::vector<Job> jobs;
  for (const Op& op : ops) jobs.push_back(job_of(op));
  launch_all(ctx, Op::name, kernel, std::span<const Job>(jobs));
}

/// A block of 256 threads as rows of 2^bits threads.
struct RowThreads {
  static constexpr unsigned all = 256;
  int bits;
  __device__ int along() const { return static_cast<int>(threadIdx.x & ((1u << bits) - 1)); }
  __device__ int row() const { return static_cast<int>(threadIdx.x >> bits); }
  __host__ __device__ int width() const { return 1 << bits; }
  __host__ __device__ int rows() const { return static_cast<int>(all >> bits); }
  unsigned blocks_for(std::int64_t n) const { return static_cast<unsigned>((n + rows() - 1) / rows()); }
};

/// At least 8 and at most 2^most_bits threads, to go along a row of `width` items.
inline RowThreads row_threads(int width, int most_bits = 7) {
  RowThreads t{3};
  while (t.bits < most_bits && t.width() < width) ++t.bits;
  return t;
}

}  // namespace bib::device
