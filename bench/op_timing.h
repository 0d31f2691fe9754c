// Times one op on one device for Google Benchmark: what the suites of ops share.
#pragma once
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <tuple>

#include "bench/roof.h"
#include "bib/cuda_backend.h"
#include "tests/placed.h"
#include "tests/samples.h"

namespace bib::bench {

using test::Samples, test::ShapeOf, test::Writes;

/// An op ready to run again and again.
template <class Op>
class Prepared {
 public:
  Prepared(Device device, const ShapeOf<Op>& shape)
      : made_(Samples<Op>::make(maker_, shape)),
        ctx_({.device = device}),
        placed_(ctx_, made_, test::Prefill::as_made) {
    std::apply(
        [&](const auto&... now) {
          std::apply([&](const auto&... before) { (reset_before_run(now, before), ...); }, Op::operands(made_));
        },
        Op::operands(placed_.op()));
    run();  // scratch memory is there from now on
  }

  void reset() {
    for (const auto& reset : resets_) reset();
  }

  /// Seconds of one run: of the device's own events on a GPU, by the clock on the CPU.
  double run() {
    if (ctx_.device() == Device::cuda) return cuda_seconds(ctx_.cuda(), [&] { placed_.run(); });
    const auto begin = std::chrono::steady_clock::now();
    placed_.run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  const Op& op() const { return made_; }

 private:
  /// Integers updated in place are the steps up to which rows are done; left as they are, the next run has no work.
  template <class T, int R>
  void reset_before_run(const View<T, R>& now, const View<T, R>& before) {
    if constexpr (std::is_same_v<T, int>) {
      if (before.size() == 0 || test::writes(made_, before.data, 0) == Writes::set) return;
      resets_.push_back([this, now, before] { copy<T, R>(ctx_, now, before), ctx_.wait(); });
    }
  }

  test::Maker maker_;
  Op made_;
  Context ctx_;
  test::Placed<Op> placed_;
  std::vector<std::function<void()>> resets_;
};

using Key = std::tuple<std::string_view, const void*, Device>;  // op, shape, device
inline struct {
  Key key;
  std::shared_ptr<void> op;
} kept;

/// Google Benchmark calls a benchmark again for more iterations, so the op prepared last is kept; only that one.
template <class Op>
Prepared<Op>& prepared(Device device, const ShapeOf<Op>& shape) {
  const Key wanted{Op::name, &shape, device};
  if (kept.key != wanted) {
    kept = {};
    kept = {wanted, std::make_shared<Prepared<Op>>(device, shape)};
  }
  return *static_cast<Prepared<Op>*>(kept.op.get());
}

template <class Op>
double flops_of(const Op& op) {
  if constexpr (requires { Samples<Op>::flops(op); }) return Samples<Op>::flops(op);
  return 0;
}

/// Of all operands.
template <class Op>
double size_of(const Op& op) {
  double bytes = 0;
  test::for_each_operand(op, [&](auto& v, int) { bytes += static_cast<double>(v.size()) * sizeof(*v.data); });
  return bytes;
}

/// What the sample declares, or every operand once; outputs as often as their elements are read and written.
template <class Op>
double bytes_of(const Op& op) {
  if constexpr (requires { Samples<Op>::bytes(op); }) return Samples<Op>::bytes(op);
  double bytes = 0;
  test::for_each_operand(op, [&](auto& v, int) {
    using V = std::remove_cvref_t<decltype(v)>;
    double accesses = static_cast<double>(v.size());
    if constexpr (V::is_output) {
      accesses = 0;
      for (std::int64_t i = 0; i < v.size(); ++i) {
        const Writes w = test::writes(op, v.data, i);
        accesses += w == Writes::set ? 1 : w == Writes::add || w == Writes::update ? 2 : 0;
      }
    }
    bytes += sizeof(typename V::value_type) * accesses;
  });
  return bytes;
}

/// GB/s and GFLOP/s of the work declared, and roof%: the time it would take at this machine's ceilings, of the time it
/// took.
template <class Op>
void time_op(benchmark::State& state, Device device, const ShapeOf<Op>& shape, Roof& roof) {
  Prepared<Op>& op = prepared<Op>(device, shape);
  double seconds = 0;
  for (auto _ : state) {
    op.reset();
    const double once = op.run();
    state.SetIterationTime(once);
    seconds += once;
  }
  seconds /= static_cast<double>(state.iterations());
  const double flops = flops_of(op.op()), bytes = bytes_of(op.op()), size = size_of(op.op());
  state.counters["GB/s"] = bytes / seconds * 1e-9;
  if (flops > 0) state.counters["GFLOP/s"] = flops / seconds * 1e-9;
  if (device == Device::cpu)
    state.counters["roof%"] = 100 * roof.seconds(flops, bytes, std::min(bytes, size)) / seconds;
}

/// Where ops can be timed on this machine.
inline std::vector<Device> devices_at_hand() {
  std::vector<Device> devices{Device::cpu};
  if (has_cuda && cuda_info().cuda) devices.push_back(Device::cuda);
  return devices;
}
inline const char* device_part(Device device) { return device == Device::cpu ? "/cpu/" : "/cuda/"; }

inline std::string billions(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f", x * 1e-9);
  return text;
}

inline void describe_machine(Roof& roof) {
  benchmark::AddCustomContext("instruction set", cpu_isa_name());
  benchmark::AddCustomContext("threads", std::to_string(available_threads()));
  benchmark::AddCustomContext("fp32 GFLOP/s", billions(roof.flops()));
  benchmark::AddCustomContext("16-bit integer GOP/s", billions(roof.integer_ops(16)));
  benchmark::AddCustomContext("8-bit integer GOP/s", billions(roof.integer_ops(8)));
  benchmark::AddCustomContext("GB/s of 256 KiB", billions(roof.bandwidth(0x1p18)));
  benchmark::AddCustomContext("GB/s of 4 MiB", billions(roof.bandwidth(0x1p22)));
  benchmark::AddCustomContext("GB/s of 256 MiB", billions(roof.bandwidth(0x1p28)));
}

/// The main() of a suite: add(roof) registers its benchmarks.
template <class F>
int run_suite(int argc, char** argv, F&& add) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  Roof roof(available_threads());
  describe_machine(roof);
  add(roof);
  const auto ran = benchmark::RunSpecifiedBenchmarks();
  kept = {};  // before the end of main(), where CUDA may be gone
  return ran > 0 ? 0 : 1;
}

}  // namespace bib::bench
