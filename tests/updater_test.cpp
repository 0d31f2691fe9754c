// One optimiser step over parameters and tables.
#include "train/updater.h"

#include "tests/op_test.h"

namespace bib::test {
namespace {

struct Settings {
  Optimizer optimizer;
  float clip, weight_decay, ema;
};

/// Values after three steps: of a dense parameter and two tables, one of which has its gradient by rows stored, if a
/// row is said to occur often.
std::vector<real> after_three_steps(Device device, const Settings& settings, bool often = false) {
  Context ctx({.device = device});
  Parameters p;
  const Table small = p.add_table("small", 30, 5), large = p.add_table("large", 61, 12, Init::uniform(1));
  p.add<1>("dense", {7}, Init::uniform(1));
  p.allocate(ctx, test_seed());
  Config config = default_config(Task::ner);
  config.optimizer = settings.optimizer;
  config.clip = settings.clip;
  config.weight_decay = settings.weight_decay;
  config.ema = settings.ema;
  Updater updater(ctx, config, p);
  if (settings.ema > 0) updater.start_average(ctx, 0);
  Maker m;
  constexpr int T = 9, B = 4, Y = 17;
  for (int step = 1; step <= 3; ++step) {
    ctx.arena().reset();
    const auto ids = m.ints({T, B}, -1, 60), small_ids = m.ints({T, B}, 0, 29);
    const View<real, 3> d_y = m.uniform({T, B, Y});
    const View<real, 1> grads = m.uniform({p.grads().dim(0)});
    const auto index_of = [&](View<int, 2> v) {
      return upload(ctx, index_rows({v.data, static_cast<std::size_t>(v.size())}));
    };
    const View<real, 3> on_device = upload<real, 3>(ctx, {d_y.data, static_cast<std::size_t>(d_y.size())}, d_y.shape);
    copy_bytes(ctx, p.grads().data, ctx.device(), grads.data, Device::cpu, sizeof(real) * 7);
    DeviceRows index = index_of(ids);
    index.most = often ? 1000 : 1;
    updater.step(ctx, {{large, index, on_device, 0}, {small, index_of(small_ids), on_device, 12}}, step, 0.1f);
  }
  if (settings.ema > 0) updater.swap_in_average(ctx, 3);
  return download(ctx, p.everything());
}

const std::vector<Settings> all_settings{
    {Optimizer::adam, 0, 0, 0}, {Optimizer::adam, 0, 0.01f, 0.9f}, {Optimizer::sgd, 0, 0.01f, 0}};

TEST(RowIndex, knows_how_often_a_row_occurs_at_most) {
  const auto most = [](const std::vector<int>& ids) { return index_rows(ids).most; };
  EXPECT_EQ(most({2, 0, 2, -1, -1, -1, -1, 2}), 3);
  EXPECT_EQ(most({7}), 1);
  EXPECT_EQ(most({-1, -1}), 0);
  EXPECT_EQ(most({}), 0);
}

TEST(Updater, a_gradient_that_is_not_stored_gives_the_same_values) {
  for (const float clip : {0.0f, 1e6f, 0.01f})  // none, one that is never reached, one that always is
    for (Settings s : all_settings) {
      s.clip = clip;
      const std::vector<real> stored = after_three_steps(Device::cpu, s, true),
                              not_stored = after_three_steps(Device::cpu, s);
      // Only the norm's own sums are in another order.
      ASSERT_EQ(not_stored.size(), stored.size());
      for (std::size_t i = 0; i < stored.size(); ++i)
        ASSERT_NEAR(stored[i], not_stored[i], clip == 0.01f ? 1e-6 : 0) << i;
    }
}

TEST(Updater, a_limit_of_the_norm_matters_only_when_reached) {
  for (Settings s : all_settings) {
    const std::vector<real> unclipped = after_three_steps(Device::cpu, s);
    s.clip = 1e6f;
    EXPECT_EQ(unclipped, after_three_steps(Device::cpu, s));
    s.clip = 0.01f;
    EXPECT_NE(unclipped, after_three_steps(Device::cpu, s));
  }
}

TEST(Updater, cuda_gives_the_answer_of_the_cpu) {
  if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
  for (const float clip : {0.0f, 1.0f})
    for (Settings s : all_settings) {
      s.clip = clip;
      for (const bool often : {false, true}) {
        const std::vector<real> cpu = after_three_steps(Device::cpu, s, often),
                                cuda = after_three_steps(Device::cuda, s, often);
        ASSERT_EQ(cpu.size(), cuda.size());
        for (std::size_t i = 0; i < cpu.size(); ++i) ASSERT_NEAR(cpu[i], cuda[i], 1e-5) << i;
      }
    }
}

}  // namespace
}  // namespace bib::test
