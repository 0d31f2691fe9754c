// A row repeated down a matrix, and the sum of a matrix's rows: a bias and its gradient.
#pragma once
#include "bib/context.h"

namespace bib {

/// y[n] = row for every n.
void repeat_row(Context& ctx, View<const real, 1> row, View<real, 2> y);
/// sum += sum_n x[n], in an order that depends on the shape alone.
void add_rows(Context& ctx, View<const real, 2> x, View<real, 1> sum);

}  // namespace bib
