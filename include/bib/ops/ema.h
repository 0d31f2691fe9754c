// Exponential moving average of the weights (Polyak & Juditsky 1992):  average = decay average + (1-decay) value
#pragma once
#include <span>
#include <tuple>

#include "bib/context.h"

namespace bib {

struct EmaStep {
  static constexpr std::string_view name = "ema_step";
  View<const real, 1> value;  // [N]
  View<real, 1> average;      // [N]  updated in place
  float decay = 0.999f;
  static auto operands(auto& o) { return std::tie(o.value, o.average); }
  void check() const { expect_shape(name, "average", average, value.shape); }
};

/// The same for rows of a table whose average is complete up to averaged_step[row]: exact, because a row that rests is
/// constant.
///   average = value + decay^(step - averaged_step) (average - value)
/// Run it before the optimiser changes `rows`, with the step that is about to be made minus one, or over all rows at
/// the end of training.
struct EmaRows {
  static constexpr std::string_view name = "ema_rows";
  View<const int, 1> rows;     // [U]    unique
  View<const real, 2> value;   // [V,E]
  View<real, 2> average;       // [V,E]  updated in place at `rows`
  View<int, 1> averaged_step;  // [V]    step up to which the row's average is complete; set to `step` at `rows`
  float decay = 0.999f;
  int step = 1;
  static auto operands(auto& o) { return std::tie(o.rows, o.value, o.average, o.averaged_step); }
  void check() const {
    expect_shape(name, "average", average, value.shape);
    expect_shape(name, "averaged_step", averaged_step, {value.dim(0)});
  }
  void check_values() const { expect_values(name, "rows", rows, 0, value.dim(0) - 1); }
};

void on_cpu(Context&, const EmaStep&);
void on_cuda(Context&, const EmaStep&);
void on_cpu(Context&, const EmaRows&);
void on_cuda(Context&, std::span<const EmaRows>);

}  // namespace bib
