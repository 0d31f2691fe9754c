// Not a test: what one op makes of its samples, for agree_test, which cannot run two instruction sets, or float and
// double, in one process.   usage: op_outputs OP > FILE
// Per sample, random operands and, for exact ops, whole ones, per output: its length and its values, all as double.
#include <cstdio>
#include <string_view>

#include "tests/placed.h"
#include "tests/samples.h"

namespace bib::test {
namespace {

void put(const std::vector<double>& values) {
  if (!values.empty()) std::fwrite(values.data(), sizeof(double), values.size(), stdout);
}

template <class Op>
void put_outputs(bool whole) {
  for (const auto& shape : Samples<Op>::shapes) {
    Maker maker(test_seed(), whole);
    Placed<Op> placed(maker.cpu(), Samples<Op>::make(maker, shape), Prefill::zero);
    placed.run();
    for (const Output& output : placed.outputs()) {
      put({static_cast<double>(output.values.size())});
      put(output.values);
    }
  }
}

template <class... Ops>
bool put_op(std::string_view name, OpList<Ops...>) {
  const auto one = [&]<class Op>(const Op*) {
    if (Op::name != name) return false;
    put_outputs<Op>(false);
    if (exact_on_integers<Op>()) put_outputs<Op>(true);
    return true;
  };
  return (one(static_cast<const Ops*>(nullptr)) || ...);
}

}  // namespace
}  // namespace bib::test

int main(int argc, char** argv) {
  try {
    bib::cpu_isa_name();
  } catch (const std::invalid_argument&) {
    return 77;  // BIB_CPU_ISA asks for what this CPU lacks
  }
  if (argc == 2 && bib::test::put_op(argv[1], bib::AllOps{})) return 0;
  std::fprintf(stderr, "usage: op_outputs OP\n");
  return 2;
}
