// The emulator itself: sound kernels give their answer under every schedule, and each seeded defect is reported.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/simt/defects.h"

namespace bib::device {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

/// n values on the device.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values) : n_(values.size()) {
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&p_), n_ * sizeof(T)), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(p_, values.data(), n_ * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
  }
  ~OnDevice() { cudaFree(p_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  T* data() const { return p_; }
  std::vector<T> values() const {
    std::vector<T> v(n_);
    EXPECT_EQ(cudaMemcpy(v.data(), p_, n_ * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return v;
  }

 private:
  std::size_t n_;
  T* p_ = nullptr;
};

std::vector<float> ramp(std::size_t n) {
  std::vector<float> v(n);
  std::iota(v.begin(), v.end(), 1.0f);
  return v;
}

struct Shape {
  unsigned blocks = 1, threads = 32, cluster = 1;
  std::size_t shared = 0;
  bool early = false;
};

/// Empty, or the report.
template <class... P, class... A>
std::string fault_of(void (*kernel)(P...), Shape shape, A... arguments) {
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {shape.cluster, 1, 1};
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = shape.early;
  config.gridDim = dim3(shape.blocks);
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared;
  config.attrs = attributes;
  config.numAttrs = 2;
  const cudaError_t e = cudaLaunchKernelEx(&config, kernel, arguments...);
  const std::string text = e == cudaSuccess ? "" : cudaGetErrorString(e);
  cudaGetLastError();
  return text;
}

/// Runs the test under every schedule.
class Schedules : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    before_ = simt::options();
    using Order = simt::Options::Order;
    const int i = GetParam();
    simt::set_options({.order = i < 2   ? Order::forward
                                : i < 4 ? Order::reverse
                                        : Order::random,
                       .seed = static_cast<std::uint64_t>(i),
                       .late_copies = i % 2 == 0});
  }
  void TearDown() override { simt::set_options(before_); }

 private:
  simt::Options before_;
};
INSTANTIATE_TEST_SUITE_P(All, Schedules, ::testing::Range(0, 8));

template <Defect D>
std::string run_reverse(int n = 64) {
  const OnDevice<float> x(ramp(static_cast<std::size_t>(n))), y(std::vector<float>(static_cast<std::size_t>(n)));
  const std::string fault = fault_of(reverse<D>, {.threads = 64}, x.data(), y.data(), n);
  if (fault.empty()) {
    auto expected = ramp(static_cast<std::size_t>(n));
    std::reverse(expected.begin(), expected.end());
    EXPECT_EQ(y.values(), expected);
  }
  return fault;
}

TEST_P(Schedules, block_defects) {
  EXPECT_EQ(run_reverse<Defect::none>(), "");
  EXPECT_EQ(run_reverse<Defect::none>(41), "");
  EXPECT_THAT(run_reverse<Defect::no_barrier>(), HasSubstr("race"));
  EXPECT_THAT(run_reverse<Defect::barrier_in_branch>(),
              AnyOf(HasSubstr("race"), HasSubstr("deadlock: 32 threads wait at defects.h:")));
  EXPECT_THAT(run_reverse<Defect::two_barriers>(), HasSubstr("other threads wait at defects.h:"));
  EXPECT_THAT(run_reverse<Defect::early_return>(41), HasSubstr("23 threads have ended"));
  EXPECT_THAT(run_reverse<Defect::off_by_one>(), HasSubstr("read outside at byte 256 of a device allocation of 256"));
  EXPECT_THAT(run_reverse<Defect::shared_too_small>(), HasSubstr("of a static array of 128"));
}

template <Defect D>
std::string run_sum() {
  const OnDevice<float> x(ramp(32)), y(std::vector<float>(32));
  const std::string fault = fault_of(sum_warp<D>, {}, x.data(), y.data());
  if (fault.empty()) {
    EXPECT_EQ(y.values(), std::vector<float>(32, 528));
  }
  return fault;
}

TEST_P(Schedules, warp_defects) {
  EXPECT_EQ(run_sum<Defect::none>(), "");
  EXPECT_THAT(run_sum<Defect::half_mask>(), AnyOf(HasSubstr("not in its own mask"), HasSubstr("outside its mask")));
  EXPECT_THAT(run_sum<Defect::no_warp_sync>(), HasSubstr("race"));
  EXPECT_THAT(run_sum<Defect::tile_sync_only>(), HasSubstr("race"));
  EXPECT_THAT(run_sum<Defect::not_zeroed>(), HasSubstr("never written"));
}

template <Defect D>
std::string run_copy() {
  const OnDevice<float> x(ramp(64)), y(std::vector<float>(32));
  const std::string fault = fault_of(copy_in_groups<D>, {}, x.data(), y.data());
  if (fault.empty()) {
    EXPECT_EQ(y.values()[0], 2 + 33);
    EXPECT_EQ(y.values()[31], 1) << "the last copy was to be zeros";
  }
  return fault;
}

TEST_P(Schedules, copy_defects) {
  EXPECT_EQ(run_copy<Defect::none>(), "");
  EXPECT_THAT(run_copy<Defect::no_wait>(), HasSubstr("st.async that is not waited for"));
  EXPECT_THAT(run_copy<Defect::wait_too_lax>(), HasSubstr("st.async that is not waited for"));
  EXPECT_NE(run_copy<Defect::own_wait_only>(), "");
}

template <Defect D>
std::string run_ask() {
  const OnDevice<float> y(std::vector<float>(64));
  const std::string fault = fault_of(ask_peer<D>, {.blocks = 2, .threads = 32, .cluster = 2}, y.data());
  if (fault.empty()) {
    EXPECT_EQ(y.values()[33], 34);
  }
  return fault;
}

template <Defect D>
std::string run_send() {
  const OnDevice<float> y(std::vector<float>(64));
  const std::string fault = fault_of(send_around<D>, {.blocks = 2, .threads = 32, .cluster = 2}, y.data());
  if (fault.empty()) {
    EXPECT_EQ(y.values()[0], 1000 + 5 * 11);
    EXPECT_EQ(y.values()[63], 1000);
  }
  return fault;
}

TEST_P(Schedules, send_defects) {
  EXPECT_EQ(run_send<Defect::none>(), "");
  const auto is_seen =
      AnyOf(HasSubstr("not waited for"), HasSubstr("never written"), HasSubstr("deadlock"), HasSubstr("more arrivals"));
  EXPECT_THAT(run_send<Defect::never_awaited>(), is_seen);
  EXPECT_THAT(run_send<Defect::wrong_phase>(), is_seen);
  EXPECT_THAT(run_send<Defect::too_few_expected>(), is_seen);
}

TEST_P(Schedules, cluster_defects) {
  EXPECT_EQ(run_ask<Defect::none>(), "");
  EXPECT_NE(run_ask<Defect::block_barrier>(), "");
  if (GetParam() < 4) {  // a random order may let both blocks read before either ends
    EXPECT_THAT(run_ask<Defect::leaves_early>(), HasSubstr("begun to end"));
  }
  const OnDevice<float> y(std::vector<float>(128));
  const Shape two_blocks{.blocks = 2, .threads = 64, .cluster = 2};
  EXPECT_EQ(fault_of(look_back<Defect::none>, two_blocks, y.data()), "");
  EXPECT_EQ(y.values()[64 + 1], 3 * (1 + 33) + 2 * (0 + 1 + 2));
  EXPECT_THAT(fault_of(look_back<Defect::read_again>, two_blocks, y.data()), HasSubstr("race: write of what"));
}

TEST_P(Schedules, early_starts) {
  const OnDevice<float> x(ramp(32));
  const auto behind_another = [&](void (*kernel)(float*)) {
    EXPECT_EQ(fault_of(follow<Defect::none>, {}, x.data()), "");
    return fault_of(kernel, {.early = true}, x.data());
  };
  EXPECT_THAT(fault_of(follow<Defect::none>, {.early = true}, x.data()), HasSubstr("behind what is no kernel"));
  EXPECT_EQ(behind_another(follow<Defect::none>), "");
  EXPECT_EQ(x.values()[31], 4 * 32);
  EXPECT_THAT(behind_another(follow<Defect::too_early>), HasSubstr("before the kernel before has"));
  EXPECT_EQ(fault_of(follow<Defect::too_early>, {}, x.data()), "") << "a launch as usual may read at once";
  EXPECT_THAT(behind_another(follow<Defect::some_wait>), HasSubstr("would wait for neither"));
}

TEST_P(Schedules, gangs_and_atomics) {
  const OnDevice<int> total({0});
  const OnDevice<float> x(ramp(8));
  EXPECT_EQ(fault_of(count<Defect::none>, {.blocks = 5}, total.data(), x.data()), "");
  EXPECT_EQ(total.values()[0], 5);
  EXPECT_THAT(fault_of(count<Defect::blocks_share>, {.blocks = 5, .threads = 1}, total.data(), x.data()),
              HasSubstr("race"));
  EXPECT_THAT(fault_of(count<Defect::misaligned>, {}, total.data(), x.data()), HasSubstr("multiple of 16"));
}

template <Defect D>
std::string run_words() {
  const OnDevice<unsigned char> bytes(std::vector<unsigned char>(8));
  const OnDevice<float> word({7}), sums(std::vector<float>(4));
  return fault_of(share_words<D>, {}, bytes.data(), word.data(), sums.data());
}

TEST_P(Schedules, words_shared_by_parts_and_by_readers) {
  EXPECT_EQ(run_words<Defect::none>(), "");
  EXPECT_THAT(run_words<Defect::unsynced_bytes>(), HasSubstr("race: two writes"));
  EXPECT_THAT(run_words<Defect::word_of_reader3>(), HasSubstr("race"));
}

TEST(Memory, host_pointers_and_freed_memory_are_refused) {
  std::vector<float> host = ramp(64);
  const OnDevice<float> y(std::vector<float>(64));
  EXPECT_THAT(fault_of(reverse<Defect::none>, {.threads = 64}, host.data(), y.data(), 64), HasSubstr("host memory"));
  float* freed = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&freed), 256), cudaSuccess);
  ASSERT_EQ(cudaFree(freed), cudaSuccess);
  EXPECT_THAT(fault_of(reverse<Defect::none>, {.threads = 64}, freed, y.data(), 64), HasSubstr("read outside"));
  EXPECT_NE(cudaFree(freed), cudaSuccess) << "freed twice";
  cudaGetLastError();
  float* fresh = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&fresh), 256), cudaSuccess);
  EXPECT_THAT(fault_of(reverse<Defect::none>, {.threads = 64}, fresh, y.data(), 64), HasSubstr("never written"));
  EXPECT_EQ(cudaFree(fresh), cudaSuccess);
}

TEST(Memory, more_than_there_is_is_refused) {
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, std::size_t{1} << 40), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
}

TEST(Launch, limits_are_those_of_a_gpu) {
  const OnDevice<int> total({0});
  const OnDevice<float> x(ramp(8));
  const auto launch = [&](Shape s) { return fault_of(count<Defect::none>, s, total.data(), x.data()); };
  EXPECT_THAT(launch({.threads = 1025}), HasSubstr("1024 threads"));
  EXPECT_THAT(launch({.blocks = 3, .cluster = 2}), HasSubstr("multiple of the cluster"));
  EXPECT_THAT(launch({.blocks = 32, .cluster = 32}), HasSubstr("16 blocks"));
  EXPECT_THAT(launch({.blocks = 16, .cluster = 16}), HasSubstr("cudaFuncSetAttribute"));
  EXPECT_THAT(launch({.shared = 64 * 1024}), HasSubstr("cudaFuncSetAttribute"));
}

TEST(Graph, what_was_captured_runs_when_launched) {
  const OnDevice<float> x(ramp(64)), y(std::vector<float>(64));
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(64);
  config.stream = stream;
  EXPECT_EQ(cudaLaunchKernelEx(&config, reverse<Defect::none>, x.data(), y.data(), 64), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(x.data(), 0, 4, stream), cudaSuccess);
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(y.values()[0], 0) << "nothing runs while capturing";
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  EXPECT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  EXPECT_EQ(y.values()[63], 1);
  EXPECT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  EXPECT_EQ(y.values()[63], 0);
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

TEST(Graph, an_early_start_needs_a_kernel_before_it) {
  const OnDevice<float> x(ramp(32));
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(32);
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = 1;
  const auto launch = [&] { return cudaLaunchKernelEx(&config, follow<Defect::none>, x.data()); };
  EXPECT_NE(launch(), cudaSuccess) << "the first of a graph";
  config.numAttrs = 0;
  EXPECT_EQ(launch(), cudaSuccess);
  config.numAttrs = 1;
  EXPECT_EQ(launch(), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(x.data(), 0, 4, stream), cudaSuccess);
  EXPECT_NE(launch(), cudaSuccess) << "behind a memset";
  cudaGetLastError();
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

}  // namespace
}  // namespace bib::device
