// Sparse addition: places are unique, so that no two threads meet.
#include "bib/ops/add_at.h"
#include "kernels/elementwise.h"

namespace bib {
namespace device {
namespace {

struct Addition {
  const int* at;
  const float* value;
  float* y;
  __device__ void operator()(std::int64_t i) const { y[at[i]] += value[i]; }
};

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, const AddAt& op) {
  device::for_each(ctx, op.name, op.at.size(), device::Addition{op.at.data, op.value.data, op.y.data});
}

}  // namespace bib
