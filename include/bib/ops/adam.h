// Adam (Kingma & Ba, ICLR 2015) with decoupled weight decay (AdamW, Loshchilov & Hutter, ICLR 2019).
//   g = scale[0] * grad;   m = beta1 m + (1-beta1) g;   v = beta2 v + (1-beta2) g^2
//   value -= lr ( m/(1-beta1^step) / (sqrt(v/(1-beta2^step)) + epsilon) + weight_decay value )
#pragma once
#include <span>
#include <tuple>

#include "bib/context.h"
#include "bib/ops/row_gradient.h"

namespace bib {

struct AdamHyper {
  float lr = 1e-3f, beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f, weight_decay = 0;
  int step = 1;  // 1 for the first update
};

struct AdamStep {
  static constexpr std::string_view name = "adam_step";
  View<const real, 1> grad;   // [N]
  View<const real, 1> scale;  // [1]  from ClipScale
  View<real, 1> value, m, v;  // [N]  updated in place
  AdamHyper hyper;
  static auto operands(auto& o) { return std::tie(o.grad, o.scale, o.value, o.m, o.v); }
  void check() const {
    expect_shape(name, "scale", scale, {1});
    expect_shape(name, "value", value, grad.shape);
    expect_shape(name, "m", m, grad.shape);
    expect_shape(name, "v", v, grad.shape);
    expect(hyper.step >= 1, "adam_step: step counts from 1");
  }
};

/// Adam on the rows of a table that this step touched. The moments of a row that slept k steps are first decayed by
/// beta^k (lazy Adam without it misses the dense optimiser's accuracy); weight decay likewise acts on touched rows
/// only. The gradient is d_rows, or summed here from d_y.
struct AdamRows {
  static constexpr std::string_view name = "adam_rows";
  View<const int, 1> rows;       // [U]      unique
  View<const real, 2> d_rows;    // [U,E]    left out with d_y
  View<const int, 1> offsets;    // [U+1]    as EmbeddingBackward's, only with d_y
  View<const int, 1> positions;  // [N]
  View<const real, 3> d_y;       // [T,B,Y]  may be left out; reads columns column..column+E-1
  View<const real, 1> scale;     // [1]
  View<real, 2> value, m, v;     // [V,E]    updated in place at `rows`
  View<int, 1> last_step;        // [V]      step that last touched the row, 0 at first
  AdamHyper hyper;
  int column = 0;
  static auto operands(auto& o) {
    return std::tie(o.rows, o.d_rows, o.offsets, o.positions, o.d_y, o.scale, o.value, o.m, o.v, o.last_step);
  }
  void check() const {
    check_row_gradient(*this);
    expect_shape(name, "scale", scale, {1});
    expect_shape(name, "m", m, value.shape);
    expect_shape(name, "v", v, value.shape);
    expect_shape(name, "last_step", last_step, {value.dim(0)});
    expect(hyper.step >= 1, "adam_rows: step counts from 1");
  }
  void check_values() const { check_row_gradient_values(*this); }
};

void on_cpu(Context&, const AdamStep&);
void on_cuda(Context&, const AdamStep&);
void on_cpu(Context&, const AdamRows&);
void on_cuda(Context&, std::span<const AdamRows>);

}  // namespace bib
