// Prediction with integer products: packing weights as codes, and the units of work (cpu/lstm_integer.simd.cpp).
#include <cmath>
#include <cstring>

#include "cpu/isa.h"
#include "cpu/lstm_order.h"
#include "cpu/lstm_packed.h"
#include "cpu/parallel.h"

namespace bib {

namespace {

const LstmIntegerKernels& kernels() { return BIB_SELECT(lstm_integer); }
int padded(int n) { return (n + kernels().lanes - 1) / kernels().lanes * kernels().lanes; }
int per_group(Math math) { return math == Math::int8 ? 4 : 2; }
int zero_point(Math math) { return kernels().zero[math == Math::int8]; }

/// The largest code of weights and activations in sums of K products: 16-bit ones must not exceed 32 bits together.
int levels(Math math, int K) {
  if (math == Math::int8) return 127;
  return static_cast<int>(std::min(4095.0, std::sqrt(2147483647.0 / padded(K))));
}

/// One row of w [K] as codes: where group g of it goes is given by the stride between groups.
void pack_row(const real* w, int K, Math math, int* codes, int stride, int& start, float& scale) {
  const int most = levels(math, K), per = per_group(math);
  double largest = 0;
  for (int k = 0; k < K; ++k) largest = std::max(largest, std::abs(static_cast<double>(w[k])));
  const double inverse = largest > 0 ? most / largest : 0;
  scale = static_cast<float>(largest / most);
  start = 0;
  for (int k = 0; k < K; ++k) {
    const int code = static_cast<int>(std::lrint(static_cast<double>(w[k]) * inverse));
    start -= zero_point(math) * code;
    char* to = reinterpret_cast<char*>(codes + k / per * stride) + k % per * (4 / per);
    std::memcpy(to, &code, static_cast<std::size_t>(4 / per));  // little-endian: the low bytes
  }
}

IntegerWeights pack(View<const real, 2> w, int H, Math math, Arena& memory) {
  const int K = w.dim(1), lanes = kernels().lanes, blocks = padded(H) / lanes, groups = padded(K) / per_group(math);
  const auto codes = memory.make<int, 2>({blocks, groups * 4 * lanes});
  IntegerWeights to{codes.data, memory.make<int, 1>({4 * padded(H)}).data, memory.make<float, 1>({4 * padded(H)}).data};
  std::fill_n(to.codes, codes.size(), 0);
  std::fill_n(to.start, 4 * padded(H), 0);
  std::fill_n(to.scale, 4 * padded(H), 0.0f);
  for (int row = 0; row < 4 * H; ++row) {
    const int gate = row / H, block = row % H / lanes, lane = row % H % lanes;
    const int at = (block * 4 + gate) * lanes + lane;
    pack_row(w[row].data, K, math, codes[block].data + gate * lanes + lane, 4 * lanes, to.start[at], to.scale[at]);
  }
  return to;
}

template <class T>
T* take(Context& ctx, int rows, int columns = 1) {
  return ctx.arena().make<T, 2>({rows, columns}).data;
}

}  // namespace

void pack_integers(View<const real, 3> w_x, View<const real, 3> w_h, View<const real, 2> b, LstmPacked& to) {
  const int lanes = kernels().lanes;
  to.dot = has_dot();
  for (int d = 0; d < to.D; ++d) {
    LstmPacked::Integers one{pack(w_x[d], to.H, to.math, to.memory), pack(w_h[d], to.H, to.math, to.memory),
                             to.memory.make<float, 1>({4 * padded(to.H)}).data};
    std::fill_n(one.b, 4 * padded(to.H), 0.0f);
    for (int row = 0; row < 4 * to.H; ++row)
      one.b[(row % to.H / lanes * 4 + row / to.H) * lanes + row % to.H % lanes] = static_cast<float>(b[d][row]);
    for (int i = 0; i < 4 * padded(to.H); ++i) one.h.scale[i] /= static_cast<float>(levels(to.math, to.H));
    to.integers.push_back(one);
  }
}

void forward_in_integers(Context& ctx, const LstmForward& op) {
  // pack_lstm() never makes integers of doubles; that build only has to compile.
  expect(sizeof(real) == sizeof(float), "lstm_forward: integer products need the library in float");
  const LstmPacked& packed = *op.packed;
  const int D = packed.D, I = packed.I, H = packed.H, code_bytes = 4 / per_group(packed.math);
  const LstmOrder order(op.lengths);
  ArenaScope scope(ctx.arena());
  const std::vector<LstmPart> list = lstm_parts(ctx, order, D);
  std::vector<LstmIntegerUnit> units;
  for (int d = 0; d < D; ++d) {
    for (const LstmPart& part : list) {
      LstmIntegerUnit u{lstm_unit(op, part, d)};
      const LstmPacked::Integers& weights = packed.integers[static_cast<std::size_t>(d)];
      u.x = reinterpret_cast<const float*>(op.x.data);
      u.w_x = weights.x, u.w_h = weights.h, u.b = weights.b;
      u.h = reinterpret_cast<float*>(op.h.data + d * H);
      u.levels_x = static_cast<float>(levels(packed.math, I)), u.levels_h = static_cast<float>(levels(packed.math, H));
      u.chunk_rows = std::max(u.count, lstm_chunk_rows);
      u.x_codes = take<unsigned char>(ctx, u.chunk_rows, padded(I) * code_bytes);
      u.x_scale = take<float>(ctx, u.chunk_rows);
      u.products = take<float>(ctx, u.chunk_rows, 4 * padded(H));
      for (unsigned char*& state : u.state) state = take<unsigned char>(ctx, u.count, padded(H) * code_bytes);
      u.cell = take<float>(ctx, u.count, padded(H));
      units.push_back(u);
    }
  }
  const auto forward = kernels().forward[packed.math == Math::int8][packed.dot];
  parallel_for(ctx, static_cast<int>(units.size()), [&](int i) { forward(units[static_cast<std::size_t>(i)]); });
}

}  // namespace bib
