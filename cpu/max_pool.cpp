// Max over time, one sequence per task; rows of F are read contiguously.
#include "bib/ops/max_pool.h"

#include <algorithm>

#include "cpu/parallel.h"

namespace bib {

void on_cpu(Context& ctx, const MaxPoolForward& op) {
  const int F = op.x.dim(2);
  parallel_for(ctx, op.x.dim(1), [&](int b) {
    real* y = op.y[b].data;
    int* where = op.where[b].data;
    const bool empty = op.lengths[b] == 0;
    if (empty) {
      std::fill_n(y, F, real(0));
    } else {
      std::copy_n(op.x[0][b].data, F, y);  // the first step stands unconditionally, so that NaN is not lost
    }
    std::fill_n(where, F, empty ? -1 : 0);
    for (int t = 1; t < op.lengths[b]; ++t) {
      const real* x = op.x[t][b].data;
      for (int f = 0; f < F; ++f) {
        const bool better = x[f] > y[f];
        y[f] = better ? x[f] : y[f];
        where[f] = better ? t : where[f];
      }
    }
  });
}

void on_cpu(Context& ctx, const MaxPoolBackward& op) {
  const int T = op.d_x.dim(0), F = op.d_x.dim(2);
  parallel_for(ctx, op.d_x.dim(1), [&](int b) {
    for (int t = 0; t < T; ++t) std::fill_n(op.d_x[t][b].data, F, real(0));
    for (int f = 0; f < F; ++f) {
      const int t = op.where[b][f];
      if (t >= 0) op.d_x[t][b][f] = op.d_y[b][f];
    }
  });
}

}  // namespace bib
