// The LSTM's kernels on a GPU (or the emulator) at the sizes where they change: how many blocks share a sequence,
// whether weights fit into registers, whether the state fits on chip; on tensor cores and without. Against the CPU.
#include <map>
#include <set>
#include <span>
#include <utility>

#include "bib/cuda_backend.h"
#include "tests/lstm_on_device.h"

namespace bib::test {
namespace {

constexpr LstmShape sizes[] = {
    {"a_block", 7, 9, 3, 64, 2, true},         {"a_full_block", 6, 3, 3, 128, 1},
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

/// Against the CPU and, run again, with itself.
template <class Op>
Outputs expect_parity(Math math, const LstmShape& shape) {
  const Against<Op> cpu(math, shape);
  Context cuda({.device = Device::cuda, .math = math}), again({.device = Device::cuda, .math = math});
  SCOPED_TRACE(scene<Op>(shape.name, cuda));
  const Outputs got = cpu.run(cuda);
  EXPECT_EQ(difference(cpu.op, checked_run(again, cpu.op, Prefill::random), got), "");
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
  const auto op = made_for<LstmBackward>(Device::cuda, Math::fast, maker, GetParam());
  const Outputs clean = checked_run(cuda, op, Prefill::random);
  const int T = op.x.dim(0), B = op.x.dim(1), I = op.x.dim(2);
  bool padded = false;
  for (int b = 0; b < B; ++b)
    for (int t = op.lengths[b]; t < T; ++t, padded = true)
      std::fill_n(const_cast<real*>(op.x.data) + (std::int64_t{t} * B + b) * I, I, std::nanf(""));
  EXPECT_TRUE(padded);
  EXPECT_EQ(difference(op, checked_run(cuda, op, Prefill::random), clean), "");
}

/// What fp16 cannot hold: as its largest, not infinite, which would be NaN where it meets a zero.
TEST_P(LstmOnDevice, what_is_too_large_for_fp16_is_as_its_largest_in_fast_math) {
  LstmShape shape = GetParam();
  if (cuda_info().compute_major < (shape.H > 128 ? 9 : 8)) GTEST_SKIP() << "strict kernels";
  if (shape.H == 64) shape.B = 80;  // a product for cuBLAS, which makes infinity of what is too large
  Context cpu, cuda({.device = Device::cuda, .math = Math::fast});
  Maker maker(test_seed(), false);
  const LstmForward op = Samples<LstmForward>::make(maker, shape);
  const auto run_with = [&](Context& ctx, real large) {
    const auto put = [&](const real& to, real v) { const_cast<real&>(to) = v; };
    for (int t = 0; t < shape.T; ++t)
      for (int b = 0; b < shape.B; ++b) put(op.x[t][b][0], (t + b) % 2 ? large : 0);
    for (int d = 0; d < shape.D; ++d) {
      for (int gate = 0; gate < 4; ++gate) {
        // The first unit's h, which others multiply by so much, is far from 0.
        if (gate != 1) put(op.b[d][gate * shape.H], large);
        for (int row = gate * shape.H + 1; row < (gate + 1) * shape.H; ++row) {
          if (row % 3 == 0) put(op.w_x[d][row][0], row % 2 ? large : -large);
          if (row % 5 == 0) put(op.w_h[d][row][0], row % 2 ? large : -large);
        }
      }
    }
    return checked_run(ctx, op, Prefill::random);
  };
  const Outputs got = run_with(cuda, 1e6f);
  const Worst worst = compare(op, comparable(op, Math::fast, got), comparable(op, Math::fast, run_with(cpu, 65504)),
                              tolerance<LstmForward>(shape, Math::fast));
  EXPECT_TRUE(worst.ok()) << worst.text();
}

struct Asked {
  const char* variable;
  Asked(const char* name, const char* value) : variable(name) { ::setenv(name, value, 1); }
  ~Asked() { ::unsetenv(variable); }
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;
};
/// What the environment may ask of the tensor-core kernels, and from which size of layer on there are clusters for it.
struct Kernels {
  const char *tile, *warp;  // sequences of a tile, units of a warp
  int from, to;             // units of a layer

  bool made_for(const LstmShape& shape) const { return from <= shape.H && shape.H <= to; }
};
constexpr Kernels choices[] = {
    {"8", "8", 1, 512}, {"16", "8", 129, 512}, {"32", "8", 129, 384}, {"8", "4", 129, 160}, {"8", "4", 257, 512}};

struct AskedKernels {
  Asked tile, warp, exchange;
  explicit AskedKernels(const Kernels& k, const char* way = "barrier")
      : tile("BIB_LSTM_TILE", k.tile), warp("BIB_LSTM_WARP", k.warp), exchange("BIB_LSTM_EXCHANGE", way) {}
};

/// Tiles and blocks of all sizes, where a batch as small as this would have one: the same values, and the same bits of
/// h.
TEST_P(LstmOnDevice, tiles_and_blocks_of_all_sizes) {
  if (cuda_info().compute_major < 9) GTEST_SKIP() << "clusters need compute capability 9.0";
  LstmShape shape = GetParam();
  shape.B = 19;  // edges in tiles of 8, 16 and 32
  const Against<LstmForward> forward_on_cpu(Math::fast, shape);
  const Against<LstmBackward> backward_on_cpu(Math::fast, shape);
  std::vector<double> first;
  std::set<std::uint64_t> forward, backward;  // kernels taken
  std::size_t kinds = 0;
  for (const Kernels& kernels : choices) {
    if (!kernels.made_for(shape)) continue;
    const AskedKernels asked(kernels);
    SCOPED_TRACE(std::string(kernels.tile) + " sequences, " + kernels.warp + " units");
    Context one({.device = Device::cuda, .math = Math::fast}), other({.device = Device::cuda, .math = Math::fast});
    const Outputs got = forward_on_cpu.run(one);
    if (first.empty()) first = got[0].values;
    EXPECT_EQ(got[0].values, first);
    forward.insert(cuda_enqueued(one.cuda()));
    backward_on_cpu.run(other);
    backward.insert(cuda_enqueued(other.cuda()));
    ++kinds;
  }
  EXPECT_EQ(forward.size(), kinds);
  // Only the largest layers have small blocks backward.
  EXPECT_EQ(backward.size(), kinds - (shape.H > 128 && shape.H <= 160) - (shape.H > 256 && shape.H <= 384));
}

/// What an op gives, by one run.
template <class Op>
Outputs run_on_device(const Op& op, const Kernels& kernels, const char* exchange, std::uint64_t& kernel) {
  const AskedKernels asked(kernels, exchange);
  Context cuda({.device = Device::cuda, .math = Math::fast});
  const Outputs got = checked_run(cuda, op, Prefill::random);
  kernel = cuda_enqueued(cuda.cuda());
  return got;
}

/// Every kernel that sends, against the one that meets and adds in the same order: forward any, backward one with as
/// many blocks, which the units of a warp decide.
template <class Op>
void expect_same_bits_from_both_exchanges(const LstmShape& shape, std::span<const Kernels> kinds) {
  Maker maker(test_seed(), false);
  const Op op = made_for<Op>(Device::cuda, Math::fast, maker, shape);
  std::map<std::string, std::pair<Outputs, std::uint64_t>> meeting;  // by units of a warp
  for (const Kernels& kernels : kinds) {
    if (!kernels.made_for(shape)) continue;
    SCOPED_TRACE(std::string(Op::name) + ": " + kernels.tile + " sequences, " + kernels.warp + " units");
    auto& [expected, meets] = meeting[kernels.warp];
    if (expected.empty()) expected = run_on_device(op, {"8", kernels.warp, 1, 512}, "barrier", meets);
    std::uint64_t sends = 0;
    const Outputs got = run_on_device(op, kernels, "async", sends);
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].values, expected[i].values);
    EXPECT_EQ(sends != meets, shape.H > 128);  // smaller layers have no clusters
  }
}

/// Blocks that send each other what a step made, and wait for what comes instead of meeting; tiles of 16 and 32 in two
/// parts.
TEST_P(LstmOnDevice, async_exchange) {
  if (cuda_info().compute_major < 9) GTEST_SKIP() << "clusters need compute capability 9.0";
  LstmShape shape = GetParam();
  shape.B = 17, shape.T = 4;  // both parts of the widest tile, and every buffer twice
  std::vector<Kernels> forward(std::begin(choices), std::end(choices));
  forward.push_back({"32", "8", 385, 512});
  expect_same_bits_from_both_exchanges<LstmForward>(shape, forward);
  expect_same_bits_from_both_exchanges<LstmBackward>(shape, choices);
}

TEST(LstmOnDeviceChoice, of_a_kind_that_there_is_not_is_refused) {
  if (!cuda_at_hand() || cuda_info().compute_major < 8) GTEST_SKIP() << "no GPU with tensor cores for bf16";
  for (const auto& [variable, value] :
       {std::pair("BIB_LSTM_EXCHANGE", "mail"), std::pair("BIB_LSTM_TILE", "12"), std::pair("BIB_LSTM_WARP", "6")}) {
    const Asked asked(variable, value);
    Context cuda({.device = Device::cuda, .math = Math::fast});
    Maker maker(test_seed(), false);
    const LstmForward op = Samples<LstmForward>::make(maker, sizes[0]);
    EXPECT_THROW(checked_run(cuda, op, Prefill::random), std::invalid_argument) << variable;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, LstmOnDevice, ::testing::ValuesIn(sizes),
                         [](const auto& size) { return std::string(size.param.name); });

}  // namespace
}  // namespace bib::test
