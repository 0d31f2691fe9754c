// The fully connected layer's forward product, compiled per instruction set.
#pragma once
#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {

struct LinearSimd {
  int lanes;
  /// w[O,I] as panels of columns for `forward`: ceil(O / lanes) * lanes * I values.
  void (*pack)(const real* w, int O, int I, real* packed);
  /// y[r][o] = bias[o] + sum_i x[r][i] w[o][i], one chain of fused steps in the order of i: what a row gives does not
  /// depend on the rows beside it. `bias` is padded with anything to a multiple of `lanes`.
  void (*forward)(const real* x, int rows, int I, const real* packed, const real* bias, int O, real* y);
};

BIB_TABLES(LinearSimd, linear)

}  // namespace bib
