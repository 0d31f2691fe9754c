// What the parts of the emulated runtime, and parts that stand for other libraries, share.
#pragma once
#include <cuda_runtime_api.h>

#include <functional>
#include <mutex>
#include <string>

namespace simt {
extern std::recursive_mutex one_at_a_time;
extern thread_local int current_device;

/// Remembers an error for cudaGetLastError, with the reason for cudaGetErrorString.
cudaError_t keep(cudaError_t e);
cudaError_t fail(cudaError_t e, const std::string& why);
/// Whether SIMT_REFUSE names this function: it fails then.
bool refused(const char* function);

/// Runs the work now, or keeps it where the stream is being captured or late.
using Work = std::function<cudaError_t()>;
/// What becomes of it as the node of a graph.
struct WorkKind {
  cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
  dim3 cluster = dim3(1, 1, 1);
  std::size_t bytes = 0;  // that are set: an update cannot change them
  bool early = false;     // a kernel that may start before the one before it has ended
};
cudaError_t enqueue(cudaStream_t stream, Work work, WorkKind kind = {});
/// Runs what late streams hold. The first error is the answer.
cudaError_t catch_up(cudaStream_t stream);
cudaError_t catch_up_all();
int device_of(cudaStream_t stream);
bool host_may_not(cudaStream_t stream);  // it is being captured
bool after_kernel(cudaStream_t stream);  // what was enqueued last is one
bool is_late(cudaStream_t stream);       // and not being captured

/// Tells the checker that columns of `m` values of so many bytes, `ld` values apart, were written.
void host_wrote_matrix(void* p, std::size_t bytes, int m, int n, int ld);
}  // namespace simt
