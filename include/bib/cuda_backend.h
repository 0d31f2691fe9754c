// What kernels/ supplies besides the ops. Without CUDA, kernels/no_cuda.cpp stands in for all of it.
#pragma once
#include <cstddef>

#include "bib/context.h"

namespace bib {

CudaState* make_cuda_state(int device_index, Math math);  // throws std::runtime_error with the reason
void* cuda_allocate(std::size_t bytes);
void cuda_free(void* p) noexcept;
void cuda_copy(CudaState& state, void* to, Device to_device, const void* from, Device from_device, std::size_t bytes);
void cuda_zero(CudaState& state, void* p, std::size_t bytes);
void cuda_wait(CudaState& state);

}  // namespace bib
