// Convolution, ReLU and max over time in one op (TextCNN; Kim, EMNLP 2014): the [P,B,F] activations are never stored.
//   y[b, column+f] = max(0, b[f] + max_p sum_{w,c} x[p+w-pad, b, c] w[w,c,f])
//   p = 0 .. max(1, lengths[b] + 2 pad - W + 1) - 1,   and steps outside 0..lengths[b]-1 read zeros,
// so a sequence shorter than the window still gives one position, and what stands in padded steps never matters.
// Ties go to the earliest position. ReLU commutes with max, so it is applied once per (b,f).
// Backward touches only the winning positions: 1/P of the dense work.
// The embedding may be part of the op: with a table, x[t,b] = table[ids[t,b]], and x is never stored.
#pragma once
#include <algorithm>
#include <memory>
#include <span>
#include <tuple>

#include "bib/context.h"

namespace bib {

/// Filters made ready for the device once, so that forward need not do it at every call. Immutable; null on devices
/// that read the filters as they are.
struct ConvPoolPacked;
std::shared_ptr<const ConvPoolPacked> pack_conv_pool(Context&, View<const real, 3> w);

struct ConvPoolForward {
  static constexpr std::string_view name = "conv_pool_forward";
  View<const real, 3> x;       // [T,B,C]  left out with a table
  View<const int, 2> ids;      // [T,B]    -1..V-1, only with a table; -1: zeros
  View<const real, 2> table;   // [V,C]    may be left out
  View<const int, 1> lengths;  // [B]      0..T
  View<const real, 3> w;       // [W,C,F]
  View<const real, 1> b;       // [F]
  View<real, 2> y;             // [B,Y]    writes columns column..column+F-1 only
  View<int, 2> where;          // [B,F]    winning position p; -1 where ReLU cut it off. May be left out
  int pad = 0;
  int column = 0;
  const ConvPoolPacked* packed = nullptr;  // of w; may be left out
  static auto operands(auto& o) { return std::tie(o.x, o.ids, o.table, o.lengths, o.w, o.b, o.y, o.where); }
  int steps() const { return table ? ids.dim(0) : x.dim(0); }
  int batch() const { return table ? ids.dim(1) : x.dim(1); }
  int channels() const { return table ? table.dim(1) : x.dim(2); }
  void check() const {
    const int B = batch(), F = w.dim(2);
    expect(!table || !x, "conv_pool_forward: x and a table cannot both be given");
    expect_shape(name, "lengths", lengths, {B});
    expect_shape(name, "w", w, {w.dim(0), channels(), F});
    expect_shape(name, "b", b, {F});
    expect_shape(name, "y", y, {B, y.dim(1)});
    expect_shape_or_none(name, "where", where, {B, F});
    expect(column >= 0 && column + F <= y.dim(1), "conv_pool_forward: column block exceeds y");
    expect(pad >= 0 && pad < w.dim(0), "conv_pool_forward: pad must be less than the window");
  }
  void check_values() const {
    expect_values(name, "lengths", lengths, 0, steps());
    if (table) expect_values_within(name, "ids", ids, lengths, -1, table.dim(0) - 1);
  }
};

/// With run_all(), ops may share d_x.
struct ConvPoolBackward {
  static constexpr std::string_view name = "conv_pool_backward";
  View<const real, 3> x;  // as in forward
  View<const int, 2> ids;
  View<const real, 2> table;
  View<const int, 1> lengths;
  View<const real, 3> w;
  View<const int, 2> where;  // [B,F]
  View<const real, 2> d_y;   // [B,Y]  reads columns column..column+F-1
  View<real, 3> d_x;         // [T,B,C]  =, or += where add_d_x is set. With a table too. May be left out
  View<real, 3> d_w;         // [W,C,F]  +=
  View<real, 1> d_b;         // [F]      +=
  int pad = 0;
  int column = 0;
  bool add_d_x = false;  // several windows read the same x: the first writes d_x, the others add to it
  static auto operands(auto& o) {
    return std::tie(o.x, o.ids, o.table, o.lengths, o.w, o.where, o.d_y, o.d_x, o.d_w, o.d_b);
  }
  int steps() const { return table ? ids.dim(0) : x.dim(0); }
  int batch() const { return table ? ids.dim(1) : x.dim(1); }
  int channels() const { return table ? table.dim(1) : x.dim(2); }
  void check() const {
    const int B = batch(), F = w.dim(2);
    expect(!table || !x, "conv_pool_backward: x and a table cannot both be given");
    expect_shape(name, "lengths", lengths, {B});
    expect_shape(name, "w", w, {w.dim(0), channels(), F});
    expect_shape(name, "where", where, {B, F});
    expect_shape(name, "d_y", d_y, {B, d_y.dim(1)});
    expect(column >= 0 && column + F <= d_y.dim(1), "conv_pool_backward: column block exceeds d_y");
    expect_shape_or_none(name, "d_x", d_x, {steps(), B, channels()});
    expect_shape(name, "d_w", d_w, w.shape);
    expect_shape(name, "d_b", d_b, {F});
  }
  void check_values() const {
    expect_values(name, "lengths", lengths, 0, steps());
    if (table) expect_values_within(name, "ids", ids, lengths, -1, table.dim(0) - 1);
    expect_values(name, "where", where, -1, std::max(0, steps() + 2 * pad - w.dim(0)));
  }
};

void on_cpu(Context&, const ConvPoolForward&);
void on_cuda(Context&, std::span<const ConvPoolForward>);
void on_cpu(Context&, const ConvPoolBackward&);
void on_cuda(Context&, std::span<const ConvPoolBackward>);

}  // namespace bib
