// Sparse addition. What is added is little: one thread does it.
#include "bib/ops/add_at.h"

namespace bib {

void on_cpu(Context&, const AddAt& op) {
  for (int i = 0; i < op.at.dim(0); ++i) op.y[op.at[i]] += op.value[i];
}

}  // namespace bib
