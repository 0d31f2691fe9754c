// Streams, events and graphs of the emulated runtime. Work runs in the order of the calls, at once, or with SIMT_LATE
// what is enqueued on a stream waits until somebody waits for it; a stream that is being captured keeps closures.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "tests/simt/engine.h"
#include "tests/simt/runtime.h"

struct CUstream_st {
  int device = 0;
  std::unique_ptr<CUgraph_st> captured = nullptr;  // being captured
  bool late = false;
  bool after_kernel = false;  // what was enqueued last is a kernel
  std::deque<simt::Work> held;
  std::uint64_t sent = 0, done = 0;  // pieces of work, if late
};
struct CUgraphNode_st {
  simt::Work work;
  simt::WorkKind kind;
};
struct CUgraph_st {
  std::deque<CUgraphNode_st> nodes;
};
struct CUgraphExec_st {
  std::deque<CUgraphNode_st> nodes;
};
struct CUevent_st {
  int device = 0;
  std::optional<std::chrono::steady_clock::time_point> recorded;
  cudaStream_t stream = nullptr;  // what it was recorded on, if that is late, and behind how much work
  std::uint64_t behind = 0;
};

namespace simt {
namespace {

std::vector<cudaStream_t> streams;  // that were made and not destroyed

/// SIMT_LATE=first: work on a device's first stream is late, a context's; others: on the others; all: on all.
bool made_late(int device) {
  const char* const late = std::getenv("SIMT_LATE");
  if (!late) return false;
  const bool first = std::none_of(streams.begin(), streams.end(), [&](cudaStream_t s) { return s->device == device; });
  return std::string(late) == "all" || std::string(late) == (first ? "first" : "others");
}

/// Up to a number of pieces.
cudaError_t catch_up_to(cudaStream_t s, std::uint64_t to) {
  const std::lock_guard lock(one_at_a_time);
  cudaError_t first = cudaSuccess;
  if (std::find(streams.begin(), streams.end(), s) == streams.end()) return first;  // none, or destroyed since
  while (s->done < to && !s->held.empty()) {
    const auto work = std::move(s->held.front());
    s->held.pop_front();
    ++s->done;
    const cudaError_t e = work();
    if (first == cudaSuccess) first = e;
  }
  return keep(first);
}

CUstream_st& stream_of(cudaStream_t s) {
  static std::vector<CUstream_st> default_streams = [] {
    std::vector<CUstream_st> all(static_cast<std::size_t>(device_count()));
    for (std::size_t d = 0; d < all.size(); ++d) all[d].device = static_cast<int>(d);
    return all;
  }();
  return s ? *s : default_streams[static_cast<std::size_t>(current_device)];
}

}  // namespace

cudaError_t enqueue(cudaStream_t stream, Work work, WorkKind kind) {
  const std::lock_guard lock(one_at_a_time);
  CUstream_st& s = stream_of(stream);
  const bool kernel = kind.type == cudaGraphNodeTypeKernel;
  if (kind.early && !std::exchange(s.after_kernel, kernel))
    return fail(cudaErrorInvalidValue, "an early start behind what is no kernel");
  s.after_kernel = kernel;
  if (!s.captured && !s.late) return keep(work());
  if (s.captured) return s.captured->nodes.push_back({std::move(work), kind}), cudaSuccess;
  ++s.sent;
  s.held.push_back(std::move(work));
  return cudaSuccess;
}

cudaError_t catch_up(cudaStream_t s) { return catch_up_to(s, ~0ull); }

cudaError_t catch_up_all() {
  cudaError_t first = cudaSuccess;
  for (cudaStream_t s : std::vector(streams)) {
    const cudaError_t e = catch_up(s);
    if (first == cudaSuccess) first = e;
  }
  return first;
}

int device_of(cudaStream_t s) { return stream_of(s).device; }
bool host_may_not(cudaStream_t stream) { return stream_of(stream).captured != nullptr; }
bool after_kernel(cudaStream_t s) { return stream_of(s).after_kernel; }
bool is_late(cudaStream_t s) { return stream_of(s).late && !host_may_not(s); }

}  // namespace simt

using namespace simt;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  const std::lock_guard lock(one_at_a_time);
  *s = new CUstream_st{.device = current_device, .late = made_late(current_device), .held = {}};
  streams.push_back(*s);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  const std::lock_guard lock(one_at_a_time);
  catch_up(s);
  std::erase(streams, s);
  return delete s, cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  if (host_may_not(s)) return fail(cudaErrorStreamCaptureUnsupported, "waits for a stream that is being captured");
  return catch_up(s);
}
cudaError_t cudaDeviceSynchronize() { return catch_up_all(); }
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  if (host_may_not(s)) return fail(cudaErrorStreamCaptureUnsupported, "waiting for an event while capturing");
  return enqueue(s, [from = e->stream, behind = e->behind] { return catch_up_to(from, behind); });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  return *e = new CUevent_st{.device = current_device, .recorded = {}}, cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) { return catch_up_to(e->stream, e->behind), delete e, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  CUstream_st& stream = stream_of(s);
  if (e->device != stream.device)
    return fail(cudaErrorInvalidResourceHandle, "an event of another device than the stream's");
  const cudaError_t status = enqueue(s, [e] {
    e->recorded = std::chrono::steady_clock::now();
    return cudaSuccess;
  });
  e->stream = stream.late ? s : nullptr;
  e->behind = stream.sent;
  return status;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (!begin->recorded || !end->recorded)
    return fail(cudaErrorInvalidResourceHandle, "an event that was never recorded");
  *milliseconds = std::chrono::duration<float, std::milli>(*end->recorded - *begin->recorded).count();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) { return catch_up_to(e->stream, e->behind); }

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  if (!s || s->captured) return fail(cudaErrorIllegalState, "this stream cannot be captured now");
  s->captured = std::make_unique<CUgraph_st>();
  s->after_kernel = false;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
  if (!s || !s->captured) return fail(cudaErrorIllegalState, "this stream is not being captured");
  *graph = s->captured.release();
  s->after_kernel = false;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* n) {
  for (std::size_t i = 0; nodes && i < std::min(*n, graph->nodes.size()); ++i) nodes[i] = &graph->nodes[i];
  return *n = graph->nodes.size(), cudaSuccess;
}
cudaError_t cudaGraphGetEdges(cudaGraph_t graph, cudaGraphNode_t* from, cudaGraphNode_t* to, cudaGraphEdgeData* data,
                              std::size_t* n) {
  if (refused("cudaGraphGetEdges")) return fail(cudaErrorInvalidValue, "the edges of a graph");
  const std::size_t edges = graph->nodes.empty() ? 0 : graph->nodes.size() - 1;
  for (std::size_t i = 0; data && i < std::min(*n, edges); ++i) {
    from[i] = &graph->nodes[i], to[i] = &graph->nodes[i + 1], data[i] = {};
    if (!to[i]->kind.early) continue;
    data[i].type = cudaGraphDependencyTypeProgrammatic;
    data[i].from_port = cudaGraphKernelNodePortProgrammatic;
  }
  return *n = edges, cudaSuccess;
}
cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  return *type = node->kind.type, cudaSuccess;
}
cudaError_t cudaGraphKernelNodeGetAttribute(cudaGraphNode_t node, cudaLaunchAttributeID which,
                                            cudaLaunchAttributeValue* value) {
  if (node->kind.type != cudaGraphNodeTypeKernel) return fail(cudaErrorInvalidValue, "not the node of a kernel");
  if (refused("cudaGraphKernelNodeGetAttribute")) return fail(cudaErrorInvalidValue, "the attribute of a kernel");
  if (which != cudaLaunchAttributeClusterDimension) return fail(cudaErrorInvalidValue, "attribute not emulated");
  const dim3 c = node->kind.cluster;
  value->clusterDim = {c.x, c.y, c.z};
  return cudaSuccess;
}
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* info) {
  const auto same = [](const CUgraphNode_st& a, const CUgraphNode_st& b) {
    return a.kind.type == b.kind.type && a.kind.bytes == b.kind.bytes;
  };
  const bool alike = std::equal(exec->nodes.begin(), exec->nodes.end(), graph->nodes.begin(), graph->nodes.end(), same);
  info->result = alike ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateErrorTopologyChanged;
  if (!alike) return fail(cudaErrorGraphExecUpdateFailure, "the graph has other nodes");
  // As on a GPU, a node keeps the cluster that it was instantiated with, and may keep the edge that leads to it.
  for (std::size_t i = 0; i < exec->nodes.size(); ++i) {
    const WorkKind &had = exec->nodes[i].kind, &has = graph->nodes[i].kind;
    const bool same_kernel = had.cluster.x == has.cluster.x && had.cluster.y == has.cluster.y &&
                             had.cluster.z == has.cluster.z && had.early == has.early;
    exec->nodes[i].work = graph->nodes[i].work;
    if (!same_kernel)
      exec->nodes[i].work = [] {
        return fail(cudaErrorLaunchFailure, "an updated graph has a kernel's old cluster, or its old start");
      };
  }
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return enqueue(stream, [nodes = exec->nodes] {
    for (const CUgraphNode_st& node : nodes)
      if (const cudaError_t e = node.work(); e != cudaSuccess) return e;
    return cudaSuccess;
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) { return delete g, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g) { return delete g, cudaSuccess; }
