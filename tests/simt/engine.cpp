// The scheduler: gangs one after another, the threads of a gang in turns.
#include "tests/simt/engine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>

#include "tests/simt/include/cuda_runtime.h"

namespace simt {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

Running running;

namespace {

Options options_of_environment() {
  Options o;
  if (const char* order = std::getenv("SIMT_ORDER"); order && *order) {
    const std::string text = order;
    if (text == "reverse") {
      o.order = Options::Order::reverse;
    } else if (text != "forward") {
      o.order = Options::Order::random;
      o.seed = std::strtoull(order, nullptr, 10);
    }
  }
  if (const char* copies = std::getenv("SIMT_COPIES"); copies && *copies) o.late_copies = copies[0] != 'e';
  return o;
}

Options& current_options() {
  static Options o = options_of_environment();
  return o;
}

/// One stack per thread that may be resident, reused from gang to gang; pages appear when they are touched.
char* stack_of(std::size_t i) {
  constexpr std::size_t most = 65536;
  static char* const all = static_cast<char*>(
      mmap(nullptr, most * stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (all == MAP_FAILED || i >= most) std::abort();
  return all + i * stack_bytes;
}

/// A thread's life: its own copy of the arguments, the kernel, the end.
void live(transfer_t from) {
  running.scheduler = from.fctx;
  auto* me = static_cast<Thread*>(from.data);
  const Call& call = *running.call;
  alignas(64) std::byte arguments[4096];
  std::memcpy(arguments, call.arguments.data(), call.arguments.size());
  call.invoke(call.kernel, arguments);
  running.inside = true;
  if (!me->open_copies.empty() || !me->copy_groups.empty())
    fault("a thread ended without waiting for its cp.async", Site::current());
  if (me->early)
    fault("a thread ended before the kernel before it: what comes next would wait for neither", Site::current());
  me->state = Thread::State::done;
  me->block->left = true;
  --me->block->live;
  jump_fcontext(running.scheduler, nullptr);
}

void resume(Thread& t) {
  threadIdx = t.index;
  blockIdx = t.block->index;
  running.thread = &t;
  running.inside = false;
  t.fiber = jump_fcontext(t.fiber, &t).fctx;
  running.thread = nullptr;
}

/// Why nobody can go on: how many wait at each line, how many have ended.
std::string deadlock(const Gang& gang) {
  std::map<std::string, int> at;
  int ended = 0;
  for (const Thread& t : gang.threads) {
    if (t.state == Thread::State::done) {
      ++ended;
    } else {
      ++at[text_of(t.where)];
    }
  }
  std::string text = "deadlock:";
  for (const auto& [where, n] : at) text += " " + std::to_string(n) + " threads wait at " + where + ";";
  return text + " " + std::to_string(ended) + " threads have ended";
}

template <class T, class Random>
void put_in_order(std::vector<T>& list, Random& random) {
  const Options& o = current_options();
  if (o.order == Options::Order::reverse) std::reverse(list.begin(), list.end());
  if (o.order == Options::Order::random) std::shuffle(list.begin(), list.end(), random);
}

void run_gang(Gang& gang, std::mt19937_64& random) {
  constexpr int patience = 100000;
  running.gang = &gang;
  std::vector<Thread*> turn;
  for (Thread& t : gang.threads) turn.push_back(&t);
  int idle_rounds = 0;
  while (running.fault.empty()) {
    put_in_order(turn, random);
    for (Thread* t : turn) {
      resume(*t);
      if (!running.fault.empty()) return;
    }
    const bool only_yields = std::all_of(running.woken.begin(), running.woken.end(),
                                         [](const Thread* t) { return t->state == Thread::State::runnable; });
    turn.clear();
    std::swap(turn, running.woken);
    for (Thread* t : turn) t->state = Thread::State::runnable;
    const auto ended = [](const Thread& t) { return t.state == Thread::State::done; };
    if (turn.empty()) {
      if (!std::all_of(gang.threads.begin(), gang.threads.end(), ended)) running.fault = deadlock(gang);
      return;
    }
    idle_rounds = only_yields ? idle_rounds + 1 : 0;
    if (idle_rounds > patience) running.fault = "livelock: " + deadlock(gang);
  }
}

void open_block(Gang& gang, unsigned rank, uint3 index) {
  const unsigned threads = running.block.x * running.block.y * running.block.z;
  Block& block = gang.blocks[rank];
  block.index = index;
  block.rank = rank;
  block.live = block.barrier.expected = threads;
  block.shared = shared_arena(rank);
  block.warps.resize((threads + 31) / 32);
  open_shared(block);
  for (unsigned i = 0; i < threads; ++i) {
    Warp& warp = block.warps[i / 32];
    warp.index = i / 32;
    warp.lanes |= 1u << i % 32;
    warp.clock[i % 32][i % 32] = 1;
    Thread& t = gang.threads[rank * threads + i];
    t.block = &block;
    t.warp = &warp;
    t.lane = i % 32;
    t.early = running.early;
    t.index = {i % running.block.x, i / running.block.x % running.block.y, i / (running.block.x * running.block.y)};
    t.stack = stack_of(rank * threads + i);
    t.fiber = make_fcontext(t.stack + stack_bytes, stack_bytes, live);
  }
}

/// Corners of the gangs: the whole grid, every cluster, or every block.
void run_gangs() {
  const dim3 g = running.grid;
  const dim3 extent = running.cooperative ? g : running.cluster;
  std::vector<uint3> corners;
  for (unsigned z = 0; z < g.z; z += extent.z)
    for (unsigned y = 0; y < g.y; y += extent.y)
      for (unsigned x = 0; x < g.x; x += extent.x) corners.push_back({x, y, z});
  std::mt19937_64 random(current_options().seed);
  put_in_order(corners, random);
  const unsigned blocks = extent.x * extent.y * extent.z;
  std::uint32_t id = 0;
  for (const uint3 corner : corners) {
    Gang gang;
    gang.id = ++id;
    gang.blocks.resize(blocks);
    gang.threads.resize(std::size_t{blocks} * running.block.x * running.block.y * running.block.z);
    gang.barrier.expected = static_cast<unsigned>(gang.threads.size());
    for (unsigned r = 0; r < blocks; ++r)
      open_block(gang, r,
                 {corner.x + r % extent.x, corner.y + r / extent.x % extent.y, corner.z + r / (extent.x * extent.y)});
    run_gang(gang, random);
    running.gang = nullptr;
    running.woken.clear();
    if (!running.fault.empty()) return;
  }
}

}  // namespace

Options options() { return current_options(); }
void set_options(const Options& o) { current_options() = o; }

void run_launch() {
  blockDim = running.block;
  gridDim = running.grid;
  check::begin_launch();
  run_gangs();
}

void fault(const char* who, const char* what, Site site) {
  running.inside = true;
  fault(std::string(who) + what, site);
}

void fault(const std::string& what, Site site) {
  running.inside = true;
  running.fault = what + "\n  at " + text_of(site) + (running.thread ? ", " + text_of(*running.thread) : "");
  for (;;) jump_fcontext(running.scheduler, nullptr);
}

/// Gives the turn away until someone wakes this thread.
void park(Site where) {
  Thread* me = running.thread;
  me->state = Thread::State::waiting;
  me->where = where;
  running.scheduler = jump_fcontext(running.scheduler, nullptr).fctx;
  running.inside = true;
}

void after_previous() { running.thread->early = false; }

void wake(Thread* t) { running.woken.push_back(t); }

void yield(Site where) {
  const Inside inside;
  Thread* me = running.thread;
  me->where = where;
  running.woken.push_back(me);
  running.scheduler = jump_fcontext(running.scheduler, nullptr).fctx;
  running.inside = true;
}

}  // namespace simt
