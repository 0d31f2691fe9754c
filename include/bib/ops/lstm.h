// One LSTM layer over a whole batch of sequences (Hochreiter & Schmidhuber 1997, with forget gate, Gers et al. 2000).
//   [i f g o]_t = w_x x_t + w_h (h_{t-1} * h_mask) + b      gate order i f g o;  i,f,o = sigmoid, g = tanh
//   c_t = f c_{t-1} + i g      h_t = o tanh(c_t)
// D = 1 reads left to right; D = 2 adds right to left, starting at each sequence's own last step.
// Steps at or past a sequence's length give h = 0 and d_x = 0; what gates and c hold there is unspecified.
// In fast math a GPU may leave gates in a form of its own: they are for backward in the same context.
// h_mask is recurrent variational dropout (Gal & Ghahramani 2016): one mask per sequence, already scaled by 1/(1-p).
#pragma once
#include <memory>
#include <tuple>

#include "bib/context.h"

namespace bib {

/// A layer's weights made ready for the device once, so that forward need not do it at every call. Immutable.
struct LstmPacked;
/// On the CPU, in the context's math: with `fast` and `int8`, forward computes with 16- and 8-bit integers
/// (docs/numerics.md). Null on other devices, which read the weights as they are.
std::shared_ptr<const LstmPacked> pack_lstm(Context&, View<const real, 3> w_x, View<const real, 3> w_h,
                                            View<const real, 2> b);

struct LstmForward {
  static constexpr std::string_view name = "lstm_forward";
  View<const real, 3> x;         // [T,B,I]
  View<const int, 1> lengths;    // [B]  0..T
  View<const real, 3> w_x, w_h;  // [D,4H,I] [D,4H,H]
  View<const real, 2> b;         // [D,4H]
  View<const real, 3> h_mask;    // [D,B,H]  may be left out: no recurrent dropout
  View<real, 3> h;               // [T,B,D*H]  direction d in columns d*H..d*H+H-1
  View<real, 4> gates, c;        // [D,T,B,4H] [D,T,B,H]  activated gates and cells for backward, both of them or none
  const LstmPacked* packed = nullptr;  // of these weights, to predict: without h_mask, gates and c
  static auto operands(auto& o) { return std::tie(o.x, o.lengths, o.w_x, o.w_h, o.b, o.h_mask, o.h, o.gates, o.c); }
  void check() const {
    const int T = x.dim(0), B = x.dim(1), I = x.dim(2), D = w_h.dim(0), H = w_h.dim(2);
    expect(D == 1 || D == 2, "lstm_forward: directions must be 1 or 2");
    expect_shape(name, "lengths", lengths, {B});
    expect_shape(name, "w_x", w_x, {D, 4 * H, I});
    expect_shape(name, "w_h", w_h, {D, 4 * H, H});
    expect_shape(name, "b", b, {D, 4 * H});
    expect_shape_or_none(name, "h_mask", h_mask, {D, B, H});
    expect_shape(name, "h", h, {T, B, D * H});
    expect_shape_or_none(name, "gates", gates, {D, T, B, 4 * H});
    expect_shape_or_none(name, "c", c, {D, T, B, H});
    expect(!gates == !c, "lstm_forward: gates and c are given together or not at all");
    expect(!packed || (!h_mask && !gates), "lstm_forward: packed weights are for prediction");
  }
  void check_values() const { expect_values(name, "lengths", lengths, 0, x.dim(0)); }
};

struct LstmBackward {
  static constexpr std::string_view name = "lstm_backward";
  View<const real, 3> x;  // as in forward
  View<const int, 1> lengths;
  View<const real, 3> w_x, w_h, h_mask;
  View<const real, 3> h;  // what forward wrote
  View<const real, 4> gates, c;
  View<const real, 3> d_h;     // [T,B,D*H]
  View<real, 3> d_x;           // [T,B,I]   =   may be left out
  View<real, 3> d_w_x, d_w_h;  // [D,4H,I] [D,4H,H]  +=
  View<real, 2> d_b;           // [D,4H]    +=
  static auto operands(auto& o) {
    return std::tie(o.x, o.lengths, o.w_x, o.w_h, o.h_mask, o.h, o.gates, o.c, o.d_h, o.d_x, o.d_w_x, o.d_w_h, o.d_b);
  }
  void check() const {
    const int T = x.dim(0), B = x.dim(1), I = x.dim(2), D = w_h.dim(0), H = w_h.dim(2);
    expect_shape(name, "lengths", lengths, {B});
    expect_shape(name, "w_x", w_x, {D, 4 * H, I});
    expect_shape(name, "w_h", w_h, {D, 4 * H, H});
    expect_shape_or_none(name, "h_mask", h_mask, {D, B, H});
    expect_shape(name, "h", h, {T, B, D * H});
    expect_shape(name, "gates", gates, {D, T, B, 4 * H});
    expect_shape(name, "c", c, {D, T, B, H});
    expect_shape(name, "d_h", d_h, h.shape);
    expect_shape_or_none(name, "d_x", d_x, x.shape);
    expect_shape(name, "d_w_x", d_w_x, w_x.shape);
    expect_shape(name, "d_w_h", d_w_h, w_h.shape);
    expect_shape(name, "d_b", d_b, {D, 4 * H});
  }
  void check_values() const { expect_values(name, "lengths", lengths, 0, x.dim(0)); }
};

void on_cpu(Context&, const LstmForward&);
void on_cuda(Context&, const LstmForward&);
void on_cpu(Context&, const LstmBackward&);
void on_cuda(Context&, const LstmBackward&);

}  // namespace bib
