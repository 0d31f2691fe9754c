// Fully connected layer:  y = x w^T + b
#pragma once
#include <tuple>

#include "bib/context.h"

namespace bib {

struct LinearForward {
  static constexpr std::string_view name = "linear_forward";
  View<const real, 2> x;  // [N,I]
  View<const real, 2> w;  // [O,I]
  View<const real, 1> b;  // [O]
  View<real, 2> y;        // [N,O]
  static auto operands(auto& o) { return std::tie(o.x, o.w, o.b, o.y); }
  void check() const {
    expect_shape(name, "w", w, {w.dim(0), x.dim(1)});
    expect_shape(name, "b", b, {w.dim(0)});
    expect_shape(name, "y", y, {x.dim(0), w.dim(0)});
  }
};

struct LinearBackward {
  static constexpr std::string_view name = "linear_backward";
  View<const real, 2> x, w;  // [N,I] [O,I]  as in forward
  View<const real, 2> d_y;   // [N,O]
  View<real, 2> d_x;         // [N,I]  =   may be left out
  View<real, 2> d_w;         // [O,I]  +=
  View<real, 1> d_b;         // [O]    +=
  static auto operands(auto& o) { return std::tie(o.x, o.w, o.d_y, o.d_x, o.d_w, o.d_b); }
  void check() const {
    expect_shape(name, "w", w, {d_y.dim(1), x.dim(1)});
    expect_shape(name, "d_y", d_y, {x.dim(0), w.dim(0)});
    expect_shape_or_none(name, "d_x", d_x, x.shape);
    expect_shape(name, "d_w", d_w, w.shape);
    expect_shape(name, "d_b", d_b, {w.dim(0)});
  }
};

void on_cpu(Context&, const LinearForward&);
void on_cuda(Context&, const LinearForward&);
void on_cpu(Context&, const LinearBackward&);
void on_cuda(Context&, const LinearBackward&);

}  // namespace bib
