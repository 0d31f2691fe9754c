// Contexts of several GPUs in one process, on real ones or on the emulator's: each works from any thread, whatever
// device is that thread's current one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "bib/cuda_backend.h"
#include "bib/error.h"
#include "bib/ops.h"
#include "bib/together.h"
#include "models/model_file.h"
#include "models/parameters.h"
#include "tests/cuda_at_hand.h"

namespace bib::test {
namespace {

using ::testing::ElementsAre;
using Values = std::vector<real>;

class Devices : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_cuda || !cuda_info(1).cuda) GTEST_SKIP() << "no second GPU: " << cuda_info(1).why;
    for (int i : {0, 1})
      contexts_[i] = std::make_unique<Context>(ContextOptions{.device = Device::cuda, .device_index = i});
  }
  Context& on(int device) { return *contexts_[device]; }

  /// The sum of squares of n ones, as a step that is recorded from the second time on.
  static Values sum_of_squares(Context& ctx, int n) {
    return Fetched<real>(ctx, together(ctx,
                                       [&] {
                                         const View<real, 1> sum = ctx.arena().make<real, 1>({1});
                                         zero(ctx, sum);
                                         const Values ones(static_cast<std::size_t>(n), real(1));
                                         run(ctx, NormSquared{.x = upload<real, 1>(ctx, ones, {n}), .sum = sum});
                                         return sum;
                                       }))
        .values();
  }

  /// A product that cuBLAS does, of ones: every element is k.
  static real product(Context& ctx) {
    constexpr int n = 128, k = 256;
    const Values ones(n * k, real(1));
    const View<real, 2> y = ctx.arena().make<real, 2>({n, n});
    run(ctx, LinearForward{.x = upload<real, 2>(ctx, ones, {n, k}),
                           .w = upload<real, 2>(ctx, ones, {n, k}),
                           .b = upload<real, 1>(ctx, Values(n), {n}),
                           .y = y});
    return download(ctx, y).back();
  }

  static void elsewhere(const std::function<void()>& work) { std::thread(work).join(); }

  std::unique_ptr<Context> contexts_[2];
};

TEST_F(Devices, a_thread_may_use_several_in_turn) {
  for (int i = 1; i <= 4; ++i)
    for (int device : {0, 1, 1, 0}) EXPECT_THAT(sum_of_squares(on(device), i), ElementsAre(static_cast<real>(i)));
  for (int device : {0, 1, 0}) EXPECT_EQ(product(on(device)), 256);
}

TEST_F(Devices, a_launch_needs_no_copy_before_it) {
  View<const real, 1> x[2];
  View<real, 1> sum[2];
  for (int device : {0, 1}) {
    Context& ctx = on(device);
    sum_of_squares(ctx, 1);  // the arena grows
    x[device] = upload<real, 1>(ctx, Values(3, real(1)), {3});
    sum[device] = ctx.arena().make<real, 1>({1});
    zero(ctx, sum[device]);
  }
  for (int device : {0, 1, 0, 1}) run(on(device), NormSquared{.x = x[device], .sum = sum[device]});
  for (int device : {0, 1}) EXPECT_THAT(download(on(device), sum[device]), ElementsAre(real(6)));
}

TEST_F(Devices, a_context_works_from_another_thread_than_its_maker) {
  elsewhere([&] {
    for (int i = 1; i <= 3; ++i) EXPECT_THAT(sum_of_squares(on(1), i), ElementsAre(static_cast<real>(i)));
    EXPECT_EQ(product(on(1)), 256);
  });
}

TEST_F(Devices, a_context_may_end_on_another_thread) {
  EXPECT_EQ(product(on(1)), 256);
  elsewhere([&] { contexts_[1].reset(); });
  EXPECT_EQ(product(on(0)), 256);
}

TEST_F(Devices, asking_about_one_leaves_the_other_in_use) {
  EXPECT_TRUE(cuda_info(0).cuda);
  EXPECT_EQ(product(on(1)), 256);
  EXPECT_TRUE(cuda_info(1).cuda);
  EXPECT_EQ(product(on(0)), 256);
}

TEST_F(Devices, memory_is_taken_where_the_context_is) {
  constexpr std::size_t bytes = 64 << 20;
  const auto free = [](int device) { return cuda_info(device).memory_free; };
  for (const int here : {0, 1}) {
    const int there = 1 - here;
    const std::size_t before[2] = {free(0), free(1)};
    void* const p = allocate_bytes(on(here), bytes);
    EXPECT_LE(free(here), before[here] - bytes);
    EXPECT_GT(free(there), before[there] - bytes);
    elsewhere([&] { free_bytes(Device::cuda, p); });  // a thread that has not used a GPU
    EXPECT_GT(free(here), before[here] - bytes);
  }
}

TEST_F(Devices, events_time_either) {
  for (int device : {1, 0}) EXPECT_GT(cuda_seconds(on(device).cuda(), [&] { product(on(device)); }), 0);
}

TEST(Contexts, share_what_one_of_them_opened) {
  if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
  const auto file = std::make_shared<ModelFile>();
  Context cpu;
  Parameters saved;
  saved.add<1>("values", {1000}, Init::uniform(1));
  saved.allocate(cpu, 1);
  const Values expected = download(cpu, saved.everything());
  saved.save(cpu, *file);

  Context opens({.device = Device::cuda}), reads({.device = Device::cuda});
  Parameters opened;
  const auto handle = opened.add<1>("values", {1000}, Init::uniform(1));
  opened.open(opens, file);
  EXPECT_EQ(download(reads, handle.value()), Values(expected.begin(), expected.begin() + 1000));
}

/// Another program takes the memory between the freeing of an arena's blocks and the asking for one in their place.
TEST(Contexts, go_on_when_there_was_no_memory) {
  if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
  if (cuda_info().name != "emulator") GTEST_SKIP() << "a GPU cannot be asked to refuse memory";
  Context ctx({.device = Device::cuda});
  Arena& arena = ctx.arena();
  const auto take = [&](int n) { return arena.make<float, 1>({n}); };
  for (int i = 0; i < 3; ++i) take(1 << 20);
  const auto without_memory = [](auto&& f) {
    ::setenv("SIMT_LARGEST", "0", 1);
    f();
    ::unsetenv("SIMT_LARGEST");
  };
  without_memory([&] {
    EXPECT_NO_THROW(arena.reset());
    EXPECT_EQ(arena.bytes_reserved(), 0u);
    EXPECT_THROW(take(1000), OutOfDeviceMemory);
    EXPECT_EQ(arena.mark().used, 0u);
  });
  const Values ones(1000, real(1));
  EXPECT_EQ(download(ctx, upload<real, 1>(ctx, ones, {1000})), ones);
  without_memory([&] {
    const Arena::Mark before = arena.mark();
    EXPECT_THROW(take(1 << 20), OutOfDeviceMemory);
    EXPECT_EQ(arena.mark().block, before.block);
    EXPECT_EQ(arena.mark().used, before.used);
  });
  EXPECT_EQ(download(ctx, upload<real, 1>(ctx, ones, {1000})), ones);
}

}  // namespace
}  // namespace bib::test
