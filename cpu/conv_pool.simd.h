// The inner loops of the fused convolution, compiled per instruction set.
#pragma once
#include "bib/real.h"
#include "cpu/isa.h"

namespace bib {

/// Filters computed side by side: the combinations that minimal filtering multiplies with (minimal_filter.h), each
/// [C,width], and what comes out, [width].
struct ConvPoolPanel {
  const real* w;
  int width;
  real* best;
  int* where;
};

struct ConvPoolSimd {
  int panel, lanes;  // filters of a panel; the last one may hold any smaller multiple of `lanes`

  /// best[f] = max_p sum_w,c x[(p+w)*C + c] g[w][c][f], where[f] = the first p that reaches it,  f in 0..width-1 of
  /// each panel,  p in 0..positions-1,  w in 0..W-1. x has minimal::rows_read(positions, W) rows and a vector more
  /// behind them; scratch has scratch_size(C, count) reals. The order of a sum depends on p alone.
  int (*scratch_size)(int C, int count);
  void (*best)(const real* x, int positions, int C, int W, const ConvPoolPanel* panels, int count, real* scratch);
  /// y += a x;  y += sum_j a[j] x[j], in the order of j, with the bits of one add after the other
  void (*add)(real a, const real* x, real* y, int n);
  void (*add_all)(const real* a, const real* const* x, int count, real* y, int n);
  /// to[c][r] = from[r][c], or += where `add` is set
  void (*turn)(const real* from, int ld_from, int rows, int columns, bool add, real* to, int ld_to);
};

BIB_TABLES(ConvPoolSimd, conv_pool)

}  // namespace bib
