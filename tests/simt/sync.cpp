// Barriers of blocks and gangs, and meetings of lanes.
#include <algorithm>
#include <cstring>

#include "tests/simt/engine.h"

namespace simt {
namespace {

bool same_line(Site a, Site b) { return a.line() == b.line() && std::strcmp(a.file_name(), b.file_name()) == 0; }

/// True for the last to arrive, who wakes the others.
bool arrive(Barrier& barrier, const char* name, Site site) {
  if (barrier.arrived > 0 && !same_line(barrier.where, site))
    fault(std::string(name) + ": other threads wait at " + text_of(barrier.where), site);
  barrier.where = site;
  if (++barrier.arrived < barrier.expected) return false;
  barrier.arrived = 0;
  ++barrier.phase;
  for (Thread* t : barrier.waiting) wake(t);
  barrier.waiting.clear();
  return true;
}

void wait_for(Barrier& barrier, std::uint32_t phase, Site site) {
  if (barrier.phase >= phase) return;
  barrier.waiting.push_back(running.thread);
  park(site);
}

/// After a meeting every lane knows what each knew before it.
void join_clocks(Warp& warp, unsigned mask) {
  std::array<std::uint32_t, 32> joined{};
  for (unsigned l = 0; l < 32; ++l) {
    if (!(mask >> l & 1)) continue;
    for (unsigned k = 0; k < 32; ++k) joined[k] = std::max(joined[k], warp.clock[l][k]);
  }
  for (unsigned l = 0; l < 32; ++l) {
    if (!(mask >> l & 1)) continue;
    warp.clock[l] = joined;
    ++warp.clock[l][l];
  }
}

Meeting& join_meeting(Warp& warp, unsigned mask, unsigned lane, const char* name, Site site) {
  for (auto& m : warp.open) {
    if (m->arrived == m->mask || !(m->mask >> lane & 1)) continue;
    if (m->mask != mask || std::strcmp(m->name, name) != 0 || !same_line(m->where, site))
      fault(std::string(name) + ": other lanes wait in " + m->name + " at " + text_of(m->where) +
                (m->mask != mask ? " with another mask" : ""),
            site);
    return *m;
  }
  auto m = std::make_unique<Meeting>();
  m->mask = m->unread = mask;
  m->name = name;
  m->where = site;
  warp.open.push_back(std::move(m));
  return *warp.open.back();
}

}  // namespace

void block_barrier(Site site) { block_vote(false, site); }

Votes block_vote(bool vote, Site site) {
  const Inside inside;
  Barrier& barrier = running.thread->block->barrier;
  const std::uint32_t phase = barrier.phase + 1;
  barrier.votes += vote;
  const int votes = barrier.votes;
  if (arrive(barrier, "block barrier", site)) {
    barrier.result = {votes, votes > 0, votes == static_cast<int>(barrier.expected)};
    barrier.votes = 0;
  } else {
    wait_for(barrier, phase, site);
  }
  return barrier.result;
}

void gang_arrive(Site site) {
  const Inside inside;
  Thread& me = *running.thread;
  if (me.released != me.acquired) fault("cluster barrier: arrived twice without waiting", site);
  ++me.released;
  arrive(running.gang->barrier, "cluster barrier", site);
}

void gang_wait(Site site) {
  const Inside inside;
  Thread& me = *running.thread;
  if (me.released == me.acquired) fault("cluster barrier: waits without having arrived", site);
  wait_for(running.gang->barrier, me.released, site);
  me.acquired = me.released;
}

void exchange(unsigned mask, const void* mine, std::size_t bytes, void* all, const char* name, Site site,
              Ordering ordering) {
  const Inside inside;
  Thread& me = *running.thread;
  Warp& warp = *me.warp;
  mask &= warp.lanes;  // a partial last warp
  if (!(mask >> me.lane & 1)) fault(std::string(name) + ": the caller is not in its own mask", site);
  Meeting& m = join_meeting(warp, mask, me.lane, name, site);
  std::memcpy(m.data + me.lane * bytes, mine, bytes);
  m.arrived |= 1u << me.lane;
  if (m.arrived == m.mask) {
    if (ordering == Ordering::memory) join_clocks(warp, mask);
    for (Thread* t : m.waiting) wake(t);
  } else {
    m.waiting.push_back(&me);
    park(site);
  }
  std::memcpy(all, m.data, 32 * bytes);
  m.unread &= ~(1u << me.lane);
  if (m.unread == 0) std::erase_if(warp.open, [&](const auto& p) { return p.get() == &m; });
}

}  // namespace simt
