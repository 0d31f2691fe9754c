// Max over time: y[b,f] = max_{t < lengths[b]} x[t,b,f]. Ties go to the earliest step; length 0 gives y = 0, where =
// -1.
#pragma once
#include <tuple>

#include "bib/context.h"

namespace bib {

struct MaxPoolForward {
  static constexpr std::string_view name = "max_pool_forward";
  View<const real, 3> x;       // [T,B,F]
  View<const int, 1> lengths;  // [B]  0..T
  View<real, 2> y;             // [B,F]
  View<int, 2> where;          // [B,F]  the winning step
  static auto operands(auto& o) { return std::tie(o.x, o.lengths, o.y, o.where); }
  void check() const {
    expect_shape(name, "lengths", lengths, {x.dim(1)});
    expect_shape(name, "y", y, {x.dim(1), x.dim(2)});
    expect_shape(name, "where", where, {x.dim(1), x.dim(2)});
  }
  void check_values() const { expect_values(name, "lengths", lengths, 0, x.dim(0)); }
};

struct MaxPoolBackward {
  static constexpr std::string_view name = "max_pool_backward";
  View<const int, 2> where;  // [B,F]
  View<const real, 2> d_y;   // [B,F]
  View<real, 3> d_x;         // [T,B,F]  =
  static auto operands(auto& o) { return std::tie(o.where, o.d_y, o.d_x); }
  void check() const {
    expect_shape(name, "d_y", d_y, where.shape);
    expect_shape(name, "d_x", d_x, {d_x.dim(0), where.dim(0), where.dim(1)});
  }
  void check_values() const { expect_values(name, "where", where, -1, d_x.dim(0) - 1); }
};

void on_cpu(Context&, const MaxPoolForward&);
void on_cuda(Context&, const MaxPoolForward&);
void on_cpu(Context&, const MaxPoolBackward&);
void on_cuda(Context&, const MaxPoolBackward&);

}  // namespace bib
