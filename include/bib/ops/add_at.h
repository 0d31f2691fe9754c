// Sparse addition:  y[at[i]] += value[i]
#pragma once
#include <tuple>

#include "bib/context.h"

namespace bib {

/// What a dictionary adds to emission scores: -infinity forbids a tag.
struct AddAt {
  static constexpr std::string_view name = "add_at";
  View<const int, 1> at;      // [U]  unique
  View<const real, 1> value;  // [U]
  View<real, 1> y;            // [N]  += at `at`
  static auto operands(auto& o) { return std::tie(o.at, o.value, o.y); }
  void check() const { expect_shape(name, "value", value, at.shape); }
  void check_values() const { expect_values(name, "at", at, 0, y.dim(0) - 1); }
};

void on_cpu(Context&, const AddAt&);
void on_cuda(Context&, const AddAt&);

}  // namespace bib
