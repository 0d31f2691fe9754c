// The LSTM's kernels on a GPU (or the emulator) at the sizes where they change: how many blocks share a sequence,
// whether weights fit into registers, whether the state fits on chip; on tensor cores and without. Against the CPU.
#include "bib/cuda_backend.h"
#include "tests/op_test.h"

namespace bib::test {
namespace {

constexpr LstmShape sizes[] = {
    {"a_block", 3, 9, 3, 64, 2, true},         {"a_full_block", 3, 3, 3, 128, 1},
    {"default_model", 3, 2, 5, 160, 2},        {"cluster_with_an_edge", 2, 3, 4, 139, 2, true},
    {"cluster_192", 2, 2, 4, 185, 1},          {"cluster_256", 3, 2, 4, 256, 1},
    {"blocks_without_units", 2, 2, 3, 257, 1}, {"cluster_384", 2, 2, 4, 380, 1},
    {"cluster_512", 2, 2, 4, 512, 1}};

class LstmOnDevice : public ::testing::TestWithParam<LstmShape> {
 protected:
  void SetUp() override {
    if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
  }
};

/// Above what tensor-core kernels are made for, and what a block can hold of backward's state.
constexpr LstmShape largest{"state_in_memory", 2, 1, 1, 890, 1};

/// Runs the op twice, and compares with the CPU and with itself. Gives what it found.
template <class Op>
Outputs expect_parity(Math math, const LstmShape& shape) {
  Context cpu, cuda({.device = Device::cuda, .math = math});
  SCOPED_TRACE(scene<Op>(shape.name, cuda));
  Maker maker(test_seed(), false);
  const Op op = Samples<Op>::make(maker, shape);
  const Outputs got = checked_run(cuda, op, Prefill::random);
  const Worst worst = compare(op, got, checked_run(cpu, op, Prefill::random), tolerance<Op>(shape, math));
  EXPECT_TRUE(worst.ok()) << worst.text();
  EXPECT_EQ(difference(op, checked_run(cuda, op, Prefill::random), got), "");
  report("cpu", Op::name, worst);
  return got;
}

TEST_P(LstmOnDevice, strict_math) {
  expect_parity<LstmForward>(Math::strict, GetParam());
  expect_parity<LstmBackward>(Math::strict, GetParam());
}

TEST_P(LstmOnDevice, fast_math) {
  const Outputs fast = expect_parity<LstmForward>(Math::fast, GetParam());
  expect_parity<LstmBackward>(Math::fast, GetParam());
  if (cuda_info().compute_major < 9) return;
  const Outputs strict = expect_parity<LstmForward>(Math::strict, GetParam());
  EXPECT_NE(fast[0].values, strict[0].values) << "tensor cores were not used";
}

TEST(LstmOnDeviceLargest, any_size_works_in_either_math) {
  if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
  expect_parity<LstmForward>(Math::strict, largest);
  expect_parity<LstmBackward>(Math::fast, largest);
}

/// A prediction needs neither gates nor cells: the kernels then keep them to themselves.
TEST_P(LstmOnDevice, without_gates_h_is_the_same) {
  for (const Math math : {Math::strict, Math::fast}) {
    Context cuda({.device = Device::cuda, .math = math});
    Maker maker(test_seed(), false);
    LstmForward op = Samples<LstmForward>::make(maker, GetParam());
    const Outputs whole = checked_run(cuda, op, Prefill::random);
    op.gates = {}, op.c = {};
    const Outputs lean = checked_run(cuda, op, Prefill::random);
    EXPECT_EQ(lean[0].values, whole[0].values);
  }
}

/// The steps of x behind the end of a sequence meet gradients of 0, which a number would survive and NaN would not.
TEST_P(LstmOnDevice, nothing_that_stands_in_the_padding_matters_in_fast_math) {
  if (cuda_info().compute_major < (GetParam().H > 128 ? 9 : 8)) GTEST_SKIP() << "strict kernels";
  Context cuda({.device = Device::cuda, .math = Math::fast});
  Maker maker(test_seed(), false);
  const LstmBackward op = Samples<LstmBackward>::make(maker, GetParam());
  const Outputs clean = checked_run(cuda, op, Prefill::random);
  const int T = op.x.dim(0), B = op.x.dim(1), I = op.x.dim(2);
  bool padded = false;
  for (int b = 0; b < B; ++b)
    for (int t = op.lengths[b]; t < T; ++t, padded = true)
      std::fill_n(const_cast<real*>(op.x.data) + (std::int64_t{t} * B + b) * I, I, std::nanf(""));
  EXPECT_TRUE(padded);
  EXPECT_EQ(difference(op, checked_run(cuda, op, Prefill::random), clean), "");
}

struct Asked {
  const char* variable;
  Asked(const char* name, const char* value) : variable(name) { ::setenv(name, value, 1); }
  ~Asked() { ::unsetenv(variable); }
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;
};
struct AskedTile : Asked {
  explicit AskedTile(const char* sequences) : Asked("BIB_LSTM_TILE", sequences) {}
};
struct AskedExchange : Asked {
  explicit AskedExchange(const char* way) : Asked("BIB_LSTM_EXCHANGE", way) {}
};

/// Which kernels forward and backward take with tiles of so many sequences.
template <class Op>
std::uint64_t kernels_of(const LstmShape& shape, const char* tile, const char* exchange = "barrier") {
  const AskedTile asked(tile);
  const AskedExchange way(exchange);
  Context cuda({.device = Device::cuda, .math = Math::fast});
  Maker maker(test_seed(), false);
  checked_run(cuda, Samples<Op>::make(maker, shape), Prefill::random);
  return cuda_enqueued(cuda.cuda());
}

/// Tiles of 16 and 32 sequences, where a batch as small as this would have 8: the same values, and the same bits of h.
TEST_P(LstmOnDevice, wide_tiles) {
  if (cuda_info().compute_major < 9) GTEST_SKIP() << "clusters need compute capability 9.0";
  LstmShape shape = GetParam();
  shape.B = 19;  // edges in tiles of 8, 16 and 32
  std::vector<double> narrow;
  for (const char* tile : {"8", "16", "32"}) {
    const AskedTile asked(tile);
    SCOPED_TRACE(tile);
    const Outputs got = expect_parity<LstmForward>(Math::fast, shape);
    if (narrow.empty()) narrow = got[0].values;
    EXPECT_EQ(got[0].values, narrow);
    expect_parity<LstmBackward>(Math::fast, shape);
  }
  // Blocks alone have one tile, the largest layers two.
  EXPECT_EQ(kernels_of<LstmForward>(shape, "8") != kernels_of<LstmForward>(shape, "16"), shape.H > 128);
  EXPECT_EQ(kernels_of<LstmBackward>(shape, "8") != kernels_of<LstmBackward>(shape, "16"), shape.H > 128);
  if (shape.H > 384) return;
  EXPECT_EQ(kernels_of<LstmForward>(shape, "16") != kernels_of<LstmForward>(shape, "32"), shape.H > 128);
  EXPECT_EQ(kernels_of<LstmBackward>(shape, "16") != kernels_of<LstmBackward>(shape, "32"), shape.H > 128);
}

/// Blocks that send each other what a step made, and wait for what comes instead of meeting: the same bits.
TEST_P(LstmOnDevice, async_exchange) {
  if (cuda_info().compute_major < 9) GTEST_SKIP() << "clusters need compute capability 9.0";
  LstmShape shape = GetParam();
  shape.B = 11, shape.T = 6;
  const auto all = [&] {
    std::vector<Outputs> found{expect_parity<LstmForward>(Math::fast, shape),
                               expect_parity<LstmBackward>(Math::fast, shape)};
    return found;
  };
  const std::vector<Outputs> with_barrier = all();
  const AskedExchange asked("async");
  const std::vector<Outputs> async = all();
  for (std::size_t op = 0; op < 2; ++op)
    for (std::size_t i = 0; i < async[op].size(); ++i) EXPECT_EQ(async[op][i].values, with_barrier[op][i].values);
  EXPECT_EQ(kernels_of<LstmForward>(shape, "8", "async") != kernels_of<LstmForward>(shape, "8"), shape.H > 128);
  EXPECT_EQ(kernels_of<LstmBackward>(shape, "8", "async") != kernels_of<LstmBackward>(shape, "8"), shape.H > 128);
}

TEST(LstmOnDeviceExchange, of_a_kind_that_there_is_not_is_refused) {
  if (!cuda_at_hand() || cuda_info().compute_major < 8) GTEST_SKIP() << "no GPU with tensor cores for bf16";
  const AskedExchange asked("mail");
  Context cuda({.device = Device::cuda, .math = Math::fast});
  Maker maker(test_seed(), false);
  const LstmForward op = Samples<LstmForward>::make(maker, sizes[0]);
  EXPECT_THROW(checked_run(cuda, op, Prefill::random), std::invalid_argument);
}

TEST(LstmOnDeviceTile, of_a_size_that_no_kernel_has_is_refused) {
  if (!cuda_at_hand() || cuda_info().compute_major < 8) GTEST_SKIP() << "no GPU with tensor cores for bf16";
  const AskedTile asked("12");
  Context cuda({.device = Device::cuda, .math = Math::fast});
  Maker maker(test_seed(), false);
  const LstmForward op = Samples<LstmForward>::make(maker, sizes[0]);
  EXPECT_THROW(checked_run(cuda, op, Prefill::random), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(Sizes, LstmOnDevice, ::testing::ValuesIn(sizes),
                         [](const auto& size) { return std::string(size.param.name); });

}  // namespace
}  // namespace bib::test
