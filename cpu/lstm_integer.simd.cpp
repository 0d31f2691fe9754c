// The LSTM's forward pass with products of integers (cpu/lstm_integer.simd.h): the same walk through time as
// cpu/lstm.simd.cpp.
#undef BIB_REAL  // floats whatever the library's real is; the one in double never comes here
#include "cpu/lstm_integer.simd.h"

#include "cpu/dot.h"
#include "cpu/lstm_steps.h"
#include "cpu/panel.h"

namespace bib::BIB_ISA {
namespace {

/// About 1/x, relative error below 6.2e-5.
BIB_INLINE vec reciprocal(vec x) {
#if defined(__AVX512F__)
  return (vec)_mm512_maskz_rcp14_ps(0xFFFF, (__m512)x);  // the plain one warns of an undefined source
#elif defined(__AVX2__)
  const vec r = (vec)_mm256_rcp_ps((__m256)x);
  return r * (2 - x * r);
#elif defined(__aarch64__)
  const vec r = (vec)vrecpeq_f32((float32x4_t)x);
  return r * (2 - x * r);
#else
  const vec r = (vec)_mm_rcp_ps((__m128)x);
  return r * (2 - x * r);
#endif
}

/// A quotient that is not yet divided, so that a product of two costs one division.
struct Ratio {
  vec over, under;
};
BIB_INLINE vec divided(Ratio r) { return r.over * reciprocal(r.under); }
BIB_INLINE Ratio operator*(Ratio a, Ratio b) { return {a.over * b.over, a.under * b.under}; }

// tanh x = x (x^4 + p2 x^2 + p0) / (q4 x^4 + q2 x^2 + q0): of this form, the least largest error on |x| <= 5, as linear
// programming finds it: 5e-5, with the division's 6e-5 at most below half a step of either code.
namespace rational {
constexpr float p2 = 155.33438f, p0 = 1526.7924f, q4 = 19.299513f, q2 = 663.51752f, q0 = 1527.0825f, limit = 5;
}

BIB_INLINE vec limited(vec x, float most) { return min(splat(most), max(splat(-most), x)); }  // so, NaN stays
BIB_INLINE Ratio quick_tanh(vec x) {
  using namespace rational;
  x = limited(x, limit);
  const vec s = x * x;
  return {x * ((s + p2) * s + p0), (s * q4 + q2) * s + q0};
}
/// 1/2 + tanh(x/2)/2, the halves multiplied into the coefficients.
BIB_INLINE Ratio quick_sigmoid(vec x) {
  using namespace rational;
  x = limited(x, 2 * limit);
  const vec s = x * x;
  const vec under = (s * (4 * q4) + 16 * q2) * s + 64 * q0;
  return {fma(x, (s + 4 * p2) * s + 16 * p0, under * 0.5f), under};
}

/// x [n] as codes with a scale of its own, so that a token's codes do not depend on the tokens beside it.
template <class Codes>
float quantise(const float* x, int n, float levels, unsigned char* to) {
  vec most{};
  for (int k = 0; k < n; k += lanes) {
    const vec v = load_some(x + k, n - k);
    most = max(max(v, -v), most);
  }
  const float largest_x = largest(most);
  const vec inverse = splat(largest_x > 0 ? levels / largest_x : 0);
  for (int k = 0; k < n; k += lanes) store_codes<Codes>(to + k * Codes::bytes, load_some(x + k, n - k) * inverse);
  return largest_x / levels;
}

/// Where a block of units lies in one step, from some sentence on. A copy: what is stored could change what lies
/// behind a reference, for all the compiler knows.
struct Cells {
  float *c, *h, levels;
  unsigned char* state;
  const int* sentence;
  std::ptrdiff_t height, columns;
  int left;  // units of this block and of those after it
};

/// The cell of sentence s, given the sums that go into its gates.
template <class Codes>
BIB_INLINE void write_cell(const Cells& to, int s, const vec (&sums)[4]) {
  const Ratio i = quick_sigmoid(sums[0]), f = quick_sigmoid(sums[1]), g = quick_tanh(sums[2]),
              o = quick_sigmoid(sums[3]);
  const vec c = fma(divided(f), load(to.c + s * to.height), divided(i * g));
  const vec h = divided(o * quick_tanh(c));
  store(to.c + s * to.height, c);
  store_codes<Codes>(to.state + s * to.height * Codes::bytes, h * to.levels);
  store_some(to.h + to.sentence[s] * to.columns, h, to.left);
}

template <class Codes, bool Native>
struct Forward {
  const LstmIntegerUnit& u;
  const int height = padded(u.H), width = 4 * height;
  const int x_groups = padded(u.I) / Codes::per_group, h_groups = height / Codes::per_group;
  const int x_used = (u.I + Codes::per_group - 1) / Codes::per_group;  // the rest is zeros
  int now = 0;

  void add(int row, std::ptrdiff_t token) {
    u.x_scale[row] =
        quantise<Codes>(u.x + token * u.I, u.I, u.levels_x, u.x_codes + std::ptrdiff_t{row} * x_groups * 4);
  }

  void products(int rows) {
    for (int block = 0; block < blocks_of(u.H); ++block) {
      const int at = block * 4 * lanes;
      const int* panel = u.w_x.codes + std::ptrdiff_t{at} * x_groups;
      for_tiles(rows, [&](auto S, int row) {
        // Pointers of its own: what is stored could change those behind a reference, for all the compiler knows.
        const float *const scale = u.w_x.scale + at, *const b = u.b + at, *const x_scale = u.x_scale + row;
        float* const products = u.products + std::ptrdiff_t{row} * width + at;
        const std::ptrdiff_t stride = width;
        ivec acc[S.value][4];
        const unsigned char* a[S.value];
        for (int s = 0; s < S.value; ++s) a[s] = u.x_codes + std::ptrdiff_t{row + s} * x_groups * 4;
        begin_sums(acc, u.w_x.start + at);
        multiply_codes<Codes, Native>(acc, a, panel, x_used);
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) {
          const vec weight = load(scale + v * lanes), bias = load(b + v * lanes);
#pragma GCC unroll 8
          for (int s = 0; s < S.value; ++s)
            store(products + s * stride + v * lanes,
                  fma(__builtin_convertvector(acc[s][v], vec), weight * x_scale[s], bias));
        }
      });
    }
  }

  inline __attribute__((always_inline)) Cells cells(int t, int row, int block) const {
    const std::ptrdiff_t unit = block * lanes, here = std::ptrdiff_t{row} * height + unit, columns = u.D * u.H;
    return {.c = u.cell + here,
            .h = u.h + std::ptrdiff_t{t} * u.B * columns + unit,
            .levels = u.levels_h,
            .state = u.state[1 - now] + here * Codes::bytes,
            .sentence = u.sentence + row,
            .height = height,
            .columns = columns,
            .left = u.H - block * lanes};
  }

  void step(int t, int first_row) {
    const float* products = u.products + std::ptrdiff_t{first_row} * width;
    const int old = carried(u, t);
    const unsigned char* last = u.state[now];
    for (int block = 0; block < blocks_of(u.H); ++block) {
      const int at = block * 4 * lanes;
      const int* panel = u.w_h.codes + std::ptrdiff_t{at} * h_groups;
      for_tiles(old, [&](auto S, int row) {
        const float* const scale = u.w_h.scale + at;
        const float* const row_products = products + std::ptrdiff_t{row} * width + at;
        const Cells to = cells(t, row, block);
        const std::ptrdiff_t stride = width;
        ivec acc[S.value][4];
        const unsigned char* a[S.value];
        for (int s = 0; s < S.value; ++s) a[s] = last + std::ptrdiff_t{row + s} * h_groups * 4;
        begin_sums(acc, u.w_h.start + at);
        multiply_codes<Codes, Native>(acc, a, panel, h_groups);
#pragma GCC unroll 8
        for (int s = 0; s < S.value; ++s) {
          vec sums[4];
#pragma GCC unroll 4
          for (int v = 0; v < 4; ++v)
            sums[v] = fma(__builtin_convertvector(acc[s][v], vec), load(scale + v * lanes),
                          load(row_products + s * stride + v * lanes));
          write_cell<Codes>(to, s, sums);
        }
      });
      for (int j = old; j < u.active[t]; ++j) {  // first step of these sentences: h before it is 0
        vec sums[4];
        for (int v = 0; v < 4; ++v) sums[v] = load(products + std::ptrdiff_t{j} * width + at + v * lanes);
        write_cell<Codes>(cells(t, j, block), 0, sums);
      }
    }
    clear_padding(u, t, u.active[t]);
    now = 1 - now;
  }
};

template <class Codes, bool Native>
void forward(const LstmIntegerUnit& u) {
  __builtin_memset(u.cell, 0, sizeof(float) * static_cast<std::size_t>(u.count) * padded(u.H));
  through_time(u, Forward<Codes, Native>{u});
  for (int t = u.steps; t < u.T; ++t) clear_padding(u, t, 0);
}

}  // namespace

const LstmIntegerKernels lstm_integer{
    .lanes = lanes,
    .zero = {Codes16::zero, Codes8::zero},
    .forward = {{forward<Codes16, false>, forward<Codes16, true>}, {forward<Codes8, false>, forward<Codes8, true>}}};

}  // namespace bib::BIB_ISA
