// How the cost of an op grows with one of its sizes, the others held: lstm_forward/cpu/T/64. The fit at the end of each
// family (BigO, RMS) says whether it grows as it should. docs/benchmarks.md says how to read what it prints.
#include <map>

#include "bench/op_timing.h"

namespace bib::bench {
namespace {

using benchmark::BigO;

/// `size` is what is swept, `shape(n)` the sample's shape with n for it.
template <class Op, class F>
void add_sweep(Roof& roof, const char* size, std::initializer_list<int> values, BigO growth, F&& shape) {
  const auto shapes = std::make_shared<std::map<std::int64_t, ShapeOf<Op>>>();  // their addresses stay
  for (int n : values) shapes->emplace(n, shape(n));
  for (const Device device : devices_at_hand()) {
    const std::string name = std::string(Op::name) + device_part(device) + size;
    auto* family = benchmark::RegisterBenchmark(name.c_str(), [=, &roof](benchmark::State& state) {
      time_op<Op>(state, device, shapes->at(state.range(0)), roof);
      state.SetComplexityN(state.range(0));
    });
    for (int n : values) family->Arg(n);
    family->UseManualTime()->Unit(benchmark::kMicrosecond)->Complexity(growth);
  }
}

template <class Op>
void add_lstm(Roof& roof) {
  using test::LstmShape;
  add_sweep<Op>(roof, "T", {16, 32, 64, 128, 256, 512}, benchmark::oN,
                [](int n) { return LstmShape{.name = "", .T = n, .B = 32, .I = 128, .H = 128, .D = 2}; });
  add_sweep<Op>(roof, "B", {1, 2, 4, 8, 16, 32, 64, 128}, benchmark::oN,
                [](int n) { return LstmShape{.name = "", .T = 64, .B = n, .I = 128, .H = 128, .D = 2}; });
  add_sweep<Op>(roof, "H", {32, 64, 128, 256, 512}, benchmark::oNSquared,
                [](int n) { return LstmShape{.name = "", .T = 64, .B = 32, .I = n, .H = n, .D = 2}; });
}

template <class Op>
void add_crf(Roof& roof) {
  using test::CrfShape;
  add_sweep<Op>(roof, "T", {16, 32, 64, 128, 256, 512}, benchmark::oN,
                [](int n) { return CrfShape{.name = "", .T = n, .B = 32, .K = 31, .forbidden = true}; });
  add_sweep<Op>(roof, "B", {1, 2, 4, 8, 16, 32, 64, 128}, benchmark::oN,
                [](int n) { return CrfShape{.name = "", .T = 64, .B = n, .K = 31, .forbidden = true}; });
  add_sweep<Op>(roof, "K", {3, 9, 16, 17, 31, 33, 64, 128}, benchmark::oNSquared,
                [](int n) { return CrfShape{.name = "", .T = 64, .B = 32, .K = n, .forbidden = true}; });
}

void add_all_sweeps(Roof& roof) {
  add_lstm<LstmForward>(roof);
  add_lstm<LstmBackward>(roof);
  add_crf<CrfLoss>(roof);
  add_crf<CrfDecode>(roof);
  add_sweep<EmbeddingForward>(roof, "V", {1'000, 10'000, 100'000, 1'000'000}, benchmark::o1, [](int n) {
    return test::EmbeddingShape{.name = "", .T = 64, .B = 32, .V = n, .E = 64, .Y = 64, .column = 0};
  });
  add_sweep<AdamRows>(roof, "V", {10'000, 100'000, 1'000'000}, benchmark::o1, [](int n) {
    return test::AdamRowsShape{.name = "", .U = 2000, .V = n, .E = 64, .hyper = {.step = 50}};
  });
  add_sweep<ConvPoolForward>(roof, "T", {16, 32, 64, 128, 256, 512}, benchmark::oN, [](int n) {
    return test::ConvPoolShape{
        .name = "", .T = n, .B = 64, .C = 128, .W = 3, .F = 128, .pad = 1, .Y = 128, .column = 0};
  });
  add_sweep<SoftmaxLoss>(roof, "K", {2, 10, 100, 1'000, 10'000}, benchmark::oN,
                         [](int n) { return test::LossShape{.name = "", .B = 64, .K = n}; });
}

}  // namespace
}  // namespace bib::bench

int main(int argc, char** argv) {
  return bib::bench::run_suite(argc, argv, [](bib::bench::Roof& roof) { bib::bench::add_all_sweeps(roof); });
}
