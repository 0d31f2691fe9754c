// The inner loop of Adam, compiled per instruction set.
#pragma once
#include <cstdint>

#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {

/// What one update needs, bias corrections folded in:
///   g = scale grad;  m = keep_m m + add_m g;  v = keep_v v + add_v g^2
///   value = keep_value value - rate m / (root sqrt(v) + epsilon)
struct AdamFactors {
  real scale, keep_m, add_m, keep_v, add_v, keep_value, rate, root, epsilon;
};

struct AdamSimd {
  void (*update)(const AdamFactors& a, std::int64_t n, const real* grad, real* value, real* m, real* v);
};

BIB_TABLES(AdamSimd, adam)

}  // namespace bib
