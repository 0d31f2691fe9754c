// Whether tests of the CUDA kernels can run.
#pragma once
#include <cstdlib>
#include <stdexcept>

#include "bib/context.h"

namespace bib::test {

/// Throws where BIB_NEED_CUDA is set and there is none: an error of CUDA must not look like a machine without a GPU.
inline bool cuda_at_hand() {
  const bool there = has_cuda && cuda_info().cuda;
  if (!there && std::getenv("BIB_NEED_CUDA"))
    throw std::runtime_error("BIB_NEED_CUDA is set, and there is no GPU: " + cuda_info().why);
  return there;
}

}  // namespace bib::test
