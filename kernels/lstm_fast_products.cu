// What stands before and after the tensor-core kernels of the LSTM: sequences by length, weights in the order of
// registers, and the large products with their operands in fp16 (forward) and bf16 (backward, whose gradients may be
// tiny), one launch for all that is read and one product each for both directions. Biases are columns of these
// products: columns of ones, and the bias as the sum of two fp16.
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/lstm_fast.h"

namespace bib::device::lstm {
namespace {

#ifdef BIB_TENSOR_CORES
/// h, weights and x suit fp16; gradients may be tiny.
template <bool backward>
inline constexpr Format format_of = backward ? Format::bf16 : Format::fp16;
#endif

/// Weights as the warps keep them, [D,blocks,warps,tiles,steps,32] of four words each, rounded, zeros past the edges; a
/// thread for the four words of a lane, whose eight values it asks for at once. Word i holds row g + 8 (i % 2), columns
/// k and k + 1 with k = 16 step + 2q + 8 (i / 2), of the warp's tile (kernels/mma.h). Forward: tile 2j holds the gates
/// i, f of the warp's group j, tile 2j+1 g, o; or an only tile i, g, f, o of 4 units; columns are units of h. Backward:
/// tile j holds units 16 (warp + 8j) to + 15 of h, columns are the block's gate rows, gate by gate of a unit.
template <bool backward>
struct Fragments {
  const float* w_h;  // [D,4H,H]
  uint4* to;
  Divisor blocks, tiles, steps;
  int units, H;

#ifdef BIB_TENSOR_CORES
  __device__ float weight(const float* w, int block, int warp, int tile, int row, int k) const {
    int unit, gate, column;
    if (backward) {
      unit = k / 4, gate = k % 4;
      column = 16 * (warp + tile * warps) + row;
    } else if (tiles.by == 1) {
      unit = warp * 4 + row % 4, gate = row / 4 % 2 * 2 + row / 8;
      column = k;
    } else {
      unit = (warp * (tiles.by / 2) + tile / 2) * group_units + row % 8, gate = tile % 2 * 2 + row / 8;
      column = k;
    }
    const int at = block * units + unit;
    return unit < units && at < H && column < H ? w[(gate * H + at) * H + column] : 0.0f;
  }
#endif

  __device__ void operator()([[maybe_unused]] std::int64_t i) const {
#ifdef BIB_TENSOR_CORES
    const int lane = static_cast<int>(i) % warp_lanes;
    int at = static_cast<int>(i) / warp_lanes;
    const auto next = [&](const Divisor& n) {
      const int all = at;
      at = n.over(all);
      return all - at * n.by;
    };
    const int step = next(steps), tile = next(tiles), warp = at % warps;
    at /= warps;
    const int block = next(blocks);
    const float* const w = w_h + at * 4 * H * H;
    float v[4][2];  // of each word
#pragma unroll
    for (int word = 0; word < 4; ++word) {
#pragma unroll
      for (int half = 0; half < 2; ++half)
        v[word][half] =
            weight(w, block, warp, tile, lane / 4 + word % 2 * 8, 16 * step + lane % 4 * 2 + word / 2 * 8 + half);
    }
    constexpr Format format = format_of<backward>;
    to[i] = make_uint4(pack<format>(v[0][0], v[0][1]), pack<format>(v[1][0], v[1][1]), pack<format>(v[2][0], v[2][1]),
                       pack<format>(v[3][0], v[3][1]));
#endif
  }
};

/// Values k..k+7 of a row of `columns`, zeros past its end; `wide`: four at a time, of which a row has whole ones.
__device__ __forceinline__ void read8(float (&v)[8], const float* row, int k, int columns, bool wide) {
  if (wide) {
    const float4 none = make_float4(0, 0, 0, 0);
    const float4 first = k < columns ? load4(row + k) : none, second = k + 4 < columns ? load4(row + k + 4) : none;
    v[0] = first.x, v[1] = first.y, v[2] = first.z, v[3] = first.w;
    v[4] = second.x, v[5] = second.y, v[6] = second.z, v[7] = second.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) v[i] = k + i < columns ? row[k + i] : 0.0f;
}

/// Rounds a matrix [rows, width], eight values a thread: values.read(v, row, k) gives those from column k.
template <bool backward, class Values>
struct Rounded {
  Values values;
  std::uint16_t* to;
  Divisor chunks;  // eights of a row
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t row = chunks.over(i);
    float v[8];
    values.read(v, static_cast<int>(row), static_cast<int>(i - row * chunks.by) * 8);
#ifdef BIB_TENSOR_CORES
    constexpr Format format = format_of<backward>;
    *reinterpret_cast<uint4*>(to + 8 * i) = make_uint4(pack<format>(v[0], v[1]), pack<format>(v[2], v[3]),
                                                       pack<format>(v[4], v[5]), pack<format>(v[6], v[7]));
#endif
  }
};

/// x, zeros up to column `ones`, two ones, zeros.
struct Inputs {
  const float* x;
  int I, ones;
  bool wide;
  __device__ void read(float (&v)[8], int row, int k) const {
    if (k < ones) return read8(v, x + static_cast<std::int64_t>(row) * I, k, I, wide);
    for (int i = 0; i < 8; ++i) v[i] = i < 2 ? 1.0f : 0.0f;
  }
};

/// w_x with the four gates of a unit side by side, rows [D,H,4]: zeros up to column `bias`, b in two parts, of which
/// the first is an fp16, zeros.
struct InputWeights {
  const float *w, *b;
  int I, H, bias;
  bool wide;
  __device__ void read(float (&v)[8], int row, int k) const {
    const int gate = row % 4, d = row / 4 >= H ? 1 : 0, unit = row / 4 - d * H;
    const std::int64_t from = static_cast<std::int64_t>(d * 4 + gate) * H + unit;
    if (k < bias) return read8(v, w + from * I, k, I, wide);
    for (int i = 0; i < 8; ++i) v[i] = 0;
#ifdef BIB_TENSOR_CORES
    v[0] = unpack_fp16(pack<Format::fp16>(b[from], 0.0f)).x;
    v[1] = b[from] - v[0];
#endif
  }
};

/// x, zeros up to column `hidden`, what came before the step as the recurrent product saw it, 1, zeros; all zeros past
/// the end of a sequence, whatever stands there. Rows [D,T,B].
struct StepInputs {
  const float *x, *h, *h_mask;
  const int* lengths;
  Divisor B;
  int I, hidden, T, H, D;
  bool wide_x, wide_h;
  __device__ void read(float (&v)[8], int row, int k) const {
    const int step = B.over(row), b = row - step * B.by, d = step >= T ? 1 : 0, t = step - d * T;
    const int length = lengths[b], before = d ? t + 1 : t - 1;
    for (int i = 0; i < 8; ++i) v[i] = 0;
    if (t >= length) return;
    if (k < hidden) return read8(v, x + (static_cast<std::int64_t>(t) * B.by + b) * I, k, I, wide_x);
    k -= hidden;
    if (k < H && before >= 0 && before < length) {
      read8(v, h + ((static_cast<std::int64_t>(before) * B.by + b) * D + d) * H, k, H, wide_h);
      if (h_mask) {
        float mask[8];
        read8(mask, h_mask + (static_cast<std::int64_t>(d) * B.by + b) * H, k, H, wide_h);
        for (int i = 0; i < 8; ++i) v[i] *= mask[i];
      }
    }
    for (int i = 0; i < 8; ++i)
      if (k + i == H) v[i] = 1;
  }
};

/// Adds the gradients [D,H,4,row] of weights and biases, whose columns are those of StepInputs, to their places, N
/// columns at a time.
template <int N>
struct AddGradients {
  const float* from;
  float *d_w_x, *d_w_h, *d_b;
  Divisor H, per_row;  // threads of a row, the last one for the bias
  int I, hidden, row;
  static int threads_of_row(int I, int H) { return (I + H) / N + 1; }
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t gate_row = per_row.over(i);  // of [D,4,H]
    const int column = static_cast<int>(i - gate_row * per_row.by) * N, block = H.over(static_cast<int>(gate_row)),
              unit = static_cast<int>(gate_row) - block * H.by;
    const float* const sums = from + (static_cast<std::int64_t>(block / 4 * H.by + unit) * 4 + block % 4) * row;
    if (column >= I + H.by) {
      d_b[gate_row] += sums[hidden + H.by];
      return;
    }
    float* const to = column < I ? d_w_x + gate_row * I + column : d_w_h + gate_row * H.by + (column - I);
    const Floats<N> more = load<N>(sums + (column < I ? column : hidden + column - I));
    Floats<N> sum = load<N>(to);
    for (int j = 0; j < N; ++j) sum[j] += more[j];
    store(to, sum);
  }
};

constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }

/// Room for rows of 16-bit numbers, and the work that fills them.
template <bool backward, class Values>
Sized<Rounded<backward, Values>> rounded(Context& ctx, const Values& values, std::int64_t rows, int width) {
  auto* const to = ctx.arena().make<std::uint16_t, 2>({static_cast<int>(rows), width}).data;
  return {rows * (width / 8), {values, to, Divisor(width / 8)}};
}

/// Room for the sequences' order and the recurrent weights, and the work that fills it; `a` then reads from there.
template <bool backward>
auto order_and_weights(Context& ctx, const int* lengths, const float* w_h, const FastVariant& v, Recurrence& a) {
  int* const order = ctx.arena().make<int, 1>({a.B}).data;
  const auto packed = ctx.arena().make<float, 4>({a.D, v.blocks, warps, v.tiles * v.steps * warp_lanes * 4});
  a.order = order;
  a.w = packed.data;
  const Rank rank{lengths, order, a.B};
  return std::pair(Sized<Rank>{rank.threads(), rank},
                   Sized<Fragments<backward>>{packed.size() / 4,
                                              {w_h, reinterpret_cast<uint4*>(packed.data), Divisor(v.blocks),
                                               Divisor(v.tiles), Divisor(v.steps), a.plan.units, a.H}});
}

}  // namespace

void prepare(Context& ctx, const LstmForward& op, const FastVariant& v, Recurrence& a) {
  const int I = op.x.dim(2), N = a.T * a.B, ones = round_up(I, 8), width = ones + 8;
  const bool wide = I % 4 == 0;
  const auto [order, recurrent] = order_and_weights<false>(ctx, op.lengths.data, op.w_h.data, v, a);
  const auto x = rounded<false>(ctx, Inputs{op.x.data, I, ones, wide && aligned(op.x.data)}, N, width);
  const int rows = 4 * a.D * a.H;
  const auto w = rounded<false>(ctx, InputWeights{op.w_x.data, op.b.data, I, a.H, ones, wide && aligned(op.w_x.data)},
                                rows, width);
  for_each_of(ctx, op.name, order, recurrent, x, w);
  const auto products = ctx.arena().make<std::uint16_t, 2>({N, rows});
  a.x_products = products.data;
  gemm(ctx, GemmFp16{.m = N,
                     .n = rows,
                     .k = width,
                     .a = x.f.to,
                     .lda = width,
                     .b = w.f.to,
                     .ldb = width,
                     .c = products.data,
                     .ldc = rows});
}

BackwardOperands prepare(Context& ctx, const LstmBackward& op, const FastVariant& v, Recurrence& a) {
  const int I = op.x.dim(2), H = a.H, N = a.T * a.B, hidden = round_up(I, 8), width = round_up(hidden + H + 1, 8);
  const bool wide_x = I % 4 == 0, wide_h = H % 4 == 0 && aligned(op.h.data) && aligned(op.h_mask.data);
  const auto [order, recurrent] = order_and_weights<true>(ctx, op.lengths.data, op.w_h.data, v, a);
  const auto inputs = rounded<true>(ctx,
                                    StepInputs{op.x.data, op.h.data, op.h_mask.data, op.lengths.data, Divisor(a.B), I,
                                               hidden, a.T, H, a.D, wide_x && aligned(op.x.data), wide_h},
                                    std::int64_t{a.D} * N, width);
  const auto weights =
      rounded<true>(ctx, InputWeights{op.w_x.data, nullptr, I, H, hidden, wide_x && aligned(op.w_x.data)},
                    op.d_x ? std::int64_t{4} * a.D * H : 0, hidden);
  a.d_gates_bf16 = ctx.arena().make<std::uint16_t, 4>({a.T, a.B, a.D, 4 * H}).data;
  for_each_of(ctx, op.name, order, recurrent, inputs, weights);
  return {.inputs = inputs.f.to, .weights = op.d_x ? weights.f.to : nullptr, .inputs_h = hidden, .inputs_row = width};
}

void finish(Context& ctx, const LstmBackward& op, const BackwardOperands& from, const Recurrence& a) {
  const int I = op.x.dim(2), H = a.H, N = a.T * a.B, rows = 4 * H;
  const auto sums = ctx.arena().make<float, 3>({a.D, rows, from.inputs_row});
  gemm(ctx, GemmBf16{.transpose_a = true,
                     .m = rows,
                     .n = from.inputs_row,
                     .k = N,
                     .batch = a.D,
                     .a = a.d_gates_bf16,
                     .lda = a.D * rows,
                     .stride_a = rows,
                     .b = from.inputs,
                     .ldb = from.inputs_row,
                     .stride_b = std::int64_t{N} * from.inputs_row,
                     .c = sums.data,
                     .ldc = from.inputs_row,
                     .stride_c = std::int64_t{rows} * from.inputs_row});
  const auto add = [&]<int N>(std::integral_constant<int, N>) {
    const int per_row = AddGradients<N>::threads_of_row(I, H);
    for_each(ctx, op.name, std::int64_t{a.D} * rows * per_row,
             AddGradients<N>{sums.data, op.d_w_x.data, op.d_w_h.data, op.d_b.data, Divisor(H), Divisor(per_row), I,
                             from.inputs_h, from.inputs_row});
  };
  if (I % 4 == 0 && H % 4 == 0 && aligned(op.d_w_x.data) && aligned(op.d_w_h.data)) {
    add(std::integral_constant<int, 4>());
  } else {
    add(std::integral_constant<int, 1>());
  }
  if (!from.weights) return;
  gemm(ctx, GemmBf16{.m = N,
                     .n = I,
                     .k = a.D * rows,
                     .a = a.d_gates_bf16,
                     .lda = a.D * rows,
                     .b = from.weights,
                     .ldb = from.inputs_h,
                     .c = op.d_x.data,
                     .ldc = I});
}

}  // namespace bib::device::lstm
