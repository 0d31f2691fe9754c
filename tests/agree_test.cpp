// Every op, every sample: this process against other builds of the same code. Against double it proves the float
// answer (and gradient_test proves double); against each instruction set it proves that all of them agree.
#include <sys/wait.h>

#include <cstdio>
#include <stdexcept>

#include "cpu/isa.h"
#include "tests/op_test.h"

namespace bib::test {
namespace {

struct Result {
  int status = 0;  // 77: this CPU lacks the instruction set
  std::vector<double> values;
};

Result outputs_of(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot start " + command);
  Result result;
  std::vector<double> block(1 << 16);
  while (const std::size_t n = std::fread(block.data(), sizeof(double), block.size(), pipe))
    result.values.insert(result.values.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(n));
  const int status = pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

class Reader {
 public:
  explicit Reader(std::vector<double> values) : values_(std::move(values)) {}
  bool done() const { return at_ == values_.size(); }
  Outputs next_like(const Outputs& ours) {
    Outputs theirs = ours;
    for (Output& output : theirs) {
      if (at_ >= values_.size() || values_[at_] != static_cast<double>(output.values.size()) ||
          values_.size() - at_ - 1 < output.values.size())
        throw std::runtime_error("op_outputs ended early or has another shape");
      const auto from = values_.begin() + static_cast<std::ptrdiff_t>(at_ + 1);
      output.values.assign(from, from + static_cast<std::ptrdiff_t>(output.values.size()));
      at_ += 1 + output.values.size();
    }
    return theirs;
  }

 private:
  std::vector<double> values_;
  std::size_t at_ = 0;
};

template <class Op>
void agree_with(const char* what, const std::string& program) {
  Result result = outputs_of(program + " " + std::string(Op::name));
  if (result.status == 77) GTEST_SKIP() << what << ": this CPU does not have it";
  ASSERT_EQ(result.status, 0) << program;
  Reader theirs(std::move(result.values));
  Context ctx;
  Worst worst;
  for (bool whole : {false, true}) {
    if (whole && !exact_on_integers<Op>()) break;
    for_each_shape<Op>(ctx, whole, [&](Maker&, const Op& op, const auto& shape) {
      const Outputs ours = checked_run(ctx, op, Prefill::zero);
      const double allowed = whole ? 0 : tolerance<Op>(shape);
      const Worst found = compare(op, ours, theirs.next_like(ours), allowed);
      EXPECT_TRUE(found.ok()) << (whole ? "whole numbers: " : "") << found.text();
      worst.take(found);
    });
  }
  EXPECT_TRUE(theirs.done());
  report(what, Op::name, worst);
}

std::string with_isa(const char* isa) { return std::string("BIB_CPU_ISA=") + isa + " " + BIB_OP_OUTPUTS; }

template <class Op>
class Agree : public ::testing::Test {};
TYPED_TEST_SUITE(Agree, AllTypes, OpName);

TYPED_TEST(Agree, with_double) { agree_with<TypeParam>("double", BIB_OP_OUTPUTS_DOUBLE); }
#define BIB_AGREE(isa, ...) \
  TYPED_TEST(Agree, with_##isa) { agree_with<TypeParam>(#isa, with_isa(#isa)); }
BIB_EACH_ISA(BIB_AGREE, )

}  // namespace
}  // namespace bib::test
