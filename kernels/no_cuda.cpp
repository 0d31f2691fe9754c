// Compiled in place of the CUDA sources when bib is built without CUDA: says so, and never pretends.
#include "bib/cuda_backend.h"
#include "bib/error.h"

namespace bib {
namespace {
[[noreturn]] void no_cuda() {
  throw DeviceError("this bib was built without CUDA: use the CPU (--device cpu), or build where nvcc is installed");
}
}  // namespace

CudaState* make_cuda_state(int, Math) { no_cuda(); }
void destroy_cuda_state(CudaState*) noexcept {}
void* cuda_allocate(int, std::size_t) { no_cuda(); }
void cuda_free(void*) noexcept {}
GraphCounts cuda_graph_counts(const CudaState&) { return {}; }
void cuda_copy(CudaState&, void*, Device, const void*, Device, std::size_t) { no_cuda(); }
void cuda_zero(CudaState&, void*, std::size_t) { no_cuda(); }
void cuda_wait(CudaState&) { no_cuda(); }
std::uint64_t cuda_enqueued(const CudaState&) { no_cuda(); }
double cuda_seconds(CudaState&, const std::function<void()>&) { no_cuda(); }
bool cuda_begin_recording(CudaState&) { no_cuda(); }
void cuda_finish_recording(CudaState&) { no_cuda(); }
void cuda_cancel_recording(CudaState&) noexcept {}
void* cuda_stage(CudaState&, const void*, std::size_t) { no_cuda(); }
CudaFetch* cuda_start_fetch(CudaState&, const void*, std::size_t) { no_cuda(); }
void cuda_finish_fetch(CudaState&, CudaFetch*, void*) { no_cuda(); }
void cuda_drop_fetch(CudaState&, CudaFetch*) noexcept {}
DeviceInfo cuda_info(int) { return {.cuda = false, .why = "built without CUDA"}; }

}  // namespace bib
