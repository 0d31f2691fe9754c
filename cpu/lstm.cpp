// LSTM on the CPU. Sentences are sorted by length, so that padding costs nothing: the active ones are a prefix at every
// step. Each unit of work takes some sentences through time in one direction on one thread, with weights packed for
// the SIMD kernels (cpu/lstm.simd.cpp) once per call. The weights' gradients are products over all real tokens.
#include "bib/ops/lstm.h"

#include <algorithm>
#include <array>
#include <vector>

#include "cpu/isa.h"
#include "cpu/lstm_order.h"
#include "cpu/lstm_packed.h"
#include "cpu/parallel.h"

namespace bib {

namespace {

const LstmKernels& kernels() { return BIB_SELECT(lstm_kernels); }
int padded(int n) { return (n + kernels().lanes - 1) / kernels().lanes * kernels().lanes; }

template <class T = real>
T* take(Context& ctx, std::int64_t rows, int columns = 1) {
  return ctx.arena().make<T, 2>({static_cast<int>(rows), columns}).data;
}

}  // namespace

namespace {

/// The weights of all directions in the kernels' order, in memory of the arena.
struct PackedWeights {
  int width = 0;  // 4 padded(H)
  real *w_x, *w_h, *b;

  PackedWeights(Arena& arena, int D, int I, int H) : width(4 * padded(H)) {
    w_x = arena.make<real, 3>({D, I, width}).data;
    w_h = arena.make<real, 3>({D, H, width}).data;
    b = arena.make<real, 2>({D, width}).data;
  }
  explicit PackedWeights(const LstmPacked& p) : width(4 * padded(p.H)), w_x(p.w_x), w_h(p.w_h), b(p.b) {}

  void pack(Context& ctx, View<const real, 3> from_x, View<const real, 3> from_h, View<const real, 2> from_b) const {
    const LstmKernels& k = kernels();
    const int D = from_x.dim(0), I = from_x.dim(2), H = from_h.dim(2), blocks = width / 4 / k.lanes;
    parallel_for(ctx, D * blocks * 2, [&](int i) {
      const int d = i / 2 / blocks, block = i / 2 % blocks;
      if (i % 2) {
        k.pack_gates(from_h[d].data, H, H, block, w_h + std::int64_t{d} * H * width);
      } else {
        k.pack_gates(from_x[d].data, H, I, block, w_x + std::int64_t{d} * I * width);
      }
    });
    for (int d = 0; d < D; ++d) k.pack_bias(from_b[d].data, H, b + std::int64_t{d} * width);
  }
};

}  // namespace

std::shared_ptr<const LstmPacked> pack_lstm(Context& ctx, View<const real, 3> w_x, View<const real, 3> w_h,
                                            View<const real, 2> b) {
  if (ctx.device() != Device::cpu) return nullptr;
  const int D = w_h.dim(0), I = w_x.dim(2), H = w_h.dim(2);
  const auto packed = std::make_shared<LstmPacked>(D, I, H, sizeof(real) == sizeof(float) ? ctx.math() : Math::strict);
  if (packed->math == Math::strict) {
    const PackedWeights weights(packed->memory, D, I, H);
    weights.pack(ctx, w_x, w_h, b);
    packed->w_x = weights.w_x, packed->w_h = weights.w_h, packed->b = weights.b;
  } else {
    pack_integers(w_x, w_h, b, *packed);
  }
  return packed;
}

void on_cpu(Context& ctx, const LstmForward& op) {
  const int I = op.x.dim(2), D = op.w_h.dim(0), H = op.w_h.dim(2);
  expect(!op.packed || (op.packed->D == D && op.packed->I == I && op.packed->H == H),
         "lstm_forward: packed is of weights of another shape");
  if (op.packed && op.packed->math != Math::strict) return forward_in_integers(ctx, op);
  const LstmOrder order(op.lengths);
  const LstmKernels& k = kernels();
  ArenaScope scope(ctx.arena());
  const PackedWeights weights = op.packed ? PackedWeights(*op.packed) : PackedWeights(ctx.arena(), D, I, H);
  if (!op.packed) weights.pack(ctx, op.w_x, op.w_h, op.b);
  const int width = weights.width;
  const std::vector<LstmPart> list = lstm_parts(ctx, order, D);
  std::vector<LstmForwardUnit> units;
  for (int d = 0; d < D; ++d) {
    for (const LstmPart& part : list) {
      LstmForwardUnit u{lstm_unit(op, part, d)};
      u.x = op.x.data;
      u.w_x = weights.w_x + std::int64_t{d} * I * width;
      u.w_h = weights.w_h + std::int64_t{d} * H * width;
      u.b = weights.b + std::int64_t{d} * width;
      u.h = op.h.data + d * H;
      u.gates = op.gates ? op.gates[d].data : nullptr;
      u.c = op.c ? op.c[d].data : nullptr;
      u.chunk_rows = std::max(u.count, lstm_chunk_rows);
      u.rows = take<const real*>(ctx, u.chunk_rows);
      u.products = take(ctx, u.chunk_rows, width);
      for (real** buffer : {&u.state[0], &u.state[1], &u.cell}) *buffer = take(ctx, u.count, padded(H));
      units.push_back(u);
    }
  }
  parallel_for(ctx, static_cast<int>(units.size()), [&](int i) { k.forward(units[i]); });
}

namespace {

/// Sizes of backward, and the gradients before the activations that all its products read.
struct BackwardPlan {
  const LstmBackward& op;
  LstmOrder order;
  const LstmKernels& k = kernels();
  int B = op.x.dim(1), I = op.x.dim(2), D = op.w_h.dim(0), H = op.w_h.dim(2), N = order.tokens();
  int blocks = padded(H) / k.lanes, width = 4 * k.lanes;
  int rows = N | 1;  // odd, lest the same token of all blocks fall into one cache set
  real* d_gates;     // [D][blocks][rows][width]

  BackwardPlan(Context& ctx, const LstmBackward& op_)
      : op(op_), order(op.lengths), d_gates(take(ctx, std::int64_t{D} * blocks * rows, width)) {}

  LstmGradientRows of_direction(int d) const {
    return {d_gates + std::int64_t{d} * blocks * rows * width, blocks, rows};
  }
};

/// One direction's d_h and d_gates, step by step.
class Recurrence {
 public:
  Recurrence(Context& ctx, const BackwardPlan& p)
      : p_(p),
        parts_(lstm_parts(ctx, p.order, p.D)),
        w_h_(take(ctx, std::int64_t{p.D} * p.blocks * p.width, padded(p.H))) {
    for (int d = 0; d < p.D; ++d) {
      for (const LstmPart& part : parts_) {
        LstmBackwardUnit u{lstm_unit(p.op, part, d)};
        u.w_h = packed(d);
        u.gates = p.op.gates[d].data;
        u.c = p.op.c[d].data;
        u.d_h = p.op.d_h.data + d * p.H;
        u.d_gates = p.of_direction(d);
        u.packed_row = p.order.packed_row.data();
        u.first = part.first;
        u.stride = part.stride;
        u.d_state = take(ctx, u.count, padded(p.H));
        u.d_cell = take(ctx, u.count, padded(p.H));
        units_.push_back(u);
      }
    }
  }

  auto packing() const {
    return Tasks{p_.D * p_.blocks, [this](int i) {
                   const int d = i / p_.blocks, block = i % p_.blocks;
                   p_.k.pack_rows(p_.op.w_h[d].data, p_.H, p_.H, block, block * p_.width, p_.blocks * p_.width,
                                  packed(d));
                 }};
  }
  auto units() const {
    return Tasks{static_cast<int>(units_.size()), [this](int i) { p_.k.backward(units_[i]); }};
  }

 private:
  real* packed(int d) const { return w_h_ + std::int64_t{d} * p_.blocks * p_.width * padded(p_.H); }

  const BackwardPlan& p_;
  std::vector<LstmPart> parts_;
  real* w_h_;
  std::vector<LstmBackwardUnit> units_;
};

/// d_x = d_gates w_x, summed over both directions in one chain; padded steps get 0.
class InputGradient {
 public:
  InputGradient(Context& ctx, const BackwardPlan& p) : p_(p) {
    if (!p.op.d_x) return;
    w_x_ = take(ctx, p.D * p.blocks * p.width, padded(p.I));
    sums_ = take(ctx, p.N, padded(p.I));
    rows_ = take<real*>(ctx, p.N);
    // A row's sum does not depend on its chunk, so that the number of chunks may suit the threads.
    const int threads = ctx.threads(), full = (p.N + lstm_chunk_rows - 1) / lstm_chunk_rows;
    chunks_ = (full + threads - 1) / threads * threads;
    const int T = p.op.x.dim(0);
    for (int t = 0; t < T; ++t) {
      const int active = t < p.order.steps ? p.order.active(t) : 0;
      for (int j = 0; j < p.B; ++j) {
        real* row = p.op.d_x.data + (std::int64_t{t} * p.B + p.order.sentence[j]) * p.I;
        if (j < active) {
          rows_[p.order.packed_row[t] + j] = row;
        } else {
          std::fill_n(row, p.I, real(0));
        }
      }
    }
  }

  auto packing() const {
    return Tasks{p_.op.d_x ? p_.D * p_.blocks : 0, [this](int i) {
                   p_.k.pack_rows(p_.op.w_x[i / p_.blocks].data, p_.H, p_.I, i % p_.blocks, i * p_.width,
                                  p_.D * p_.blocks * p_.width, w_x_);
                 }};
  }
  auto products() const {
    return Tasks{chunks_, [this](int i) {
                   const int begin = static_cast<int>(std::int64_t{p_.N} * i / chunks_);
                   const int end = static_cast<int>(std::int64_t{p_.N} * (i + 1) / chunks_);
                   p_.k.input_gradient({.d_gates = {p_.d_gates, p_.D * p_.blocks, p_.rows},
                                        .first = begin,
                                        .rows = end - begin,
                                        .I = p_.I,
                                        .w_x = w_x_,
                                        .sums = sums_ + std::int64_t{begin} * padded(p_.I),
                                        .d_x = rows_ + begin});
                 }};
  }

 private:
  const BackwardPlan& p_;
  int chunks_ = 0;
  real *w_x_ = nullptr, *sums_ = nullptr;
  real** rows_ = nullptr;
};

/// d_w_x += d_gates' x, d_w_h += d_gates' h_before, d_b += sums of d_gates: every sum runs over the packed tokens in
/// their order, whichever thread takes it.
class WeightGradients {
 public:
  WeightGradients(Context& ctx, const BackwardPlan& p)
      : p_(p),
        height_(p.I + p.H + 1),
        runs_((p.N + p.k.depth - 1) / p.k.depth),
        columns_(take(ctx, std::int64_t{p.D} * runs_ * height_, p.k.depth)),
        products_(take(ctx, std::int64_t{p.D} * p.blocks * height_, p.width)) {}

  /// What each token's weights were multiplied with, as columns over the tokens: x, the masked h before, and 1.
  auto packing() const {
    return Tasks{p_.D * runs_, [this](int i) {
                   real* run = columns_ + std::int64_t{i} * height_ * p_.k.depth;
                   const int begin = i % runs_ * p_.k.depth, end = std::min(p_.N, begin + p_.k.depth);
                   for (int row = begin; row < end; row += p_.k.lanes)
                     pack_tokens(i / runs_, row, std::min(p_.k.lanes, p_.N - row), run + row - begin);
                   std::fill_n(run + std::int64_t{p_.I + p_.H} * p_.k.depth, p_.k.depth, real(1));
                 }};
  }
  auto products() const {
    return Tasks{p_.D * p_.blocks, [this](int i) {
                   const int d = i / p_.blocks;
                   p_.k.weight_gradient({.d_gates = p_.d_gates + std::int64_t{i} * p_.rows * p_.width,
                                         .tokens = p_.N,
                                         .I = p_.I,
                                         .H = p_.H,
                                         .block = i % p_.blocks,
                                         .columns = columns_ + std::int64_t{d} * runs_ * height_ * p_.k.depth,
                                         .products = products_ + std::int64_t{i} * height_ * p_.width,
                                         .d_w_x = p_.op.d_w_x[d].data,
                                         .d_w_h = p_.op.d_w_h[d].data,
                                         .d_b = p_.op.d_b[d].data});
                 }};
  }

 private:
  /// `count` <= lanes tokens from packed row `row` on; the lanes beyond become zeros.
  void pack_tokens(int d, int row, int count, real* to) const {
    std::array<const real*, 16> x{}, h{}, masks{};  // 16: the most lanes there are
    for (int r = 0; r < count; ++r) {
      const auto [t, j] = p_.order.token(row + r);
      const int b = p_.order.sentence[j], before = d == 0 ? t - 1 : t + 1;
      x[r] = p_.op.x.data + (std::int64_t{t} * p_.B + b) * p_.I;
      if (before >= 0 && before < p_.order.length[j])
        h[r] = p_.op.h.data + (std::int64_t{before} * p_.B + b) * p_.D * p_.H + d * p_.H;
      if (p_.op.h_mask) masks[r] = p_.op.h_mask[d][b].data;
    }
    p_.k.pack_columns(x.data(), nullptr, p_.I, to, p_.k.depth);
    p_.k.pack_columns(h.data(), p_.op.h_mask ? masks.data() : nullptr, p_.H, to + std::int64_t{p_.I} * p_.k.depth,
                      p_.k.depth);
  }

  const BackwardPlan& p_;
  int height_, runs_;
  real* columns_;   // [D][runs][I+H+1][depth]
  real* products_;  // [D][blocks][I+H+1][width]
};

}  // namespace

void on_cpu(Context& ctx, const LstmBackward& op) {
  ArenaScope scope(ctx.arena());
  const BackwardPlan plan(ctx, op);
  const Recurrence recurrence(ctx, plan);
  const InputGradient input(ctx, plan);
  const WeightGradients weights(ctx, plan);
  parallel_tasks(ctx, weights.packing(), recurrence.packing(), input.packing());
  parallel_tasks(ctx, recurrence.units());
  parallel_tasks(ctx, input.products(), weights.products());
}

}  // namespace bib
