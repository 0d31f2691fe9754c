// For parts of the emulator that stand for other libraries: work in stream order.
#pragma once
#include <cuda_runtime_api.h>

#include <functional>

namespace simt {
/// Runs the work now, or keeps it where the stream is being captured.
cudaError_t enqueue(cudaStream_t stream, std::function<cudaError_t()> work);
/// Tells the checker that columns of `m` floats, `ld` apart, were written.
void host_wrote_matrix(float* p, int m, int n, int ld);
}  // namespace simt
