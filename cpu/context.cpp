// Context, thread count and copies.
#include "bib/context.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "bib/cuda_backend.h"
#include "cpu/blas.h"
#include "cpu/isa.h"
#include "cpu/team.h"

namespace bib {

Context::Context(ContextOptions options) : options_(options), arena_(options.device, options.device_index) {
  expect(options_.threads >= 0, "Context: threads is negative; 0 is as many as this process may use");
  if (options_.threads == 0) options_.threads = available_threads();
  const char* careful = std::getenv("BIB_CAREFUL");
  careful_ = careful && *careful == '1';
  if (options_.device == Device::cuda && options_.math == Math::int8) options_.math = Math::fast;
  if (options_.device == Device::cuda) cuda_.reset(make_cuda_state(options_.device_index, options_.math));
}

void Context::wait() {
  if (cuda_) cuda_wait(*cuda_);
}

void TeamDeleter::operator()(Team* p) const noexcept { delete p; }

Team& Context::team() {
  if (!team_) team_.reset(new Team(threads() - 1, threads() <= available_threads()));
  return *team_;
}

Context& Context::single(int i) {
  ContextOptions options = options_;
  options.threads = 1;
  while (static_cast<int>(singles_.size()) <= i) singles_.push_back(std::make_unique<Context>(options));
  return *singles_[static_cast<std::size_t>(i)];
}

int available_threads() {
  int threads = 1;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) threads = std::max(1, CPU_COUNT(&set));
  std::ifstream quota("/sys/fs/cgroup/cpu.max");  // "max 100000" or "200000 100000"
  double limit = 0, period = 0;
  if (quota >> limit >> period && limit > 0 && period > 0) {
    threads = std::min(threads, std::max(1, static_cast<int>(std::ceil(limit / period))));
  }
  return threads;
}

const char* cpu_isa_name() { return isa_name(isa()); }
const char* cpu_blas_name() { return blas() ? "openblas" : "bib"; }

void copy_bytes(Context& ctx, void* to, Device to_device, const void* from, Device from_device, std::size_t bytes) {
  if (bytes == 0) return;
  if (to_device == Device::cpu && from_device == Device::cpu) {
    std::memcpy(to, from, bytes);
  } else {
    expect(ctx.device() == Device::cuda, "copy: device memory needs a context of that device");
    cuda_copy(ctx.cuda(), to, to_device, from, from_device, bytes);
  }
}

void* stage_bytes(Context& ctx, const void* host, std::size_t bytes) {
  return ctx.device() == Device::cuda && bytes > 0 ? cuda_stage(ctx.cuda(), host, bytes) : nullptr;
}

void zero_bytes(Context& ctx, void* p, std::size_t bytes) {
  if (bytes == 0) return;
  if (ctx.device() == Device::cpu) {
    std::memset(p, 0, bytes);
  } else {
    cuda_zero(ctx.cuda(), p, bytes);
  }
}

}  // namespace bib
