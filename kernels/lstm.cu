// One LSTM layer, persistent: one launch runs all steps of all sequences in both directions. The products with x are
// one large product before; the recurrent weights stay in shared memory where they fit (else they are read from L2). A
// cluster of up to 8 blocks works on 8 sequences; each block owns some hidden units, sums their gate rows, and writes
// its part of h into the shared memory of every block of the cluster. Per step: one block barrier, one cluster barrier,
// never one of the grid. Sequences are sorted by length, so that a tile stops with its longest.
// Every sum is cut and added in an order that depends on the plan alone.
#include "bib/ops/lstm.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/lstm_fast.h"

namespace bib {
namespace device::lstm {
namespace {

struct Pack {
  const float* w_h;
  float* to;
  Divisor blocks, units, rows, in;
  int H;
  bool backward;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t line = rows.over(i);
    const int row = static_cast<int>(i - line * rows.by), block = static_cast<int>(in.over(line)),
              k = static_cast<int>(line - std::int64_t{block} * in.by), d = blocks.over(block), gate = units.over(row),
              unit = (block - d * blocks.by) * units.by + row - gate * units.by;
    const float* const w = w_h + std::int64_t{4} * d * H * H;
    const int gate_row = backward ? k : gate * H + unit, column = backward ? unit : k;
    to[i] = unit < H ? w[static_cast<std::int64_t>(gate_row) * H + column] : 0.0f;
  }
};

__device__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }

template <bool clusters>
__global__ void __launch_bounds__(threads, 1) run_forward(Recurrence a) {
  after_previous(Next::later);
  DYN_SHARED(float, memory);
  const Place p = place_of<clusters>(a);
  const Tile tile = open_tile(a, p.tile);
  const int H = a.H, rows = 4 * a.plan.units, buffer = H * sequences;
  const auto [h, z, c, resident] = buffers_of(a, p, memory, H, rows);
  const float* w = a.w + (static_cast<std::int64_t>(p.d) * a.plan.blocks + p.rank) * H * rows;
  if (a.plan.resident) {
    for (int i = static_cast<int>(threadIdx.x); i < H * rows; i += threads) resident[i] = w[i];
    w = resident;
  }
  if (a.plan.state_on_chip || p.rank == 0)
    for (int i = static_cast<int>(threadIdx.x); i < buffer; i += threads) h[i] = 0;
  for (int i = static_cast<int>(threadIdx.x); i < a.plan.units * sequences; i += threads) c[i] = 0;
  meet<clusters>();
  for (int s = 0; s < tile.steps; ++s) {
    float* const next = h + (s + 1) % 2 * buffer;
    multiply(w, h + s % 2 * buffer, z, H, rows);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < p.units * sequences; i += threads) {
      const int u = i / sequences, n = i % sequences, unit = p.first + u, length = tile.length[n];
      float* const to = next + unit * sequences + n;
      if (s >= length) {
        tell<clusters>(to, 0, a.plan);
        continue;
      }
      const int b = tile.index[n], t = p.d ? length - 1 - s : s;
      const std::int64_t token = (static_cast<std::int64_t>(p.d) * a.T + t) * a.B + b;
      float* const gates = a.gates + token * 4 * H + unit;
      const auto sum = [&](int gate) { return gates[gate * H] + sum_of_parts(z, rows, gate * a.plan.units + u, n); };
      const float in = sigmoid(sum(0)), forget = sigmoid(sum(1)), cell = tanhf(sum(2)), out = sigmoid(sum(3));
      float& state = c[u * sequences + n];
      state = forget * state + in * cell;
      const float v = out * tanhf(state);
      if (a.c) {
        gates[0] = in, gates[H] = forget, gates[2 * H] = cell, gates[3 * H] = out;
        a.c[token * H + unit] = state;
      }
      a.h[(static_cast<std::int64_t>(t) * a.B + b) * a.D * H + p.d * H + unit] = v;
      const float kept = a.h_mask ? v * a.h_mask[(static_cast<std::int64_t>(p.d) * a.B + b) * H + unit] : v;
      tell<clusters>(to, kept, a.plan);
    }
    meet<clusters>();
  }
  next_may_start();
  clear_outputs(a, p, tile);
}

template <bool clusters>
__global__ void __launch_bounds__(threads, 1) run_backward(Recurrence a) {
  after_previous(Next::later);
  DYN_SHARED(float, memory);
  const Place p = place_of<clusters>(a);
  const Tile tile = open_tile(a, p.tile);
  const int H = a.H, rows = a.plan.units, buffer = 4 * H * sequences;
  const auto [dz, z, dc, resident] = buffers_of(a, p, memory, 4 * H, rows);  // dz: gradients of the gates' sums
  const float* w = a.w + (static_cast<std::int64_t>(p.d) * a.plan.blocks + p.rank) * 4 * H * rows;
  if (a.plan.resident) {
    for (int i = static_cast<int>(threadIdx.x); i < 4 * H * rows; i += threads) resident[i] = w[i];
    w = resident;
  }
  for (int i = static_cast<int>(threadIdx.x); i < rows * sequences; i += threads) dc[i] = 0;
  meet<clusters>();
  for (int s = tile.steps - 1; s >= 0; --s) {
    float* const next = dz + s % 2 * buffer;
    if (s + 1 < tile.steps) multiply(w, dz + (s + 1) % 2 * buffer, z, 4 * H, rows);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < p.units * sequences; i += threads) {
      const int u = i / sequences, n = i % sequences, unit = p.first + u, length = tile.length[n];
      float* const to = next + unit * sequences + n;
      const auto put = [&](int gate, float v) { tell<clusters>(to + gate * H * sequences, v, a.plan); };
      if (s >= length) {
        for (int gate = 0; gate < 4; ++gate) put(gate, 0);
        continue;
      }
      const int b = tile.index[n], t = p.d ? length - 1 - s : s, before = p.d ? t + 1 : t - 1;
      const auto token = [&](int step) { return (static_cast<std::int64_t>(p.d) * a.T + step) * a.B + b; };
      const float mask = a.h_mask ? a.h_mask[(static_cast<std::int64_t>(p.d) * a.B + b) * H + unit] : 1.0f;
      const float* const gates = a.gates + token(t) * 4 * H + unit;
      const float in = gates[0], forget = gates[H], cell = gates[2 * H], out = gates[3 * H];
      const float squashed = tanhf(a.c[token(t) * H + unit]);
      float d_h = a.d_h[(static_cast<std::int64_t>(t) * a.B + b) * a.D * H + p.d * H + unit];
      if (s + 1 < length) d_h += mask * sum_of_parts(z, rows, u, n);
      float& carried = dc[u * sequences + n];
      const float d_c = carried + d_h * out * (1 - squashed * squashed);
      carried = d_c * forget;
      const float d_in = d_c * cell * in * (1 - in), d_cell = d_c * in * (1 - cell * cell);
      const float d_forget = s > 0 ? d_c * a.c[token(before) * H + unit] * forget * (1 - forget) : 0.0f;
      const float d_out = d_h * squashed * out * (1 - out);
      float* const d_gates = a.d_gates + token(t) * 4 * H + unit;
      d_gates[0] = d_in, d_gates[H] = d_forget, d_gates[2 * H] = d_cell, d_gates[3 * H] = d_out;
      put(0, d_in), put(1, d_forget), put(2, d_cell), put(3, d_out);
    }
    meet<clusters>();
  }
  behind_the_ends(a, p, tile, [&](int t, int b, int unit) {
    for (int gate = 0; gate < 4; ++gate)
      a.d_gates[((static_cast<std::int64_t>(p.d) * a.T + t) * a.B + b) * 4 * H + gate * H + unit] = 0;
  });
}

std::size_t shared_bytes(int units, int in, int rows, bool resident) {
  const std::int64_t all = std::int64_t{units} * rows, weights = resident ? all * in : 0;
  return static_cast<std::size_t>(state_floats(in) + own_floats(units, static_cast<int>(all)) + weights) *
         sizeof(float);
}

/// What came before step t of direction d, as the recurrent product saw it; 0 at a sequence's first step and past it.
struct Previous {
  const float *h, *h_mask;
  const int* lengths;
  float* to;  // [T,B,H]
  Divisor B, H;
  int D, d;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t row = H.over(i);
    const int k = static_cast<int>(i - row * H.by), t = static_cast<int>(B.over(row)),
              b = static_cast<int>(row - std::int64_t{t} * B.by);
    const int before = d ? t + 1 : t - 1, length = lengths[b];
    if (t >= length || before < 0 || before >= length) {
      to[i] = 0;
      return;
    }
    const float v = h[((static_cast<std::int64_t>(before) * B.by + b) * D + d) * H.by + k];
    to[i] = h_mask ? v * h_mask[(static_cast<std::int64_t>(d) * B.by + b) * H.by + k] : v;
  }
};

/// For `kernel`, where it runs in clusters. `in` values of every sequence come in per step, `rows` sums per unit go
/// out: H and 4 forward, 4H and 1 backward.
Plan make_plan(const CudaState& state, void (*kernel)(Recurrence), int B, int H, int D, int in, int rows) {
  constexpr int most_blocks = 8, least_units = 16;  // clusters that every sm_90 takes; units that are worth a block
  Plan plan{.tiles = (B + sequences - 1) / sequences};
  const auto units = [&](int blocks) { return (H + blocks - 1) / blocks; };
  const auto fits = [&](int blocks) { return shared_bytes(units(blocks), in, rows, true) <= state.shared_memory; };
  const auto at_once = [&](int blocks) {
    const bool resident = fits(blocks);
    const std::size_t shared = shared_bytes(units(blocks), in, rows, resident);
    const Grid grid{.threads = threads,
                    .shared = shared <= state.shared_memory ? shared : 0,
                    .cluster = static_cast<unsigned>(blocks)};
    return clusters_at_once(state, reinterpret_cast<const void*>(kernel), grid);
  };
  while (state.compute_major >= 9 && plan.blocks < most_blocks && units(2 * plan.blocks) >= least_units) {
    const int clusters = at_once(2 * plan.blocks);
    if (clusters == 0 || (fits(plan.blocks) && D * plan.tiles > clusters)) break;
    plan.blocks *= 2;
  }
  plan.units = units(plan.blocks);
  plan.resident = fits(plan.blocks);
  plan.shared = shared_bytes(plan.units, in, rows, plan.resident);
  plan.state_on_chip = plan.shared <= state.shared_memory;
  if (!plan.state_on_chip) plan.shared = 0;
  return plan;
}

const int* sort_by_length(Context& ctx, const int* lengths, int B) {
  int* order = ctx.arena().make<int, 1>({B}).data;
  const Rank rank{lengths, order, B};
  for_each(ctx, "lstm order", rank.threads(), rank);
  return order;
}

/// Rows of w_h [D,4H,H] as the blocks read them, [D,blocks,in,rows]. Forward: row gate * units + u of block r is gate
/// row gate * H + r * units + u. Backward: row u of block r is column r * units + u. Zeros past the last unit.
const float* pack_weights(Context& ctx, const float* w_h, const Plan& plan, int D, int H, bool backward) {
  const int rows = backward ? plan.units : 4 * plan.units, in = backward ? 4 * H : H;
  const auto packed = ctx.arena().make<float, 4>({D, plan.blocks, in, rows});
  for_each(ctx, "lstm weights", packed.size(),
           Pack{w_h, packed.data, Divisor(plan.blocks), Divisor(plan.units), Divisor(rows), Divisor(in), H, backward});
  return packed.data;
}

/// Room for the state of a plan that has none on chip.
float* scratch_for(Context& ctx, const Recurrence& a, int in, int rows) {
  if (a.plan.state_on_chip) return nullptr;
  const std::int64_t clusters = std::int64_t{a.D} * a.plan.tiles, blocks = clusters * a.plan.blocks;
  const std::int64_t floats = clusters * state_floats(in) + blocks * own_floats(a.plan.units, rows);
  return ctx.arena().make<float, 2>({static_cast<int>(floats / sequences), sequences}).data;
}

}  // namespace

void launch_steps(Context& ctx, const char* name, void (*kernel)(Recurrence), const Recurrence& a) {
  const Grid grid{.blocks = dim3(static_cast<unsigned>(a.plan.tiles * a.plan.blocks), static_cast<unsigned>(a.D)),
                  .threads = threads,
                  .shared = a.plan.shared,
                  .cluster = static_cast<unsigned>(a.plan.blocks)};
  launch(ctx, name, kernel, grid, a);
}

void forward_steps(Context& ctx, Recurrence a) {
  a.plan = make_plan(ctx.cuda(), run_forward<true>, a.B, a.H, a.D, a.H, 4);
  a.order = sort_by_length(ctx, a.lengths, a.B);
  a.w = pack_weights(ctx, a.w, a.plan, a.D, a.H, false);
  a.scratch = scratch_for(ctx, a, a.H, 4 * a.plan.units);
  launch_steps(ctx, "lstm_forward", a.plan.blocks > 1 ? run_forward<true> : run_forward<false>, a);
}

void backward_steps(Context& ctx, Recurrence a) {
  a.plan = make_plan(ctx.cuda(), run_backward<true>, a.B, a.H, a.D, 4 * a.H, 1);
  a.order = sort_by_length(ctx, a.lengths, a.B);
  a.w = pack_weights(ctx, a.w, a.plan, a.D, a.H, true);
  a.scratch = scratch_for(ctx, a, 4 * a.H, a.plan.units);
  launch_steps(ctx, "lstm_backward", a.plan.blocks > 1 ? run_backward<true> : run_backward<false>, a);
}

}  // namespace device::lstm

void on_cuda(Context& ctx, const LstmForward& op) {
  using namespace device::lstm;
  const int T = op.x.dim(0), B = op.x.dim(1), I = op.x.dim(2), D = op.w_h.dim(0), H = op.w_h.dim(2);
  if (T == 0 || B == 0) return;
  ArenaScope scratch(ctx.arena());
  Recurrence a{.lengths = op.lengths.data,
               .w = op.w_h.data,
               .h_mask = op.h_mask.data,
               .h = op.h.data,
               .gates = op.gates.data,
               .c = op.c.data,
               .T = T,
               .B = B,
               .H = H,
               .D = D};
  if (fast_forward(ctx, op, a)) return;
  const auto gates = op.gates ? op.gates : ctx.arena().make<float, 4>({D, T, B, 4 * H});
  a.gates = gates.data;
  for (int d = 0; d < D; ++d) {
    device::gemm(ctx, {.transpose_b = true,
                       .m = T * B,
                       .n = 4 * H,
                       .k = I,
                       .a = op.x.data,
                       .lda = I,
                       .b = op.w_x[d].data,
                       .ldb = I,
                       .c = gates[d].data,
                       .ldc = 4 * H,
                       .bias = op.b[d].data});
  }
  forward_steps(ctx, a);
}

void on_cuda(Context& ctx, const LstmBackward& op) {
  using namespace device::lstm;
  const int T = op.x.dim(0), B = op.x.dim(1), I = op.x.dim(2), D = op.w_h.dim(0), H = op.w_h.dim(2), N = T * B;
  if (N == 0) return;
  ArenaScope scratch(ctx.arena());
  Recurrence a{.lengths = op.lengths.data,
               .w = op.w_h.data,
               .h_mask = op.h_mask.data,
               .gates = const_cast<float*>(op.gates.data),  // read only
               .c = const_cast<float*>(op.c.data),
               .d_h = op.d_h.data,
               .T = T,
               .B = B,
               .H = H,
               .D = D};
  if (fast_backward(ctx, op, a)) return;
  const auto d_gates = ctx.arena().make<float, 4>({D, T, B, 4 * H});
  float* const previous = ctx.arena().make<float, 3>({T, B, H}).data;
  a.d_gates = d_gates.data;
  backward_steps(ctx, a);
  for (int d = 0; d < D; ++d) {
    const device::Gemm of_weights{
        .transpose_a = true, .m = 4 * H, .k = N, .a = d_gates[d].data, .lda = 4 * H, .beta = 1};
    device::Gemm g = of_weights;
    g.n = g.ldb = g.ldc = I;
    g.b = op.x.data;
    g.c = op.d_w_x[d].data;
    device::gemm(ctx, g);
    device::for_each(
        ctx, op.name, std::int64_t{N} * H,
        Previous{op.h.data, op.h_mask.data, op.lengths.data, previous, device::Divisor(B), device::Divisor(H), D, d});
    g = of_weights;
    g.n = g.ldb = g.ldc = H;
    g.b = previous;
    g.c = op.d_w_h[d].data;
    device::gemm(ctx, g);
    device::add_rows(ctx, d_gates[d].data, N, 4 * H, op.d_b[d].data);
    if (!op.d_x) continue;
    device::gemm(ctx, {.m = N,
                       .n = I,
                       .k = 4 * H,
                       .a = d_gates[d].data,
                       .lda = 4 * H,
                       .b = op.w_x[d].data,
                       .ldb = I,
                       .beta = d > 0 ? 1.0f : 0.0f,
                       .c = op.d_x.data,
                       .ldc = I});
  }
}

}  // namespace bib
