// Stochastic gradient descent with classical momentum and weight decay.
//   g = scale[0] * grad + weight_decay value;   velocity = momentum velocity + g;   value -= lr velocity
#pragma once
#include <span>
#include <tuple>

#include "bib/context.h"
#include "bib/ops/row_gradient.h"

namespace bib {

struct SgdHyper {
  float lr = 0.1f, momentum = 0, weight_decay = 0;
};

struct SgdStep {
  static constexpr std::string_view name = "sgd_step";
  View<const real, 1> grad;       // [N]
  View<const real, 1> scale;      // [1]  from ClipScale
  View<real, 1> value, velocity;  // [N]  updated in place
  SgdHyper hyper;
  static auto operands(auto& o) { return std::tie(o.grad, o.scale, o.value, o.velocity); }
  void check() const {
    expect_shape(name, "scale", scale, {1});
    expect_shape(name, "value", value, grad.shape);
    expect_shape(name, "velocity", velocity, grad.shape);
  }
};

/// The same on the rows of a table that this step touched; rows not touched rest, velocity included. The
/// gradient is d_rows, or summed here from d_y.
struct SgdRows {
  static constexpr std::string_view name = "sgd_rows";
  View<const int, 1> rows;        // [U]      unique
  View<const real, 2> d_rows;     // [U,E]    left out with d_y
  View<const int, 1> offsets;     // [U+1]    as EmbeddingBackward's, only with d_y
  View<const int, 1> positions;   // [N]
  View<const real, 3> d_y;        // [T,B,Y]  may be left out; reads columns column..column+E-1
  View<const real, 1> scale;      // [1]
  View<real, 2> value, velocity;  // [V,E]    updated in place at `rows`
  SgdHyper hyper;
  int column = 0;
  static auto operands(auto& o) {
    return std::tie(o.rows, o.d_rows, o.offsets, o.positions, o.d_y, o.scale, o.value, o.velocity);
  }
  void check() const {
    check_row_gradient(*this);
    expect_shape(name, "scale", scale, {1});
    expect_shape(name, "velocity", velocity, value.shape);
  }
  void check_values() const { check_row_gradient_values(*this); }
};

void on_cpu(Context&, const SgdStep&);
void on_cuda(Context&, const SgdStep&);
void on_cpu(Context&, const SgdRows&);
void on_cuda(Context&, std::span<const SgdRows>);

}  // namespace bib
