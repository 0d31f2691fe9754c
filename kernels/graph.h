// Recording of what a context enqueues as a graph (bib/together.h), for the rest of the backend.
#pragma once
#include <cstddef>

#include "kernels/launch.h"

namespace bib::device {

/// A copy of host memory that stays as it is until the graph being recorded has run.
const void* kept_for_graph(CudaState& state, const void* host, std::size_t bytes);

}  // namespace bib::device
