// Convolution over time (cross-correlation, as the field means it), channels last:
//   y[p,b,f] = b[f] + sum_{w,c} x[p+w-pad, b, c] w[w,c,f]      p = 0..P-1,  P = T + 2 pad - W + 1
// Steps outside 0..T-1 read zeros. The clear path beside the fused conv_pool.h.
#pragma once
#include <tuple>

#include "bib/context.h"

namespace bib {

struct Conv1dForward {
  static constexpr std::string_view name = "conv1d_forward";
  View<const real, 3> x;  // [T,B,C]
  View<const real, 3> w;  // [W,C,F]
  View<const real, 1> b;  // [F]
  View<real, 3> y;        // [P,B,F]
  int pad = 0;
  static auto operands(auto& o) { return std::tie(o.x, o.w, o.b, o.y); }
  void check() const {
    expect_shape(name, "w", w, {w.dim(0), x.dim(2), w.dim(2)});
    expect_shape(name, "b", b, {w.dim(2)});
    expect(pad >= 0 && x.dim(0) + 2 * pad >= w.dim(0), "conv1d_forward: the padded input is shorter than the window");
    expect_shape(name, "y", y, {x.dim(0) + 2 * pad - w.dim(0) + 1, x.dim(1), w.dim(2)});
  }
};

struct Conv1dBackward {
  static constexpr std::string_view name = "conv1d_backward";
  View<const real, 3> x, w;  // as in forward
  View<const real, 3> d_y;   // [P,B,F]
  View<real, 3> d_x;         // [T,B,C]  =   may be left out
  View<real, 3> d_w;         // [W,C,F]  +=
  View<real, 1> d_b;         // [F]      +=
  int pad = 0;
  static auto operands(auto& o) { return std::tie(o.x, o.w, o.d_y, o.d_x, o.d_w, o.d_b); }
  void check() const {
    expect_shape(name, "w", w, {w.dim(0), x.dim(2), w.dim(2)});
    expect_shape(name, "d_y", d_y, {x.dim(0) + 2 * pad - w.dim(0) + 1, x.dim(1), w.dim(2)});
    expect_shape_or_none(name, "d_x", d_x, x.shape);
    expect_shape(name, "d_w", d_w, w.shape);
    expect_shape(name, "d_b", d_b, {w.dim(2)});
  }
};

void on_cpu(Context&, const Conv1dForward&);
void on_cuda(Context&, const Conv1dForward&);
void on_cpu(Context&, const Conv1dBackward&);
void on_cuda(Context&, const Conv1dBackward&);

}  // namespace bib
