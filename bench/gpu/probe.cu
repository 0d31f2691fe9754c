// What decides the design of the recurrent kernels, measured on the GPU at hand: cluster barriers, exchanges through
// distributed shared memory, chains of tensor-core products, barriers of the whole grid, how many clusters fit; and the
// bandwidth of a copy, which others' bytes are measured against.
// Prints one JSON object; needs sm_90. docs/kernels.md says which choice hangs on which figure.
#include <cooperative_groups.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr int threads = 256, rounds = 2000, repeats = 9;

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "gpu_probe: error: %s: %s\n", what, cudaGetErrorString(status));
  std::exit(5);
}

/// Median microseconds of `work` over the repeats, after one that warms up.
template <class F>
double microseconds(F&& work) {
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "making an event");
  check(cudaEventCreate(&end), "making an event");
  std::vector<float> times;
  for (int i = 0; i <= repeats; ++i) {
    check(cudaEventRecord(begin), "recording");
    work();
    check(cudaEventRecord(end), "recording");
    check(cudaEventSynchronize(end), "running the probe");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end), "timing");
    if (i) times.push_back(ms);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  return 1e3 * static_cast<double>(times[repeats / 2]);
}

cudaLaunchConfig_t cluster_config(cudaLaunchAttribute& attribute, int size, int clusters) {
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(size);
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(size * clusters));
  config.blockDim = dim3(threads);
  config.attrs = &attribute;
  config.numAttrs = 1;
  return config;
}

template <class... P>
void allow_large_clusters(void (*kernel)(P...)) {
  check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeNonPortableClusterSizeAllowed, 1),
        "allowing clusters of 16");
}

// ---- barriers of a cluster and of the grid

__global__ void __launch_bounds__(threads) cluster_barriers(int n) {
  for (int i = 0; i < n; ++i) {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
  }
}

__global__ void __launch_bounds__(threads) block_barriers(int n) {
  for (int i = 0; i < n; ++i) __syncthreads();
}

__global__ void __launch_bounds__(threads) grid_barriers(int n) {
  const auto grid = cooperative_groups::this_grid();
  for (int i = 0; i < n; ++i) grid.sync();
}

// ---- every warp tells every block of its cluster something, as a step of the LSTM does with h (1 KiB a block where
// eight lanes of a warp send 16 bytes, 4 KiB where all do), and stores four numbers a lane in global memory, which a
// barrier that releases everything must wait for. What arrives is not looked at: all send to the same place.

__device__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

__device__ std::uint32_t in_block(std::uint32_t address, unsigned rank) {
  std::uint32_t there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
  return there;
}

__device__ void store_numbers(float4* out, int i) {
  out[(i & 63) * threads + threadIdx.x] = make_float4(0, 0, 0, static_cast<float>(i));
}

/// st.async and an mbarrier that counts bytes; two buffers, no barrier within the loop: all warps send, so that none
/// misses a phase.
__global__ void __launch_bounds__(threads) exchange_async(int n, int size, int lanes, float4* out) {
  __shared__ alignas(16) uint4 h[2][threads];
  __shared__ alignas(8) std::uint64_t full[2];
  const bool sends = static_cast<int>(threadIdx.x % 32) < lanes;
  if (threadIdx.x == 0)
    for (int k = 0; k < 2; ++k) asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(shared_address(&full[k])));
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory");
  for (int i = 0; i < n; ++i) {
    const int k = i & 1;
    const std::uint32_t barrier = shared_address(&full[k]);
    if (threadIdx.x == 0)
      asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier),
                   "r"(size * lanes * (threads / 32) * 16)
                   : "memory");
    for (int to = 0; sends && to < size; ++to)
      asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1,%1,%1,%1}, [%2];" ::"r"(
                       in_block(shared_address(&h[k][threadIdx.x]), static_cast<unsigned>(to))),
                   "r"(i), "r"(in_block(barrier, static_cast<unsigned>(to)))
                   : "memory");
    store_numbers(out, i);
    std::uint32_t done = 0;
    while (!done)
      asm volatile(
          "{ .reg .pred p; mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; "
          "}"
          : "=r"(done)
          : "r"(barrier), "r"((i >> 1) & 1)
          : "memory");
    __syncwarp();
  }
  asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory");
}

/// Plain stores into the other blocks, then the cluster's barrier.
__global__ void __launch_bounds__(threads) exchange_barrier(int n, int size, int lanes, float4* out) {
  __shared__ alignas(16) uint4 h[2][threads];
  const bool sends = static_cast<int>(threadIdx.x % 32) < lanes;
  asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory");
  for (int i = 0; i < n; ++i) {
    for (int to = 0; sends && to < size; ++to)
      asm volatile("st.shared::cluster.v4.b32 [%0], {%1,%1,%1,%1};" ::"r"(
                       in_block(shared_address(&h[i & 1][threadIdx.x]), static_cast<unsigned>(to))),
                   "r"(i)
                   : "memory");
    __syncwarp();
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    store_numbers(out, i);
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
  }
}

// ---- products of one step: 128 weight registers a thread, 16 x 8 x 16 tiles; every step waits for the last

template <int columns>  // of 8 sequences
__global__ void __launch_bounds__(threads, 1) mma_chain(int n, float* out, const std::uint32_t* in) {
  std::uint32_t w[2][16][4];  // two tiles of 16 gate rows, 256 of k
  for (auto& tile : w)
    for (auto& step : tile)
      for (auto& r : step) r = *in++;
  float sum[2][2][columns][4] = {};  // two chains a tile, as in the LSTM
  std::uint32_t h[2] = {in[0], in[1]};
  for (int i = 0; i < n; ++i) {
#pragma unroll
    for (int k = 0; k < 16; ++k)
#pragma unroll
      for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int c = 0; c < columns; ++c)
          asm volatile(
              "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
              "{%0,%1,%2,%3};"
              : "+f"(sum[k % 2][m][c][0]), "+f"(sum[k % 2][m][c][1]), "+f"(sum[k % 2][m][c][2]),
                "+f"(sum[k % 2][m][c][3])
              : "r"(w[m][k][0]), "r"(w[m][k][1]), "r"(w[m][k][2]), "r"(w[m][k][3]), "r"(h[0]), "r"(h[1]));
    h[0] ^= __float_as_uint(sum[0][0][0][0] + sum[1][0][0][0]);  // the next step reads this one's result
    h[1] ^= __float_as_uint(sum[0][1][columns - 1][3] + sum[1][1][columns - 1][3]);
  }
  out[blockIdx.x * threads + threadIdx.x] = __uint_as_float(h[0]) + __uint_as_float(h[1]);
}

std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", x);
  return text;
}

/// Of a copy within the GPU's memory, far larger than its cache, bytes read and written.
double copy_gb_per_s() {
  constexpr std::size_t bytes = std::size_t{1} << 30;
  void *from = nullptr, *to = nullptr;
  check(cudaMalloc(&from, bytes), "allocating");
  check(cudaMalloc(&to, bytes), "allocating");
  check(cudaMemset(from, 0, bytes), "zeroing");
  const double us = microseconds([&] { check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice), "copying"); });
  cudaFree(from);
  cudaFree(to);
  return 2e-3 * static_cast<double>(bytes) / us;
}

template <class K>
int clusters_that_fit(K kernel, int size) {
  cudaLaunchAttribute attribute;
  const cudaLaunchConfig_t config = cluster_config(attribute, size, 1);
  int n = 0;
  if (cudaOccupancyMaxActiveClusters(&n, kernel, &config) != cudaSuccess) cudaGetLastError(), n = 0;
  return n;
}

}  // namespace

int main() {
  cudaDeviceProp gpu{};
  check(cudaGetDeviceProperties(&gpu, 0), "looking for a GPU");
  if (gpu.major < 9) {
    std::fprintf(stderr, "gpu_probe: error: %s is sm_%d%d; the probe needs clusters (sm_90)\n", gpu.name, gpu.major,
                 gpu.minor);
    return 5;
  }
  std::string json = "{\"gpu\": \"" + std::string(gpu.name) + "\", \"us_per_round\": {";
  auto add = [&, first = true](const std::string& name, double us) mutable {
    json += (first ? "" : ", ") + ("\"" + name + "\": " + number(us));
    first = false;
  };
  add("block_barrier", microseconds([] { block_barriers<<<1, threads>>>(rounds); }) / rounds);
  float4* stored = nullptr;
  check(cudaMalloc(&stored, 64 * threads * sizeof *stored), "allocating");
  allow_large_clusters(cluster_barriers);
  allow_large_clusters(exchange_async);
  allow_large_clusters(exchange_barrier);
  for (int size : {2, 4, 8, 16}) {
    cudaLaunchAttribute attribute;
    const cudaLaunchConfig_t config = cluster_config(attribute, size, 1);
    const std::string of = "/" + std::to_string(size);
    if (clusters_that_fit(cluster_barriers, size) == 0 || clusters_that_fit(exchange_async, size) == 0 ||
        clusters_that_fit(exchange_barrier, size) == 0)
      continue;  // on this GPU, or this part of one
    add("cluster_barrier" + of, microseconds([&] {
                                  check(cudaLaunchKernelEx(&config, cluster_barriers, rounds), "cluster barriers");
                                }) / rounds);
    for (int lanes : {8, 32}) {
      const std::string sent = of + (lanes == 8 ? "/1KiB" : "/4KiB");
      add("exchange_barrier" + sent, microseconds([&] {
                                       check(cudaLaunchKernelEx(&config, exchange_barrier, rounds, size, lanes, stored),
                                             "exchange");
                                     }) / rounds);
      add("exchange_async" + sent, microseconds([&] {
                                     check(cudaLaunchKernelEx(&config, exchange_async, rounds, size, lanes, stored),
                                           "exchange");
                                   }) / rounds);
    }
  }
  {
    int n = rounds;
    void* arguments[] = {&n};
    add("grid_barrier", microseconds([&] {
                          check(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(grid_barriers),
                                                            dim3(static_cast<unsigned>(gpu.multiProcessorCount)),
                                                            dim3(threads), arguments, 0, nullptr),
                                "grid barriers");
                        }) / rounds);
  }
  float* out = nullptr;
  std::uint32_t* in = nullptr;
  check(cudaMalloc(&out, threads * sizeof *out), "allocating");
  check(cudaMalloc(&in, 1024 * sizeof *in), "allocating");
  check(cudaMemset(in, 0, 1024 * sizeof *in), "zeroing");
  add("mma_step/n8", microseconds([&] { mma_chain<1><<<1, threads>>>(rounds, out, in); }) / rounds);
  add("mma_step/n16", microseconds([&] { mma_chain<2><<<1, threads>>>(rounds, out, in); }) / rounds);
  add("mma_step/n32", microseconds([&] { mma_chain<4><<<1, threads>>>(rounds, out, in); }) / rounds);
  check(cudaGetLastError(), "the products");
  add("launch", microseconds([] {
                  for (int i = 0; i < 100; ++i) block_barriers<<<1, threads>>>(0);
                }) / 100);
  json += "}, \"clusters_that_fit\": {";
  allow_large_clusters(mma_chain<1>);
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, mma_chain<1>), "asking for registers");
  for (int size : {4, 8, 16})
    json += (size == 4 ? "\"" : ", \"") + std::to_string(size) +
            "\": " + std::to_string(clusters_that_fit(mma_chain<1>, size));
  json += "}, \"registers\": " + std::to_string(attributes.numRegs) +
          ", \"copy_gb_per_s\": " + number(copy_gb_per_s()) + "}";
  std::printf("%s\n", json.c_str());
  cudaFree(stored);
  cudaFree(out);
  cudaFree(in);
}
