// Every op, every timed sample, every device at hand: lstm_forward/cpu/ner_32x62x200. docs/benchmarks.md says how to
// read what it prints.
#include "bench/op_timing.h"

namespace bib::bench {
namespace {

template <class Op>
const auto& timed_shapes() {
  if constexpr (requires { Samples<Op>::timed; }) {
    return Samples<Op>::timed;
  } else {
    return Samples<Op>::shapes;
  }
}

template <class Op>
void add_op(Roof& roof) {
  for (const Device device : devices_at_hand()) {
    for (const auto& shape : timed_shapes<Op>()) {
      const std::string name = std::string(Op::name) + device_part(device) + std::string(shape.name);
      benchmark::RegisterBenchmark(
          name.c_str(), [=, &roof, &shape](benchmark::State& state) { time_op<Op>(state, device, shape, roof); })
          ->UseManualTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
}

template <class... Ops>
void add_all(Roof& roof, OpList<Ops...>) {
  (add_op<Ops>(roof), ...);
}

}  // namespace
}  // namespace bib::bench

int main(int argc, char** argv) {
  return bib::bench::run_suite(argc, argv, [](bib::bench::Roof& roof) { bib::bench::add_all(roof, bib::AllOps{}); });
}
