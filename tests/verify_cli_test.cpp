// `bib verify` from outside. With BIB_COMMAND built for the emulator (tests/simt) or a GPU at hand it compares;
// elsewhere it says why it cannot.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "bib/context.h"
#include "tests/command.h"

namespace {

using bib_test::Result, bib_test::first_lines;
using testing::HasSubstr;

class VerifyCommand : public bib_test::Command {
 protected:
  void train_model() const {
    file("tc.txt", first_lines(BIB_SOURCE "/data/tc/train.txt", 60));
    const Result r = run("train tc --train tc.txt -o tc.bib --epochs 1 --device cpu" + bib_test::small_tc);
    ASSERT_EQ(r.code, 0) << r.err;
  }
  static bool gpu() { return bib::has_cuda && bib::cuda_info().cuda; }
};

TEST_F(VerifyCommand, WithoutAGpuTheReasonIsGiven) {
  if (gpu()) GTEST_SKIP() << "there is a GPU";
  train_model();
  for (const char* flags : {"", " --device auto", " --device cuda:0 --json"}) {
    const Result r = run(std::string("verify tc.bib") + flags);
    EXPECT_EQ(r.code, 5) << flags;
    EXPECT_THAT(r.err, HasSubstr(bib::cuda_info().why)) << flags;
    EXPECT_EQ(r.out, "");
  }
}

TEST_F(VerifyCommand, TheCpuIsNotComparedWithItself) {
  const Result r = run("verify tc.bib --device cpu");
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("write cuda or cuda:N"));
}

TEST_F(VerifyCommand, AModelPasses) {
  if (!gpu()) GTEST_SKIP() << "no GPU: " << bib::cuda_info().why;
  train_model();
  file("texts.txt", "배송이 빨라요\n\n정말 지루한 영화\n");
  const Result own = run("verify tc.bib"), texts = run("verify tc.bib texts.txt --json");
  EXPECT_EQ(own.code, 0) << own.err << own.out;
  EXPECT_THAT(own.out, testing::EndsWith("\npassed\n"));
  ASSERT_EQ(texts.code, 0) << texts.err;
  const auto json = nlohmann::json::parse(texts.out);
  EXPECT_TRUE(json["passed"]);
  EXPECT_EQ(json["layers"].size(), 4u);
  EXPECT_EQ(json["layers"][1]["name"], "convolution");
  EXPECT_EQ(json["answers"], json["texts"]);
  EXPECT_EQ(run("verify tc.bib missing.txt").code, 3);
}

}  // namespace
