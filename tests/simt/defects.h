// Kernels with one defect each, which a template parameter switches on.
#pragma once
#include "kernels/device.h"
#include "kernels/reduce.h"

namespace bib::device {

enum class Defect {
  none,
  no_barrier,         // between writing and reading shared memory
  barrier_in_branch,  // half of the block never gets there
  two_barriers,       // the halves of the block wait at different lines
  early_return,       // a thread leaves before the barrier
  half_mask,          // a shuffle whose mask leaves lanes out
  no_warp_sync,       // between lanes that share a word
  tile_sync_only,     // a meeting of 16 lanes where 32 share
  off_by_one,         // reads one element too far
  shared_too_small,
  not_zeroed,        // reads what nobody wrote
  no_wait,           // uses the target of a cp.async
  wait_too_lax,      // waits for all groups but the newest, which it reads
  own_wait_only,     // reads what another thread's cp.async brought, without a barrier
  block_barrier,     // where the cluster must meet
  leaves_early,      // ends while others read its shared memory
  read_again,        // what its writer may overwrite by then
  blocks_share,      // blocks write one word
  never_awaited,     // reads what another block sends
  wrong_phase,       // waits for a phase that has ended, or never began
  too_few_expected,  // of the bytes that come
  misaligned,        // float4 at an odd place
  unsynced_bytes,    // two threads write the same byte
  word_of_reader3,   // a write races with the third of several readers
  too_early,         // reads what the kernel before it may not have written yet
  some_wait,         // for the kernel before, but not every thread
};

/// Reverses n <= 64 floats through shared memory.
template <Defect D>
__global__ void reverse(const float* x, float* y, int n) {
  SHARED(float, tile, [D == Defect::shared_too_small ? 32 : 64]);
  const int i = static_cast<int>(threadIdx.x);
  if (D == Defect::early_return && i >= n) return;
  if (i < n) tile[i] = 0;  // so that a missing barrier is a race, and not only memory never written
  __syncthreads();
  if (i < n) tile[i] = x[D == Defect::off_by_one ? i + 1 : i];
  if constexpr (D == Defect::barrier_in_branch) {
    if (i < 32) __syncthreads();
  } else if constexpr (D == Defect::two_barriers) {
    if (i < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  } else if constexpr (D != Defect::no_barrier) {
    __syncthreads();
  }
  if (i < n) y[i] = tile[n - 1 - i];
}

/// Sum of 32 floats, through shuffles and a word of shared memory.
template <Defect D>
__global__ void sum_warp(const float* x, float* y) {
  SHARED(float, total, [2]);
  float v = x[lane_id()];
  if (lane_id() == 0) total[0] = 0;
  __syncwarp();
  for (int bits = 16; bits > 0; bits /= 2) v += __shfl_xor_sync(D == Defect::half_mask ? 0xFFFFu : all_lanes, v, bits);
  if (lane_id() == 0) total[0] = v;
  if constexpr (D == Defect::tile_sync_only) {
    __syncwarp(lane_id() < 16 ? 0xFFFFu : 0xFFFF0000u);
  } else if constexpr (D != Defect::no_warp_sync) {
    __syncwarp();
  }
  y[lane_id()] = total[D == Defect::not_zeroed ? lane_id() % 2 : 0];
}

/// Copies 4 floats per thread in two groups of cp.async; each thread reads its own and its neighbour's.
template <Defect D>
__global__ void copy_in_groups(const float* x, float* y) {
  SHARED(float, tile, [2][32]);
  const int i = static_cast<int>(threadIdx.x);
  copy_async<4>(&tile[0][i], x + i, true);
  copy_commit();
  copy_async<4>(&tile[1][i], x + 32 + i, i < 31);
  copy_commit();
  if constexpr (D == Defect::wait_too_lax) {
    copy_wait<1>();
  } else if constexpr (D != Defect::no_wait) {
    copy_wait<0>();
  }
  if constexpr (D != Defect::own_wait_only) __syncthreads();
  y[i] = tile[0][(i + 1) % 32] + tile[1][i];
  if constexpr (D == Defect::no_wait || D == Defect::wait_too_lax) copy_wait<0>();
}

/// Blocks of a cluster of 2 send each other their numbers in turns, through two buffers.
template <Defect D>
__global__ void send_around(float* y) {
  SHARED(float, came, [2][32][2]);
  SHARED(Arrivals, arrivals, [2]);
  const int i = static_cast<int>(threadIdx.x);
  const unsigned rank = cluster_rank();
  if (i == 0) init_arrivals(arrivals, 2);
  cluster_arrive();
  cluster_wait();
  float sum = 0;
  for (int s = 0; s < 5; ++s) {
    if (i == 0) expect_bytes(arrivals + s % 2, D == Defect::too_few_expected ? 128 : 256);
    const float v = static_cast<float>(100 * s + 10 * static_cast<int>(rank)) + static_cast<float>(i);
    send(came[s % 2][i], make_float2(v, 1), rank ^ 1, arrivals + s % 2);
    if constexpr (D == Defect::wrong_phase) {
      await_phase(arrivals + s % 2, (s / 2 + 1) % 2);
    } else if constexpr (D != Defect::never_awaited) {
      await_phase(arrivals + s % 2, s / 2 % 2);
    }
    sum += came[s % 2][(i + 1) % 32][0] * came[s % 2][i][1];
    __syncwarp();
  }
  y[32 * rank + i] = sum;
}

/// Every block of a cluster of 2 adds its peer's number to its own.
template <Defect D>
__global__ void ask_peer(float* y) {
  SHARED(float, mine, [32]);
  const int i = static_cast<int>(threadIdx.x);
  const unsigned rank = cluster_rank();
  mine[i] = static_cast<float>(32 * rank) + static_cast<float>(i);
  if constexpr (D == Defect::block_barrier) {
    __syncthreads();
  } else {
    cluster_arrive();
    cluster_wait();
  }
  y[32 * rank + i] = mine[i] + in_block(&mine[0], rank ^ 1)[i];
  if constexpr (D != Defect::leaves_early) {
    cluster_arrive();
    cluster_wait();
  }
}

/// Threads of a cluster of 2 blocks write, read their neighbour warp's word and, behind their arrival, their own again.
template <Defect D>
__global__ void look_back(float* y) {
  SHARED(float, words, [64]);
  const int i = static_cast<int>(threadIdx.x), other = (i + 32) % 64;
  float sum = 0;
  for (int s = 0; s < 3; ++s) {
    words[i] = static_cast<float>(s + i);
    __syncthreads();
    sum += words[other];
    cluster_arrive();
    sum += words[D == Defect::read_again ? other : i];
    cluster_wait();
  }
  y[64 * cluster_rank() + static_cast<unsigned>(i)] = sum;
}

template <Defect D>
__global__ void count(int* total, const float* x) {
  if constexpr (D == Defect::blocks_share) {
    total[0] += static_cast<int>(blockIdx.x);
  } else {
    atomicAdd(total, static_cast<int>(threadIdx.x) == 0 ? 1 : 0);
  }
  if (D == Defect::misaligned) load4(x + 1);
}

/// Doubles what a kernel before it may have written.
template <Defect D>
__global__ void follow(float* x) {
  const int i = static_cast<int>(threadIdx.x);
  const float before = D == Defect::too_early ? x[i] : 0;
  if (D == Defect::some_wait && i >= 16) return;
  after_previous();
  x[i] = 2 * (D == Defect::too_early ? before : x[i]);
}

/// Threads write neighbouring bytes of a word; lanes 0..3 read a word that lane 4 writes afterwards.
template <Defect D>
__global__ void share_words(unsigned char* bytes, float* word, float* sums) {
  SHARED(float, shared_word, [1]);
  const int i = lane_id();
  if (i < 8) bytes[D == Defect::unsynced_bytes ? i / 2 : i] = 1;
  if (i == 0) shared_word[0] = word[0];
  __syncwarp();
  if (i < 4) sums[i] = shared_word[0];
  __syncwarp(D == Defect::word_of_reader3 && (i < 2 || i == 4) ? 0x13u
             : D == Defect::word_of_reader3                    ? ~0x13u
                                                               : all_lanes);
  if (i == 4) shared_word[0] = 0;
}

}  // namespace bib::device
