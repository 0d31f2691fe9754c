// What kernels/ supplies besides the ops. Without CUDA, kernels/no_cuda.cpp stands in for all of it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>

#include "bib/context.h"

namespace bib {

CudaState* make_cuda_state(int device_index, Math math);  // throws std::runtime_error with the reason
void* cuda_allocate(int device_index, std::size_t bytes);
void cuda_free(void* p) noexcept;
void cuda_copy(CudaState& state, void* to, Device to_device, const void* from, Device from_device, std::size_t bytes);
void cuda_zero(CudaState& state, void* p, std::size_t bytes);
void cuda_wait(CudaState& state);
/// A number that depends on which kernels were enqueued since the context was made or a recording began, in which order
/// and clusters, and on nothing else within a process: for tests that must know which of several was taken.
std::uint64_t cuda_enqueued(const CudaState& state);
/// Seconds of the device from the first to the last of what `work` enqueues, by events; waits for them.
double cuda_seconds(CudaState& state, const std::function<void()>& work);

// What bib/together.h is made of.
struct CudaFetch;
bool cuda_begin_recording(CudaState& state);  // false: what follows runs as it comes
void cuda_finish_recording(CudaState& state);
void cuda_cancel_recording(CudaState& state) noexcept;
/// Recordings sent off so far as a graph that was there, with new arguments, and as one that had to be prepared, which
/// takes far longer.
struct GraphCounts {
  int updated = 0, prepared = 0;
};
GraphCounts cuda_graph_counts(const CudaState& state);
void* cuda_stage(CudaState& state, const void* host, std::size_t bytes);
CudaFetch* cuda_start_fetch(CudaState& state, const void* from, std::size_t bytes);
void cuda_finish_fetch(CudaState& state, CudaFetch* fetch, void* to);
void cuda_drop_fetch(CudaState& state, CudaFetch* fetch) noexcept;

}  // namespace bib
