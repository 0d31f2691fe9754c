// LSTM on the CPU. Sentences are sorted by length, so that padding costs nothing: the active ones are a prefix at every
// step. Each unit of work takes some sentences through time in one direction on one thread, with weights packed for
// the SIMD kernels (cpu/lstm.simd.cpp) once per call. The weights' gradients are products over all real tokens.
#include "bib/ops/lstm.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "cpu/isa.h"
#include "cpu/lstm.simd.h"
#include "cpu/parallel.h"

namespace bib {

namespace {

constexpr int chunk_rows =
    192;  // tokens whose input products are computed at once: they stay in the second-level cache

const LstmKernels& kernels() { return select(base::lstm_kernels, avx2::lstm_kernels, avx512::lstm_kernels); }
int padded(int n) { return (n + kernels().lanes - 1) / kernels().lanes * kernels().lanes; }

template <class T = real>
T* take(Context& ctx, std::int64_t rows, int columns = 1) {
  return ctx.arena().make<T, 2>({static_cast<int>(rows), columns}).data;
}

/// The batch by falling length; tokens packed step by step, in this order within a step.
struct Order {
  std::vector<int> sentence, length;  // [B]
  std::vector<int> packed_row;        // [steps+1]  where step t begins
  int steps = 0;

  Order(const View<const int, 1>& lengths, int T) : sentence(lengths.dim(0)) {
    const int B = lengths.dim(0);
    for (int b = 0; b < B; ++b) expect(lengths[b] >= 0 && lengths[b] <= T, "lstm: a length is not in 0..T");
    std::iota(sentence.begin(), sentence.end(), 0);
    std::stable_sort(sentence.begin(), sentence.end(), [&](int a, int b) { return lengths[a] > lengths[b]; });
    for (int b : sentence) length.push_back(lengths[b]);
    steps = B ? length[0] : 0;
    packed_row.assign(steps + 1, 0);
    for (int t = 0, active = B; t < steps; ++t) {
      while (length[active - 1] <= t) --active;
      packed_row[t + 1] = packed_row[t] + active;
    }
  }
  int tokens() const { return packed_row.back(); }
  int active(int t) const { return packed_row[t + 1] - packed_row[t]; }
};

/// Every G-th sentence of the order, so that the units of one direction cost the same.
struct Part {
  std::vector<int> sentence, active;
  int first, stride;

  Part(const Order& order, int first_, int stride_) : first(first_), stride(stride_) {
    for (std::size_t j = first; j < order.sentence.size(); j += stride) sentence.push_back(order.sentence[j]);
    const int steps = sentence.empty() ? 0 : order.length[first];
    for (int t = 0; t < steps; ++t) active.push_back((order.active(t) - first + stride - 1) / stride);
    active.push_back(0);
  }
};

std::vector<Part> parts(const Context& ctx, const Order& order, int D) {
  const int B = static_cast<int>(order.sentence.size());
  const int stride = std::max(1, std::min(B, (ctx.threads() + D - 1) / D));
  std::vector<Part> list;
  for (int first = 0; first < stride; ++first) list.emplace_back(order, first, stride);
  return list;
}

template <class Op>
LstmUnit unit_of(const Op& op, const Part& part, int direction) {
  return {.T = op.x.dim(0),
          .B = op.x.dim(1),
          .D = op.w_h.dim(0),
          .I = op.x.dim(2),
          .H = op.w_h.dim(2),
          .direction = direction,
          .count = static_cast<int>(part.sentence.size()),
          .steps = static_cast<int>(part.active.size()) - 1,
          .sentence = part.sentence.data(),
          .active = part.active.data(),
          .mask = op.h_mask ? op.h_mask[direction].data : nullptr};
}

}  // namespace

void on_cpu(Context& ctx, const LstmForward& op) {
  const int I = op.x.dim(2), D = op.w_h.dim(0), H = op.w_h.dim(2);
  const Order order(op.lengths, op.x.dim(0));
  const LstmKernels& k = kernels();
  const int width = 4 * padded(H), blocks = padded(H) / k.lanes;
  ArenaScope scope(ctx.arena());
  real* w_x = take(ctx, std::int64_t{D} * I, width);
  real* w_h = take(ctx, std::int64_t{D} * H, width);
  real* b = take(ctx, D, width);
  const std::vector<Part> list = parts(ctx, order, D);
  std::vector<LstmForwardUnit> units;
  for (int d = 0; d < D; ++d) {
    for (const Part& part : list) {
      LstmForwardUnit u{unit_of(op, part, d)};
      u.x = op.x.data;
      u.w_x = w_x + std::int64_t{d} * I * width;
      u.w_h = w_h + std::int64_t{d} * H * width;
      u.b = b + std::int64_t{d} * width;
      u.h = op.h.data + d * H;
      u.gates = op.gates ? op.gates[d].data : nullptr;
      u.c = op.c ? op.c[d].data : nullptr;
      u.chunk_rows = std::max(u.count, chunk_rows);
      u.rows = take<const real*>(ctx, u.chunk_rows);
      u.products = take(ctx, u.chunk_rows, width);
      for (real** buffer : {&u.state[0], &u.state[1], &u.cell}) *buffer = take(ctx, u.count, padded(H));
      units.push_back(u);
    }
  }
  parallel_for(ctx, D * blocks * 2, [&](int i) {
    const int d = i / 2 / blocks, block = i / 2 % blocks;
    if (i % 2) {
      k.pack_gates(op.w_h[d].data, H, H, block, w_h + std::int64_t{d} * H * width);
    } else {
      k.pack_gates(op.w_x[d].data, H, I, block, w_x + std::int64_t{d} * I * width);
    }
  });
  for (int d = 0; d < D; ++d) k.pack_bias(op.b[d].data, H, b + std::int64_t{d} * width);
  parallel_for(ctx, static_cast<int>(units.size()), [&](int i) { k.forward(units[i]); });
}

namespace {

/// d_x = d_gates w_x, summed over both directions in one chain; padded steps get 0.
void input_gradient(Context& ctx, const LstmBackward& op, const Order& order, const LstmGradientRows& d_gates) {
  const int B = op.x.dim(1), I = op.x.dim(2), D = op.w_h.dim(0), H = op.w_h.dim(2), N = order.tokens();
  const LstmKernels& k = kernels();
  const int width = 4 * k.lanes, blocks = d_gates.blocks, depth = D * blocks * width;
  real* w_x = take(ctx, depth, padded(I));
  parallel_for(ctx, D * blocks,
               [&](int i) { k.pack_rows(op.w_x[i / blocks].data, H, I, i % blocks, i * width, depth, w_x); });
  real** rows = take<real*>(ctx, N);
  for (int t = 0; t < op.x.dim(0); ++t) {
    const int active = t < order.steps ? order.active(t) : 0;
    for (int j = 0; j < B; ++j) {
      real* row = op.d_x.data + (std::int64_t{t} * B + order.sentence[j]) * I;
      if (j < active) {
        rows[order.packed_row[t] + j] = row;
      } else {
        std::fill_n(row, I, real(0));
      }
    }
  }
  parallel_chunks(ctx, N, chunk_rows, [&](std::int64_t begin, std::int64_t end) {
    k.input_gradient({.d_gates = {d_gates.data, D * blocks, d_gates.tokens},
                      .first = static_cast<int>(begin),
                      .rows = static_cast<int>(end - begin),
                      .I = I,
                      .w_x = w_x,
                      .d_x = rows + begin});
  });
}

/// Columns over the packed tokens of what the weights were multiplied with: x, and per direction the masked h before.
struct Columns {
  int ld;
  real *x, *h, *ones;  // [I,ld] [D,H,ld] [ld]

  Columns(Context& ctx, const LstmBackward& op, const Order& order) {
    const int B = op.x.dim(1), I = op.x.dim(2), D = op.w_h.dim(0), H = op.w_h.dim(2), N = order.tokens();
    const LstmKernels& k = kernels();
    const int tiles = padded(N) / k.lanes;
    ld = padded(N) + k.lanes;  // one more vector, lest powers of two crowd one cache set
    x = take(ctx, I, ld);
    h = take(ctx, std::int64_t{D} * H, ld);
    ones = take(ctx, ld);
    std::fill_n(ones, ld, real(1));
    std::vector<int> step(N);
    for (int t = 0; t < order.steps; ++t)
      std::fill(step.begin() + order.packed_row[t], step.begin() + order.packed_row[t + 1], t);
    parallel_for(ctx, (1 + D) * tiles, [&](int i) {
      const int d = i / tiles - 1, begin = i % tiles * k.lanes;  // d = -1: x
      std::array<const real*, 16> rows{}, masks{};
      for (int r = begin; r < std::min(N, begin + k.lanes); ++r) {
        const int j = r - order.packed_row[step[r]], b = order.sentence[j];
        const int t = d < 0 ? step[r] : d == 0 ? step[r] - 1 : step[r] + 1;
        if (d < 0) {
          rows[r - begin] = op.x.data + (std::int64_t{t} * B + b) * I;
        } else if (t >= 0 && t < order.length[j]) {
          rows[r - begin] = op.h.data + (std::int64_t{t} * B + b) * D * H + d * H;
          if (op.h_mask) masks[r - begin] = op.h_mask[d][b].data;
        }
      }
      const bool masked = d >= 0 && op.h_mask;
      k.pack_columns(rows.data(), masked ? masks.data() : nullptr, d < 0 ? I : H,
                     (d < 0 ? x : h + std::int64_t{d} * H * ld) + begin, ld);
    });
  }
};

/// d_w_x += d_gates' x, d_w_h += d_gates' h_before, d_b += sums of d_gates: every sum runs over the packed tokens in
/// their order, whichever thread takes it.
void weight_gradients(Context& ctx, const LstmBackward& op, const Order& order, const LstmGradientRows& d_gates) {
  const int I = op.x.dim(2), D = op.w_h.dim(0), H = op.w_h.dim(2), blocks = d_gates.blocks;
  const LstmKernels& k = kernels();
  const int width = 4 * k.lanes, height = I + H + 1;
  const Columns columns(ctx, op, order);
  const real** rows = take<const real*>(ctx, std::int64_t{D} * height);
  for (int d = 0; d < D; ++d) {
    const real** at = rows + std::int64_t{d} * height;
    for (int i = 0; i < I; ++i) *at++ = columns.x + std::int64_t{i} * columns.ld;
    for (int i = 0; i < H; ++i) *at++ = columns.h + (std::int64_t{d} * H + i) * columns.ld;
    *at = columns.ones;
  }
  real* products = take(ctx, std::int64_t{D} * blocks * height, width);
  parallel_for(ctx, D * blocks, [&](int i) {
    const int d = i / blocks;
    k.weight_gradient({.d_gates = d_gates.data + std::int64_t{i} * d_gates.tokens * width,
                       .tokens = order.tokens(),
                       .I = I,
                       .H = H,
                       .block = i % blocks,
                       .rows = rows + std::int64_t{d} * height,
                       .products = products + std::int64_t{i} * height * width,
                       .d_w_x = op.d_w_x[d].data,
                       .d_w_h = op.d_w_h[d].data,
                       .d_b = op.d_b[d].data});
  });
}

}  // namespace

void on_cpu(Context& ctx, const LstmBackward& op) {
  const int D = op.w_h.dim(0), H = op.w_h.dim(2);
  const Order order(op.lengths, op.x.dim(0));
  const LstmKernels& k = kernels();
  const int blocks = padded(H) / k.lanes, width = 4 * k.lanes;
  ArenaScope scope(ctx.arena());
  real* w_h = take(ctx, std::int64_t{D} * blocks * width, padded(H));
  // An odd number of rows, lest the same token of all blocks fall into one cache set.
  const LstmGradientRows d_gates{nullptr, blocks, order.tokens() | 1};
  real* gradients = take(ctx, std::int64_t{D} * blocks * d_gates.tokens, width);
  const std::vector<Part> list = parts(ctx, order, D);
  std::vector<LstmBackwardUnit> units;
  for (int d = 0; d < D; ++d) {
    for (const Part& part : list) {
      LstmBackwardUnit u{unit_of(op, part, d)};
      u.w_h = w_h + std::int64_t{d} * blocks * width * padded(H);
      u.gates = op.gates[d].data;
      u.c = op.c[d].data;
      u.d_h = op.d_h.data + d * H;
      u.d_gates = d_gates;
      u.d_gates.data = gradients + std::int64_t{d} * blocks * d_gates.tokens * width;
      u.packed_row = order.packed_row.data();
      u.first = part.first;
      u.stride = part.stride;
      u.d_state = take(ctx, u.count, padded(H));
      u.d_cell = take(ctx, u.count, padded(H));
      units.push_back(u);
    }
  }
  parallel_for(ctx, D * blocks, [&](int i) {
    const int d = i / blocks, block = i % blocks;
    k.pack_rows(op.w_h[d].data, H, H, block, block * width, blocks * width,
                w_h + std::int64_t{d} * blocks * width * padded(H));
  });
  parallel_for(ctx, static_cast<int>(units.size()), [&](int i) { k.backward(units[i]); });
  const LstmGradientRows all{gradients, blocks, d_gates.tokens};
  if (op.d_x) input_gradient(ctx, op, order, all);
  weight_gradients(ctx, op, order, all);
}

}  // namespace bib
