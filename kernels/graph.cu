// Steps as CUDA graphs. A step's ops are captured anew every time, as their arguments change (step number, learning
// rate, shapes), and put into the graph that was instantiated for the same kernels before, by cudaGraphExecUpdate: one
// launch instead of one per op, and no gaps between them. Small uploads are gathered in a page-locked block, which goes
// ahead of the graph as one copy, on a stream of its own, so that it is there when the step before has ended; others
// become nodes of the graph. No more than two steps are ever under way. There are three blocks, as a step may read what
// the one before it uploaded. Downloads go to page-locked memory too, with an event of their own to wait for.
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "bib/cuda_backend.h"
#include "kernels/blas.h"
#include "kernels/graph.h"

namespace bib {

namespace device {

class Pinned {
 public:
  explicit Pinned(std::size_t bytes = 0) : size_(bytes) {
    if (bytes) device::check(cudaMallocHost(&p_, bytes), "allocating page-locked memory");
  }
  Pinned(Pinned&& o) noexcept : p_(std::exchange(o.p_, nullptr)), size_(std::exchange(o.size_, 0)) {}
  Pinned& operator=(Pinned&& o) noexcept {
    std::swap(p_, o.p_), std::swap(size_, o.size_);
    return *this;
  }
  ~Pinned() {
    if (p_) cudaFreeHost(p_);
  }
  char* data() const { return static_cast<char*>(p_); }
  std::size_t size() const { return size_; }

 private:
  void* p_ = nullptr;
  std::size_t size_;
};

class OnDevice {
 public:
  OnDevice() = default;
  OnDevice(int device, std::size_t bytes) : p_(cuda_allocate(device, bytes)) {}
  OnDevice& operator=(OnDevice&& o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~OnDevice() { cuda_free(p_); }
  char* data() const { return static_cast<char*>(p_); }

 private:
  void* p_ = nullptr;
};

class Event {
 public:
  Event() { device::check(cudaEventCreateWithFlags(&e_, cudaEventDisableTiming), "making an event"); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(e_); }
  void record(cudaStream_t stream) { device::check(cudaEventRecord(e_, stream), "recording an event"); }
  void wait() { device::check(cudaEventSynchronize(e_), "waiting for the device"); }
  /// What is enqueued on the stream from now on waits for what was recorded.
  void hold(cudaStream_t stream) { device::check(cudaStreamWaitEvent(stream, e_, 0), "waiting for an event"); }

 private:
  cudaEvent_t e_ = nullptr;
};

constexpr std::size_t upload_alignment = 64;
inline std::size_t aligned(std::size_t n) { return (n + upload_alignment - 1) / upload_alignment * upload_alignment; }

}  // namespace device

struct CudaFetch {
  device::Pinned memory;
  device::Event done;
  std::size_t bytes = 0;
};

namespace device {

struct Recorder {
  /// What one recording has on the host.
  struct Slot {
    Pinned block;              // the uploads that go as one
    OnDevice place;            // where they go
    std::vector<Pinned> more;  // sources of copies within the graph
    Event copied;              // the block is in its place
    Event before, done;        // all that was enqueued before the graph has run; the graph too
    bool used = false;
  };
  struct Kept {
    std::uint64_t contents;
    cudaGraphExec_t exec;
    std::uint64_t last_use;
  };

  static constexpr int slot_count = 3;
  Slot slots[slot_count];
  int now = 0;
  cudaStream_t copies = nullptr;
  bool warm = false;
  std::size_t room = 1 << 16, used = 0, wanted = 0;  // of the block; what this recording would have liked
  std::vector<Kept> graphs;
  std::uint64_t uses = 0;
  GraphCounts counts;
  std::vector<std::unique_ptr<CudaFetch>> fetches;  // not in use

  Recorder() { check(cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking), "making a stream"); }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  ~Recorder() {
    cudaStreamDestroy(copies);
    for (const Kept& k : graphs) cudaGraphExecDestroy(k.exec);
  }

  /// That of the recording so many before this one.
  Slot& slot(int back = 0) { return slots[(now + slot_count - back) % slot_count]; }

  void begin(int device) {
    now = (now + 1) % slot_count;
    if (slot(2).used) slot(2).done.wait();
    slot().more.clear();
    if (slot().block.size() < room) {
      slot().block = Pinned(room);
      slot().place = OnDevice(device, room);
    }
    used = wanted = 0;
  }

  /// There was no recording after all.
  void take_back() { now = (now + slot_count - 1) % slot_count; }

  /// Copies the block while the step before computes. Its place may still be read by what was enqueued before that.
  void send(cudaStream_t stream) {
    slot().before.record(stream);
    if (used == 0) return;
    if (slot(1).used) slot(1).before.hold(copies);
    check(cudaMemcpyAsync(slot().place.data(), slot().block.data(), used, cudaMemcpyHostToDevice, copies),
          "copying a batch");
    slot().copied.record(copies);
    slot().copied.hold(stream);
  }

  /// Places for the next recording: as many as this one wanted, and some more, as batches differ.
  void remember() { room = std::max(room, std::min(aligned(wanted + wanted / 4), std::size_t{1} << 28)); }

  /// The graph, ready to be launched: one of the same contents with the new arguments, or a new one.
  cudaGraphExec_t executable(cudaGraph_t graph, std::uint64_t contents, bool with_blas) {
    std::size_t nodes = 0;
    check(cudaGraphGetNodes(graph, nullptr, &nodes), "counting the nodes of a graph");
    contents = contents * 31 + nodes;
    const bool known = !with_blas || add_choices_of_blas(graph, nodes, contents);
    Kept* kept = nullptr;
    for (Kept& k : graphs)
      if (k.contents == contents) kept = &k;
    if (kept && known) {
      cudaGraphExecUpdateResultInfo info{};
      kept->last_use = ++uses;
      if (cudaGraphExecUpdate(kept->exec, graph, &info) == cudaSuccess) return ++counts.updated, kept->exec;
      cudaGetLastError();  // cuBLAS took other kernels: another graph after all
    } else if (!kept) {
      kept = &place_for_another();
    }
    const cudaGraphExec_t before = kept->exec;
    *kept = {contents, nullptr, ++uses};
    if (before) {
      check(cudaGraphExecDestroy(before), "giving up a graph");  // a launch under way keeps what it needs
    }
    check(cudaGraphInstantiate(&kept->exec, graph, 0), "preparing a graph");
    ++counts.prepared;
    return kept->exec;
  }

  /// Adds to the hash what cuBLAS chooses by the shapes: an update leaves a graph the clusters that it was instantiated
  /// with, and the early starts, without a word. False where the runtime does not tell.
  bool add_choices_of_blas(cudaGraph_t graph, std::size_t nodes, std::uint64_t& contents) {
    std::uint64_t hash = 0;
    if (add_clusters(graph, nodes, hash) && add_early_starts(graph, hash)) return contents ^= hash, true;
    cudaGetLastError();
    return false;
  }

  /// The clusters of all kernels.
  static bool add_clusters(cudaGraph_t graph, std::size_t count, std::uint64_t& hash) {
    std::vector<cudaGraphNode_t> nodes(count);
    if (cudaGraphGetNodes(graph, nodes.data(), &count) != cudaSuccess) return false;
    for (cudaGraphNode_t node : nodes) {
      cudaGraphNodeType type{};
      cudaLaunchAttributeValue v{};
      if (cudaGraphNodeGetType(node, &type) != cudaSuccess) return false;
      if (type != cudaGraphNodeTypeKernel) continue;
      if (cudaGraphKernelNodeGetAttribute(node, cudaLaunchAttributeClusterDimension, &v) != cudaSuccess) return false;
      add(hash, v.clusterDim.x ^ v.clusterDim.y << 8 ^ v.clusterDim.z << 16);
    }
    return true;
  }

  /// Which kernels may start before the one before them has ended.
  static bool add_early_starts(cudaGraph_t graph, std::uint64_t& hash) {
#if CUDART_VERSION >= 13000
    const auto get = cudaGraphGetEdges;
#else
    const auto get = cudaGraphGetEdges_v2;  // CUDA 12.3
#endif
    std::size_t count = 0;
    if (get(graph, nullptr, nullptr, nullptr, &count) != cudaSuccess) return false;
    std::vector<cudaGraphNode_t> from(count), to(count);
    std::vector<cudaGraphEdgeData> edges(count);
    if (count > 0 && get(graph, from.data(), to.data(), edges.data(), &count) != cudaSuccess) return false;
    for (const cudaGraphEdgeData& edge : edges) add(hash, edge.type ^ edge.from_port << 8);
    return true;
  }

  static void add(std::uint64_t& hash, std::uint64_t value) { hash = (hash ^ value) * 0x9E3779B97F4A7C15u; }

  Kept& place_for_another() {
    constexpr std::size_t most = 16;
    if (graphs.size() < most) return graphs.emplace_back(Kept{});
    return *std::min_element(graphs.begin(), graphs.end(),
                             [](const Kept& a, const Kept& b) { return a.last_use < b.last_use; });
  }
};

const void* kept_for_graph(CudaState& state, const void* host, std::size_t bytes) {
  Pinned& copy = state.recorder->slot().more.emplace_back(bytes);
  std::memcpy(copy.data(), host, bytes);
  return copy.data();
}

namespace {
bool graphs_wanted() {
  const char* setting = std::getenv("BIB_GRAPHS");
  return !setting || *setting != '0';
}
}  // namespace
}  // namespace device

bool cuda_begin_recording(CudaState& state) {
  if (state.recording || !device::graphs_wanted()) return false;
  device::check(device::use_device(state.device), "choosing the device");
  if (!state.recorder) state.recorder = std::make_shared<device::Recorder>();
  // The first time runs as it comes: kernels are loaded, the arena grows to its size.
  if (!std::exchange(state.recorder->warm, true)) return false;
  state.recorder->begin(state.device);
  // Relaxed: allocating memory is no part of the graph, and allowed.
  device::check(cudaStreamBeginCapture(state.stream, cudaStreamCaptureModeRelaxed), "recording a graph");
  state.recording = true;
  state.recorded = 0;
  state.after_kernel = state.recorded_blas = false;
  return true;
}

void cuda_finish_recording(CudaState& state) {
  device::check(device::use_device(state.device), "choosing the device");
  device::Recorder& r = *state.recorder;
  cudaGraph_t graph = nullptr;
  state.recording = state.after_kernel = false;
  const cudaError_t ended = cudaStreamEndCapture(state.stream, &graph);
  device::check(ended, "recording a graph (BIB_GRAPHS=0 does without)");
  const std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, decltype(&cudaGraphDestroy)> owner(graph, cudaGraphDestroy);
  r.send(state.stream);
  if (state.recorded != 0)
    device::check(cudaGraphLaunch(r.executable(graph, state.recorded, state.recorded_blas), state.stream),
                  "launching a graph");
  r.slot().done.record(state.stream);
  r.slot().used = true;
  r.remember();
}

GraphCounts cuda_graph_counts(const CudaState& state) {
  return state.recorder ? state.recorder->counts : GraphCounts{};
}

void cuda_cancel_recording(CudaState& state) noexcept {
  device::use_device(state.device);
  cudaGraph_t graph = nullptr;
  state.recording = state.after_kernel = false;
  if (cudaStreamEndCapture(state.stream, &graph) == cudaSuccess && graph) cudaGraphDestroy(graph);
  cudaGetLastError();
  state.recorder->take_back();
}

void* cuda_stage(CudaState& state, const void* host, std::size_t bytes) {
  if (!state.recording) return nullptr;
  device::Recorder& r = *state.recorder;
  const std::size_t size = device::aligned(bytes), at = r.used;
  r.wanted += size;
  if (at + size > r.room) return nullptr;
  r.used += size;
  std::memcpy(r.slot().block.data() + at, host, bytes);
  return r.slot().place.data() + at;
}

CudaFetch* cuda_start_fetch(CudaState& state, const void* from, std::size_t bytes) {
  if (state.recording) throw std::logic_error("a fetch while ops are being recorded: make it after together()");
  device::check(device::use_device(state.device), "choosing the device");
  if (!state.recorder) state.recorder = std::make_shared<device::Recorder>();
  auto& idle = state.recorder->fetches;
  std::unique_ptr<CudaFetch> fetch;
  if (!idle.empty()) {
    fetch = std::move(idle.back());
    idle.pop_back();
  } else {
    fetch = std::make_unique<CudaFetch>();
  }
  if (fetch->memory.size() < bytes) fetch->memory = device::Pinned(device::aligned(bytes));
  fetch->bytes = bytes;
  state.after_kernel = false;
  device::check(cudaMemcpyAsync(fetch->memory.data(), from, bytes, cudaMemcpyDeviceToHost, state.stream), "copying");
  fetch->done.record(state.stream);
  return fetch.release();
}

void cuda_finish_fetch(CudaState& state, CudaFetch* fetch, void* to) {
  std::unique_ptr<CudaFetch> owner(fetch);
  device::check(device::use_device(state.device), "choosing the device");
  fetch->done.wait();
  std::memcpy(to, fetch->memory.data(), fetch->bytes);
  state.recorder->fetches.push_back(std::move(owner));
  state.raise_fault();
}

void cuda_drop_fetch(CudaState& state, CudaFetch* fetch) noexcept {
  const std::unique_ptr<CudaFetch> owner(fetch);
  device::use_device(state.device);
  try {
    fetch->done.wait();
  } catch (const std::exception&) {  // the device has failed: nothing will be written
  }
}

}  // namespace bib
