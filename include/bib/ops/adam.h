// Adam (Kingma & Ba, ICLR 2015) with decoupled weight decay (AdamW, Loshchilov & Hutter, ICLR 2019).
//   g = scale[0] * grad;   m = beta1 m + (1-beta1) g;   v = beta2 v + (1-beta2) g^2
//   value -= lr ( m/(1-beta1^step) / (sqrt(v/(1-beta2^step)) + epsilon) + weight_decay value )
#pragma once
#include <span>
#include <tuple>

#include "bib/context.h"

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
/// only.
struct AdamRows {
  static constexpr std::string_view name = "adam_rows";
  View<const int, 1> rows;     // [U]    unique
  View<const real, 2> d_rows;  // [U,E]
  View<const real, 1> scale;   // [1]
  View<real, 2> value, m, v;   // [V,E]  updated in place at `rows`
  View<int, 1> last_step;      // [V]    step that last touched the row, 0 at first
  AdamHyper hyper;
  static auto operands(auto& o) { return std::tie(o.rows, o.d_rows, o.scale, o.value, o.m, o.v, o.last_step); }
  void check() const {
    expect_shape(name, "d_rows", d_rows, {rows.dim(0), value.dim(1)});
    expect_shape(name, "scale", scale, {1});
    expect_shape(name, "m", m, value.shape);
    expect_shape(name, "v", v, value.shape);
    expect_shape(name, "last_step", last_step, {value.dim(0)});
    expect(hyper.step >= 1, "adam_rows: step counts from 1");
  }
  void check_values() const { expect_values(name, "rows", rows, 0, value.dim(0) - 1); }
};

void on_cpu(Context&, const AdamStep&);
void on_cuda(Context&, const AdamStep&);
void on_cpu(Context&, const AdamRows&);
void on_cuda(Context&, std::span<const AdamRows>);

}  // namespace bib
