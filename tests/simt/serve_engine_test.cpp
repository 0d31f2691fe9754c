// The server's prediction engine on a GPU whose memory others take: requests fail with what to do, the server goes on.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <future>

#include "bib/train.h"
#include "serve/engine.h"

namespace bib::serve {
namespace {

class EngineOnDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto path = std::filesystem::temp_directory_path() / ("bib_engine_" + std::to_string(getpid()) + ".bib");
    Config config = default_config(Task::ner, Unit::syllable);
    config.syllable = config.bigram = config.jamo = config.shape = 4;
    config.hidden = 32, config.epochs = 1, config.train_rate = 1;
    Context cpu;
    train(cpu, config, {{.text = "서울에 산다", .spans = {{{0, 6}, "LC"}}, .annotated = true}}, {},
          {.output = path.string()});
    settings_.device.device = Device::cuda;
    engine_ = std::make_unique<Engine>(settings_, metrics_);
    Context cuda(settings_.device);
    model_ = std::make_shared<LoadedModel>(LoadedModel{.name = "ner", .model = NerModel::load(path.string(), cuda)});
    std::filesystem::remove(path);
  }
  void TearDown() override { ::unsetenv("SIMT_LARGEST"); }

  /// What a request of so many texts is answered with.
  grpc::Status ask(std::size_t texts) {
    auto work = std::make_shared<Work>();
    std::promise<void> answered;
    work->model = model_;
    const std::string text = "서울에 사는 김민수는 부산에 사는 이영희를 안다. ";
    work->documents.assign(texts, {.text = text + text + text});
    work->done = [&](Work&) { answered.set_value(); };
    engine_->submit(work);
    answered.get_future().wait();
    return guarded(nullptr, [&] {
      if (work->error) std::rethrow_exception(work->error);
    });
  }
  /// From now on nobody is given more than this at once.
  static void leave(std::size_t bytes) { ::setenv("SIMT_LARGEST", std::to_string(bytes).c_str(), 1); }

  Settings settings_;
  Metrics metrics_;
  ModelHandle model_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineOnDevice, goes_on_after_a_request_that_memory_was_too_little_for) {
  leave(0);
  for (int i = 0; i < 2; ++i) {
    const grpc::Status refused = ask(64);
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << refused.error_message();
    EXPECT_NE(refused.error_message().find("out of device memory"), std::string::npos) << refused.error_message();
  }
  ::unsetenv("SIMT_LARGEST");
  EXPECT_TRUE(ask(4).ok());
}

/// Its step memory is there, in pieces: a batch has its answer, and then no whole can be made of them.
TEST_F(EngineOnDevice, goes_on_where_step_memory_cannot_be_one_piece) {
  leave(std::size_t{5} << 20);  // the first two blocks of an arena are 3 and 4.5 MiB
  for (int i = 0; i < 2; ++i) {
    const grpc::Status status = ask(64);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
}

}  // namespace
}  // namespace bib::serve
