// LSTM on the CPU. Sentences are sorted by length, so that padding costs nothing: the active ones are a prefix at every
// step. Each unit of work takes some sentences through time in one direction on one thread, with weights packed for
// the SIMD kernels (cpu/lstm.simd.cpp) once per call. The weights' gradients are products over all real tokens.
#include "bib/ops/lstm.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "cpu/gemm.h"
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
          .mask = op.h_mask ? op.h_mask[direction].data : nullptr,
          .packed_row = nullptr,
          .first = part.first,
          .stride = part.stride};
}

/// Rows of the real tokens, one after another. `row(t, b)` gives the address of one, or null for zeros.
template <class Row>
void gather(Context& ctx, const Order& order, int width, int ld, real* to, Row&& row) {
  parallel_for(ctx, order.steps, [&](int t) {
    for (int j = 0; j < order.active(t); ++j) {
      real* out = to + std::int64_t{order.packed_row[t] + j} * ld;
      const real* in = row(t, j);
      if (in) {
        std::copy_n(in, width, out);
      } else {
        std::fill_n(out, width, real(0));
      }
    }
  });
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
void input_gradient(Context& ctx, const LstmBackward& op, const Order& order, const real* d_gates) {
  const int B = op.x.dim(1), I = op.x.dim(2), K = op.w_x.dim(0) * op.w_x.dim(1), N = order.tokens();
  const LstmKernels& k = kernels();
  real* panels = take(ctx, K, padded(I));
  const real** rows = take<const real*>(ctx, N);
  real** d_rows = take<real*>(ctx, N);
  for (int t = 0; t < order.steps; ++t) {
    for (int j = 0; j < order.active(t); ++j) {
      const int row = order.packed_row[t] + j;
      rows[row] = d_gates + std::int64_t{row} * K;
      d_rows[row] = op.d_x.data + (std::int64_t{t} * B + order.sentence[j]) * I;
    }
  }
  k.pack_rows(op.w_x.data, K, I, panels);
  parallel_chunks(ctx, N, 192, [&](std::int64_t begin, std::int64_t end) {
    k.product({.rows = static_cast<int>(end - begin),
               .k = K,
               .n = I,
               .a = rows + begin,
               .panels = panels,
               .c = d_rows + begin});
  });
  for (int t = 0; t < op.x.dim(0); ++t)
    for (int j = t < order.steps ? order.active(t) : 0; j < B; ++j)
      std::fill_n(op.d_x.data + (std::int64_t{t} * B + order.sentence[j]) * I, I, real(0));
}

/// d_w_x += d_gates' x, d_w_h += d_gates' h_previous, d_b += sums of d_gates: over the packed tokens, in their order.
void weight_gradients(Context& ctx, const LstmBackward& op, const Order& order, const real* d_gates) {
  const int T = op.x.dim(0), B = op.x.dim(1), I = op.x.dim(2), D = op.w_h.dim(0), H = op.w_h.dim(2);
  const int N = order.tokens(), K = D * 4 * H;
  const real* x = op.x.data;
  if (N < T * B) {
    real* packed = take(ctx, N, I);
    gather(ctx, order, I, I, packed,
           [&](int t, int j) { return op.x.data + (std::int64_t{t} * B + order.sentence[j]) * I; });
    x = packed;
  }
  gemm(ctx, {.transpose_a = true,
             .m = K,
             .n = I,
             .k = N,
             .a = d_gates,
             .lda = K,
             .b = x,
             .ldb = I,
             .beta = 1,
             .c = op.d_w_x.data,
             .ldc = I});
  real* previous = take(ctx, N, H);
  for (int d = 0; d < D; ++d) {
    gather(ctx, order, H, H, previous, [&](int t, int j) -> const real* {
      const int before = d == 0 ? t - 1 : t + 1;
      if (before < 0 || before >= order.length[j]) return nullptr;
      return op.h.data + (std::int64_t{before} * B + order.sentence[j]) * D * H + d * H;
    });
    if (op.h_mask) {
      parallel_for(ctx, order.steps, [&](int t) {
        for (int j = 0; j < order.active(t); ++j) {
          const real* mask = op.h_mask[d][order.sentence[j]].data;
          real* row = previous + std::int64_t{order.packed_row[t] + j} * H;
          for (int u = 0; u < H; ++u) row[u] *= mask[u];
        }
      });
    }
    gemm(ctx, {.transpose_a = true,
               .m = 4 * H,
               .n = H,
               .k = N,
               .a = d_gates + d * 4 * H,
               .lda = K,
               .b = previous,
               .ldb = H,
               .beta = 1,
               .c = op.d_w_h[d].data,
               .ldc = H});
  }
  parallel_chunks(ctx, K, 256, [&](std::int64_t begin, std::int64_t end) {
    kernels().column_sums(d_gates + begin, N, K, static_cast<int>(end - begin), op.d_b.data + begin);
  });
}

}  // namespace

void on_cpu(Context& ctx, const LstmBackward& op) {
  const int D = op.w_h.dim(0), H = op.w_h.dim(2);
  const Order order(op.lengths, op.x.dim(0));
  const LstmKernels& k = kernels();
  ArenaScope scope(ctx.arena());
  real* w_h = take(ctx, std::int64_t{D} * 4 * H, padded(H));
  real* d_gates = take(ctx, order.tokens(), D * 4 * H);
  const std::vector<Part> list = parts(ctx, order, D);
  std::vector<LstmBackwardUnit> units;
  for (int d = 0; d < D; ++d) {
    for (const Part& part : list) {
      LstmBackwardUnit u{unit_of(op, part, d)};
      u.packed_row = order.packed_row.data();
      u.w_h = w_h + std::int64_t{d} * 4 * H * padded(H);
      u.gates = op.gates[d].data;
      u.c = op.c[d].data;
      u.d_h = op.d_h.data + d * H;
      u.d_gates = d_gates + d * 4 * H;
      u.rows = take<const real*>(ctx, u.count);
      u.d_rows = take<real*>(ctx, u.count);
      u.d_state = take(ctx, u.count, padded(H));
      u.d_cell = take(ctx, u.count, padded(H));
      units.push_back(u);
    }
  }
  parallel_for(ctx, D,
               [&](int d) { k.pack_rows(op.w_h[d].data, 4 * H, H, w_h + std::int64_t{d} * 4 * H * padded(H)); });
  parallel_for(ctx, static_cast<int>(units.size()), [&](int i) { k.backward(units[i]); });
  if (op.d_x) input_gradient(ctx, op, order, d_gates);
  weight_gradients(ctx, op, order, d_gates);
}

}  // namespace bib
