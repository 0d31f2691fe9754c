// Gradient norm clipping without a round trip to the host (Pascanu et al. 2013).
#pragma once
#include <span>
#include <tuple>

#include "bib/context.h"
#include "bib/ops/row_gradient.h"

namespace bib {

/// sum[0] += sum_i x_i^2, reduced in an order that depends on the shapes alone; of x, or of the rows that
/// EmbeddingBackward would make of d_y, which need not be stored then. With run_all(), ops may share sum.
struct NormSquared {
  static constexpr std::string_view name = "norm_squared";
  View<const real, 1> x;         // [N]      left out with d_y
  View<const int, 1> offsets;    // [U+1]    as EmbeddingBackward's, only with d_y
  View<const int, 1> positions;  // [N]
  View<const real, 3> d_y;       // [T,B,Y]  may be left out; reads columns column..column+E-1
  View<real, 1> sum;             // [1]  +=
  int column = 0, E = 0;
  static auto operands(auto& o) { return std::tie(o.x, o.offsets, o.positions, o.d_y, o.sum); }
  int rows() const { return offsets.dim(0) - 1; }
  void check() const {
    expect_shape(name, "sum", sum, {1});
    if (!d_y) return;
    expect(!x, "norm_squared: x and d_y cannot both be given");
    expect(offsets.dim(0) >= 1, "norm_squared: offsets must hold one value more than there are rows");
    expect(column >= 0 && E >= 1 && column + E <= d_y.dim(2), "norm_squared: column block exceeds d_y");
  }
  void check_values() const {
    if (d_y) check_lookups(*this);
  }
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
