#pragma once
#include "tests/harness.h"

namespace bib::test {

struct LstmShape {
  std::string_view name;
  int T, B, I, H, D;
  bool masked = false;
};
inline void PrintTo(const LstmShape& s, std::ostream* out) { *out << s.name; }

/// Variational dropout as models draw it: units kept are scaled up, one mask for all steps of a sequence.
inline View<real, 3> recurrent_mask(Maker& m, int D, int B, int H) {
  View<real, 3> mask = m.uniform({D, B, H});
  for (std::int64_t i = 0; i < mask.size(); ++i) mask.data[i] = mask.data[i] < real(-0.5) ? real(0) : real(1.25);
  return mask;
}

template <>
struct Samples<LstmForward> {
  static constexpr LstmShape shapes[] = {{"one", 1, 1, 1, 1, 1},          {"no_sentences", 3, 0, 2, 4, 2},
                                         {"no_time", 0, 2, 3, 4, 2},      {"odd_tails", 7, 3, 5, 9, 2},
                                         {"one_way", 5, 4, 3, 17, 1},     {"recurrent_dropout", 6, 5, 4, 11, 2, true},
                                         {"full_lanes", 4, 7, 16, 32, 2}, {"deep_sums", 3, 5, 150, 140, 2}};
  static constexpr LstmShape timed[] = {{"square_32x64x256", 64, 32, 256, 256, 2},
                                        {"ner_32x62x200", 62, 32, 200, 200, 2, true},
                                        {"ner_32x62x128", 62, 32, 128, 128, 2},
                                        {"serve_1x64x256", 64, 1, 256, 256, 2}};
  // Order of operands(): x lengths w_x w_h b h_mask h gates c.
  static constexpr std::string_view layout[] = {"TBI", "B", "", "", "", "DBH", "TBH", "DTBG", "DTBH"};

  static LstmForward make(Maker& m, const LstmShape& s) {
    const auto [name, T, B, I, H, D, masked] = s;
    // Weights that keep the gates' sums of order one, as a trained layer's do.
    const float x = 1 / std::sqrt(static_cast<float>(I)), h = 1 / std::sqrt(static_cast<float>(H));
    LstmForward op{.x = m.uniform({T, B, I}),
                   .lengths = m.lengths(B, T),
                   .w_x = m.uniform({D, 4 * H, I}, -x, x),
                   .w_h = m.uniform({D, 4 * H, H}, -h, h),
                   .b = m.uniform({D, 4 * H}),
                   .h = m.output({T, B, D * H}),
                   .gates = m.output({D, T, B, 4 * H}),
                   .c = m.output({D, T, B, H})};
    if (masked) op.h_mask = recurrent_mask(m, D, B, H);
    return op;
  }
  static Writes writes(const LstmForward& op, const void* output, std::int64_t i) {
    if (output == op.h.data) return Writes::set;
    const std::int64_t width = output == op.c.data ? op.c.dim(3) : op.gates.dim(3);
    const std::int64_t B = op.c.dim(2), T = op.c.dim(1), row = i / width;
    return row / B % T < op.lengths[row % B] ? Writes::set : Writes::any;
  }
  static int reduction(const LstmShape& s) { return s.T * (s.I + s.H); }  // rounding passes on from step to step
  static double flops(const LstmForward& op) {
    return 2.0 * steps(op.lengths) * static_cast<double>(op.w_x.size() + op.w_h.size());
  }
};

template <>
struct Samples<LstmBackward> {
  static constexpr auto& shapes = Samples<LstmForward>::shapes;
  static constexpr auto& timed = Samples<LstmForward>::timed;
  // Order of operands(): x lengths w_x w_h h_mask h gates c d_h d_x d_w_x d_w_h d_b.
  static constexpr std::string_view layout[] = {"TBI",  "B",   "",    "", "DBH", "TBH", "DTBG",
                                                "DTBH", "TBH", "TBI", "", "",    ""};

  static LstmBackward make(Maker& m, const LstmShape& s) {
    const LstmForward f = m.run(Samples<LstmForward>::make(m, s));  // first: operands are drawn in order
    return of(m, f, m.uniform({s.T, s.B, s.D * s.H}));
  }
  static LstmBackward of(Maker& m, const LstmForward& f, View<const real, 3> d_h) {
    return {.x = f.x,
            .lengths = f.lengths,
            .w_x = f.w_x,
            .w_h = f.w_h,
            .h_mask = f.h_mask,
            .h = f.h,
            .gates = f.gates,
            .c = f.c,
            .d_h = d_h,
            .d_x = m.output(f.x.shape),
            .d_w_x = m.zeros(f.w_x.shape),
            .d_w_h = m.zeros(f.w_h.shape),
            .d_b = m.zeros(f.b.shape)};
  }
  static Writes writes(const LstmBackward& op, const void* output, std::int64_t) {
    return output == op.d_x.data ? Writes::set : Writes::add;
  }
  static int reduction(const LstmShape& s) { return s.T * std::max(s.B, 4 * s.H); }
  static double flops(const LstmBackward& op) {
    return 4.0 * steps(op.lengths) * static_cast<double>(op.w_x.size() + op.w_h.size());
  }
};

template <>
struct Gradient<LstmForward> {
  static auto inputs(auto& f) { return std::tie(f.x, f.w_x, f.w_h, f.b); }
  static auto outputs(auto& f) { return std::tie(f.h); }
  static auto gradients(Maker& m, const LstmForward& f, View<const real, 3> d_h) {
    const LstmBackward g = m.run(Samples<LstmBackward>::of(m, f, d_h));
    return std::tuple{g.d_x, g.d_w_x, g.d_w_h, g.d_b};
  }
};

}  // namespace bib::test
