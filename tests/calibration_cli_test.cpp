// `bib evaluate --calibration` from outside, of a model and of its answers in a file.
#include <gmock/gmock.h>

#include "tests/command.h"
#include "tests/json_lines.h"

namespace {

using Json = nlohmann::json;
using bib_test::Result, bib_test::first_lines, bib_test::small_ner, bib_test::small_tc;
using testing::HasSubstr;

class Calibration : public bib_test::Command {
 protected:
  void SetUp() override {
    bib_test::Command::SetUp();
    file("ner.txt", first_lines(BIB_SOURCE "/data/ner/train.txt", 120));
    file("tc.txt", first_lines(BIB_SOURCE "/data/tc/train.txt", 120));
  }
  Json evaluated(const std::string& arguments) const {
    const Result r = run("evaluate " + arguments + " --calibration --json --resamples 0");
    EXPECT_EQ(r.code, 0) << r.err;
    return Json::parse(r.out);
  }
};

TEST_F(Calibration, OfAModelAndOfItsAnswersInAFile) {
  for (const std::string task : {"ner", "tc"}) {
    const std::string corpus = task + ".txt", format = task == "ner" ? "inline" : "bib-tc";
    ASSERT_EQ(
        run("train " + task + " --train " + corpus + " -o m --epochs 20 " + (task == "ner" ? small_ner : small_tc))
            .code,
        0);
    const Json of_model = evaluated("m " + corpus);
    const Json& c = of_model["calibration"];
    EXPECT_EQ(c["answers"], of_model["micro"]["found"]);
    EXPECT_GT(c["answers"], 50);
    EXPECT_DOUBLE_EQ(c["right"], of_model["micro"]["precision"]) << "what is right is what the scores call correct";
    EXPECT_GE(c["ece"].get<double>() + 1e-12, std::abs(c["mean_probability"].get<double>() - c["right"].get<double>()));
    ASSERT_EQ(c["bins"].size(), 10u);
    std::size_t sum = 0;
    for (const Json& bin : c["bins"]) sum += bin["answers"].get<std::size_t>();
    EXPECT_EQ(sum, c["answers"]);

    ASSERT_EQ(run("predict m " + corpus + " --from " + format + " --format jsonl -o answers.jsonl").code, 0);
    const Json of_file = evaluated("--gold " + corpus + " --pred answers.jsonl")["calibration"];
    EXPECT_NEAR(of_file["ece"], c["ece"], 1e-9);
    EXPECT_NEAR(of_file["brier"], c["brier"], 1e-9);

    const Result text = run("evaluate m " + corpus + " --calibration");
    EXPECT_THAT(text.out, HasSubstr("\nprobability  answers"));
    EXPECT_THAT(text.out, HasSubstr("expected calibration error: "));
    EXPECT_FALSE(Json::parse(run("evaluate m " + corpus + " --json").out).contains("calibration"));

    ASSERT_EQ(run("predict m " + corpus + " --from " + format + " --format jsonl --scores none -o bare.jsonl").code, 0);
    const Result bare = run("evaluate --gold " + corpus + " --pred bare.jsonl --calibration");
    EXPECT_EQ(bare.code, 3);
    EXPECT_THAT(bare.err,
                HasSubstr("without a probability (\"score\", 0 to 1); calibration needs those of 'bib predict"));
    EXPECT_EQ(bare.out, "") << "no half report";
  }
}

TEST_F(Calibration, OfSeveralClassesEveryAnswerOrAtThresholdZeroEveryClass) {
  std::string text;
  for (int i = 0; i < 8; ++i)
    text += "__label__배송 배송이 늦다\n__label__값 값이 싸다\n__label__배송 __label__값 배송이 늦고 값이 비싸다\n";
  file("several.txt", text);
  ASSERT_EQ(run("train tc --train several.txt -o m --epochs 4 --set multilabel=true" + small_tc).code, 0);
  EXPECT_EQ(evaluated("m several.txt --threshold 0")["calibration"]["answers"], 48);
  const Json given = evaluated("m several.txt");
  EXPECT_EQ(given["calibration"]["answers"], given["micro"]["found"]);
}

TEST_F(Calibration, ColumnsOfTagsHaveNoProbabilities) {
  file("both.txt", "Jim NNP B-PS B-PS\nruns VBZ O B-LC\n");
  const Result r = run("evaluate both.txt --calibration");
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("--calibration is for answers with probabilities"));
}

TEST_F(Calibration, TrainingSaysTheTemperatureAndMayLeaveItOut) {
  const std::string train = "train tc --train tc.txt --epochs 2 --set filters=8 --progress none";
  const Result r = run(train + " -o m");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, testing::ContainsRegex("probabilities: temperature [0-9.]+, dev NLL [0-9.]+ -> [0-9.]+\n"));
  EXPECT_THAT(run("inspect m").out, HasSubstr("bib.temperature = "));
  const Result off = run(train + " -o n --set calibrate=false");
  EXPECT_EQ(off.err.find("probabilities"), std::string::npos) << off.err;
  const Result answers = run("predict m tc.txt --from bib-tc --scores none");
  ASSERT_EQ(answers.code, 0) << answers.err;
  EXPECT_EQ(answers.out, run("predict n tc.txt --from bib-tc --scores none").out);
}

}  // namespace
