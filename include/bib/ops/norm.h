// Gradient norm clipping without a round trip to the host (Pascanu et al. 2013).
#pragma once
#include <span>
#include <tuple>

#include "bib/context.h"

namespace bib {

/// sum[0] += sum_i x_i^2, reduced in an order that depends on N alone. With run_all(), ops may share sum.
struct NormSquared {
  static constexpr std::string_view name = "norm_squared";
  View<const real, 1> x;  // [N]
  View<real, 1> sum;      // [1]  +=
  static auto operands(auto& o) { return std::tie(o.x, o.sum); }
  void check() const { expect_shape(name, "sum", sum, {1}); }
};

/// scale[0] = min(1, max_norm / sqrt(sum[0]));  1 when max_norm is 0 (no clipping).
struct ClipScale {
  static constexpr std::string_view name = "clip_scale";
  View<const real, 1> sum;  // [1]
  View<real, 1> scale;      // [1]  =
  float max_norm = 0;
  static auto operands(auto& o) { return std::tie(o.sum, o.scale); }
  void check() const {
    expect_shape(name, "sum", sum, {1});
    expect_shape(name, "scale", scale, {1});
    expect(max_norm >= 0, "clip_scale: max_norm must not be negative");
  }
};

void on_cpu(Context&, const NormSquared&);
void on_cuda(Context&, std::span<const NormSquared>);
void on_cpu(Context&, const ClipScale&);
void on_cuda(Context&, const ClipScale&);

}  // namespace bib
