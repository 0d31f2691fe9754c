// Gradient norm: sums of fixed chunks, or of a block's rows, added up in double in their order.
#include "bib/ops/norm.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"
#include "kernels/row_gradient.h"

namespace bib {
namespace device {
namespace {

constexpr int chunk = 4096, threads = 256;

struct Squares {
  const float* x;  // null: of the rows
  std::int64_t n;
  RowGradient gradient;
  int rows;
  bool wide;  // a thread takes four elements at a time
  RowThreads row_threads;
  float* partial;  // one per block
  unsigned blocks;
};

__device__ float squares_of_chunk(const Squares& a, int block) {
  const std::int64_t begin = static_cast<std::int64_t>(block) * chunk, end = min(a.n, begin + chunk);
  float sum = 0;
  if (a.wide && end - begin == chunk) {
    Floats<4> x[chunk / threads / 4];  // all read before one is used
    for (int i = 0; i < chunk / threads / 4; ++i)
      x[i] = load<4>(a.x + begin + (i * threads + static_cast<int>(threadIdx.x)) * 4);
    for (const Floats<4>& four : x)
      for (int j = 0; j < 4; ++j) sum += four[j] * four[j];
    return sum;
  }
  for (std::int64_t i = begin + threadIdx.x; i < end; i += threads) sum += a.x[i] * a.x[i];
  return sum;
}

template <int N>
__device__ float squares_of_row(const Squares& a, int block) {
  const int u = block * a.row_threads.rows() + a.row_threads.row();
  if (u >= a.rows) return 0;
  const RowGradient::Range range = a.gradient.range(u);
  float sum = 0;
  for (int e = a.row_threads.along() * N; e < a.gradient.E; e += a.row_threads.width() * N) {
    const Floats<N> g = a.gradient.at<N>(u, range, e);
    for (int j = 0; j < N; ++j) sum += g[j] * g[j];
  }
  return sum;
}

__global__ void squares(Group<Squares> group) {
  after_previous();
  const auto [a, block] = group.mine();
  const float mine = a.x      ? squares_of_chunk(a, block)
                     : a.wide ? squares_of_row<4>(a, block)
                              : squares_of_row<1>(a, block);
  const float sum = block_sum(mine);
  if (threadIdx.x == 0) a.partial[block] = sum;
}

struct Addition {
  const float* partial;
  int count;
  float* to;
  unsigned blocks;
};

/// A warp for each op, as all of them are waited for; what they give is added in their order, mostly to one place.
__global__ void add_chunks(Group<Addition> group) {
  after_previous();
  SHARED(double, sums, [Group<Addition>::most]);
  for (int k = warp_id(); k < group.count; k += threads / warp_lanes) {
    const Addition& a = group.of[k];
    const double sum =
        warp_sum(sum_in_order<16, double>(lane_id(), a.count, warp_lanes, [&](int i) { return a.partial[i]; }));
    if (lane_id() == 0) sums[k] = sum;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  float *to = group.of[0].to, total = *to;
  for (int k = 0; k < group.count; ++k) {
    if (group.of[k].to != to) {
      *to = total;
      to = group.of[k].to, total = *to;
    }
    total = static_cast<float>(total + sums[k]);
  }
  *to = total;
}

struct ClipOf {
  const float* sum;
  float* scale;
  float limit;
  __device__ void operator()(std::int64_t) const {
    const float norm = sqrtf(sum[0]);
    scale[0] = limit > 0 && norm > limit ? limit / norm : 1.0f;
  }
};

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, std::span<const NormSquared> ops) {
  ArenaScope scratch(ctx.arena());
  std::vector<device::Squares> squares;
  std::vector<device::Addition> additions;
  for (const NormSquared& op : ops) {
    device::Squares s{.x = op.x.data, .n = op.x.size()};
    if (op.d_y) {
      s.gradient = device::row_gradient_of(op, op.E), s.rows = op.rows();
      s.wide = s.gradient.wide(), s.row_threads = device::row_threads(s.wide ? op.E / 4 : op.E);
      s.blocks = s.row_threads.blocks_for(s.rows);
    } else {
      s.wide = device::aligned(s.x);
      s.blocks = static_cast<unsigned>((s.n + device::chunk - 1) / device::chunk);
    }
    if (s.blocks == 0) continue;
    const int count = static_cast<int>(s.blocks);
    s.partial = ctx.arena().make<float, 1>({count}).data;
    squares.push_back(s);
    additions.push_back({s.partial, count, op.sum.data, 1});
  }
  device::launch_all(ctx, NormSquared::name, device::squares, std::span<const device::Squares>(squares));
  device::launch_through(ctx, NormSquared::name, device::add_chunks, std::span<const device::Addition>(additions));
}

void on_cuda(Context& ctx, const ClipScale& op) {
  device::launch(ctx, op.name, device::for_each_kernel<device::ClipOf>, {.threads = 1},
                 device::ClipOf{op.sum.data, op.scale.data, op.max_norm}, 1);
}

}  // namespace bib
