// mbarrier and st.async: stores into the blocks of a cluster that count themselves in where they go.
#include <cstring>

#include "tests/simt/engine.h"

namespace simt {
namespace {

TransferBarrier& barrier_of(Block& block, const void* mine, Site site) {
  const Block& own = *running.thread->block;
  const auto found = block.transfers.find(static_cast<const char*>(mine) - own.shared);
  if (found == block.transfers.end()) fault("mbarrier: not initialised in this block", site);
  return found->second;
}

void end_phase_if_complete(TransferBarrier& barrier) {
  if (barrier.arrived < barrier.count || barrier.missing != 0) return;
  barrier.arrived = 0;
  ++barrier.phase;
  for (const TransferBarrier::Store& s : barrier.stores) {
    std::memcpy(s.to, s.value.data(), s.bytes);
    check::arrived(s.to, s.bytes);
  }
  barrier.stores.clear();
  for (Thread* t : barrier.waiting) wake(t);
  barrier.waiting.clear();
}

}  // namespace

void mbarrier_init(void* barrier, unsigned count, Site site) {
  const Inside inside;
  expect_aligned(barrier, 8, site);
  Block& block = *running.thread->block;
  block.transfers[static_cast<char*>(barrier) - block.shared] = {.count = count, .stores = {}, .waiting = {}};
}

void mbarrier_expect(void* barrier, unsigned bytes, Site site) {
  const Inside inside;
  TransferBarrier& b = barrier_of(*running.thread->block, barrier, site);
  if (++b.arrived > b.count) fault("mbarrier: more arrivals than it counts", site);
  b.missing += bytes;
  b.expected = bytes;
  end_phase_if_complete(b);
}

void mbarrier_wait(void* barrier, unsigned parity, Site site) {
  const Inside inside;
  TransferBarrier& b = barrier_of(*running.thread->block, barrier, site);
  while (b.phase % 2 == parity) {
    b.waiting.push_back(running.thread);
    park(site);
  }
}

void store_async(void* mine, const void* value, std::size_t bytes, unsigned rank, void* barrier, Site site) {
  const Inside inside;
  char* const to = static_cast<char*>(peer_shared(mine, rank, site));
  if (bytes != 4 && bytes != 8 && bytes != 16) fault("st.async stores 4, 8 or 16 bytes", site);
  expect_aligned(to, bytes, site);
  Block& there = running.gang->blocks[rank];
  if (there.left) fault("st.async into a block that has begun to end", site);
  if (!check::inside(to, bytes)) fault("st.async outside of the shared memory that the block has", site);
  TransferBarrier& b = barrier_of(there, barrier, site);
  TransferBarrier::Store store{.to = to, .bytes = bytes, .value = {}};
  std::memcpy(store.value.data(), value, bytes);
  if (!options().late_copies) std::memcpy(to, value, bytes);
  check::in_flight(to, bytes);
  b.stores.push_back(store);
  b.missing -= static_cast<std::int64_t>(bytes);
  if (b.expected > 0 && b.missing < -b.expected) fault("st.async: for a phase after the next one of that block", site);
  end_phase_if_complete(b);
}

}  // namespace simt
