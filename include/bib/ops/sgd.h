// Stochastic gradient descent with classical momentum and weight decay.
//   g = scale[0] * grad + weight_decay value;   velocity = momentum velocity + g;   value -= lr velocity
#pragma once
#include <span>
#include <tuple>

#include "bib/context.h"

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

/// The same on the rows of a table that this step touched; rows not touched rest, velocity included.
struct SgdRows {
  static constexpr std::string_view name = "sgd_rows";
  View<const int, 1> rows;        // [U]    unique
  View<const real, 2> d_rows;     // [U,E]
  View<const real, 1> scale;      // [1]
  View<real, 2> value, velocity;  // [V,E]  updated in place at `rows`
  SgdHyper hyper;
  static auto operands(auto& o) { return std::tie(o.rows, o.d_rows, o.scale, o.value, o.velocity); }
  void check() const {
    expect_shape(name, "d_rows", d_rows, {rows.dim(0), value.dim(1)});
    expect_shape(name, "scale", scale, {1});
    expect_shape(name, "velocity", velocity, value.shape);
  }
  void check_values() const { expect_values(name, "rows", rows, 0, value.dim(0) - 1); }
};

void on_cpu(Context&, const SgdStep&);
void on_cuda(Context&, const SgdStep&);
void on_cpu(Context&, const SgdRows&);
void on_cuda(Context&, std::span<const SgdRows>);

}  // namespace bib
