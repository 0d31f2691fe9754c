// bib bench from outside: its forms, its JSON, compare's verdicts, the advice. No figure is judged.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/command.h"

namespace {

using bib_test::Result;
using nlohmann::json;
using testing::HasSubstr;

const std::string brief = " --repeats 2 --seconds 0 --batches 1,4 ";

class Bench : public bib_test::Command {
 protected:
  Result bench(const std::string& arguments) const { return run("bench " + arguments, "", "XDG_CACHE_HOME=cache"); }

  /// A result with one figure of these samples.
  static std::string result(const std::vector<double>& samples, const std::string& better = "lower",
                            const std::string& machine = "m") {
    return json{{"machine", {{"fingerprint", machine}}},
                {"metrics", {{{"name", "cpu/load"}, {"unit", "ms"}, {"better", better}, {"samples", samples}}}}}
        .dump();
  }
};

TEST_F(Bench, NeedsNoModelAndNoFiles) {
  for (const char* task : {"ner", "tc"}) {
    const Result r = bench("--devices cpu --json" + brief + "--task " + task);
    ASSERT_EQ(r.code, 0) << r.err;
    const json j = json::parse(r.out);
    for (const char* key : {"cpu", "isa", "threads", "gpu", "version", "commit", "fingerprint"})
      EXPECT_TRUE(j["machine"].contains(key)) << key;
    std::vector<std::string> names;
    for (const json& m : j["metrics"]) {
      names.push_back(m["name"]);
      EXPECT_GT(m["median"].get<double>(), 0) << m.dump();
    }
    EXPECT_THAT(names, testing::ElementsAre("cpu/load", "cpu/one_text/p50", "cpu/one_text/p99", "cpu/batch/1",
                                            "cpu/batch/4", "cpu/memory"));
  }
}

TEST_F(Bench, MeasuresAModelAndComparesWithItself) {
  ASSERT_EQ(
      run("train tc --train '" BIB_SOURCE "/data/tc/test.txt' --train-rate 1 --epochs 1 -o m.bib" + bib_test::small_tc)
          .code,
      0);
  const Result r = bench("m.bib --devices cpu -o a.json --texts '" BIB_SOURCE "/data/tc/predict.txt'" + brief);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("model: m.bib"));
  const Result same = bench("compare a.json a.json --json --fail-slower 1");
  ASSERT_EQ(same.code, 0) << same.err;
  for (const json& row : json::parse(same.out)) EXPECT_EQ(row["verdict"], "same");
}

TEST_F(Bench, CompareTellsChangeFromNoise) {
  file("slow.json", result({20, 20.1, 20.2, 20.3, 20.4}));
  file("fast.json", result({10, 10.1, 10.2, 10.3, 10.4}));
  file("noisy.json", result({5, 30, 21, 8, 40}));
  const auto verdict = [&](const char* files) {
    const Result r = bench(std::string("compare --json ") + files);
    EXPECT_EQ(r.code, 0) << r.err;
    return json::parse(r.out)[0]["verdict"].get<std::string>();
  };
  EXPECT_EQ(verdict("slow.json fast.json"), "better");
  EXPECT_EQ(verdict("fast.json slow.json"), "worse");
  EXPECT_EQ(verdict("slow.json noisy.json"), "same");
  file("rate_low.json", result({10, 10.1, 10.2, 10.3, 10.4}, "higher"));
  file("rate_high.json", result({20, 20.1, 20.2, 20.3, 20.4}, "higher"));
  EXPECT_EQ(verdict("rate_low.json rate_high.json"), "better");
  const Result gate = bench("compare fast.json slow.json --fail-slower 50");
  EXPECT_EQ(gate.code, 6);
  EXPECT_THAT(gate.err, HasSubstr("cpu/load"));
  EXPECT_THAT(gate.out, HasSubstr("worse"));  // the table comes all the same
}

TEST_F(Bench, CompareWarnsOfAnotherMachineAndRefusesOtherFiles) {
  file("a.json", result({1, 2, 3}));
  file("b.json", result({1, 2, 3}, "lower", "another"));
  const Result r = bench("compare a.json b.json");
  EXPECT_EQ(r.code, 0);
  EXPECT_THAT(r.err, HasSubstr("different machines"));
  file("c.json", "{}");
  file("empty.json", result({}));
  for (const char* bad : {"a.json c.json", "nothing.json a.json", ". a.json", "a.json empty.json"}) {
    const Result refused = bench(std::string("compare ") + bad);
    EXPECT_EQ(refused.code, 3) << bad << refused.err;
    EXPECT_THAT(refused.err, HasSubstr("error: ")) << bad;
  }
}

TEST_F(Bench, AdviceIsPrintedAndKept) {
  const Result r = bench("--devices cpu --advise" + brief);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("Use the CPU"));
  const json kept = json::parse(bytes("cache/bib/advice.json"));
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_THAT(kept.begin()->at("verdict").get<std::string>(), HasSubstr("texts/s"));
}

TEST_F(Bench, NothingIsMeasuredInVain) {
  Result r = bench("--devices cpu -o none/a.json" + brief);
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "bib: error: none/a.json: cannot be written: No such file or directory\n") << "before any repeat";
  r = run("bench --devices cpu --advise" + brief, "", "XDG_CACHE_HOME=/dev/null");
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.out, HasSubstr("cpu/load")) << "the figures come all the same";
  file("\xFF.txt", "서울에 간다\n");
  r = bench("--devices cpu --json --texts '\xFF.txt'" + brief);
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(json::parse(r.out)["texts"], "\xEF\xBF\xBD.txt");
}

/// It would stay in the folder where Ctrl-C ends the measuring.
TEST_F(Bench, TheMadeUpModelHasNoNameWhileItIsMeasured) {
  const std::string until_it_measures = "cd '" + folder_.string() + "' && mkdir tmp && mkfifo notes && " +
                                        "{ TMPDIR=tmp '" BIB_COMMAND
                                        "' bench --devices cpu > .stdout 2> notes & } && " +
                                        "{ read -r note && kill $! && wait; } < notes; ls tmp > .left";
  EXPECT_EQ(std::system(until_it_measures.c_str()), 0);
  EXPECT_EQ(bytes(".left"), "");
  EXPECT_EQ(
      run("bench --devices cpu" + brief, "", "TMPDIR=none").err,
      "bib: error: none: no model can be made up there: No such file or directory; set TMPDIR to a folder that can "
      "be written\n");
}

TEST_F(Bench, WrongUseIsExplained) {
  EXPECT_EQ(bench("--batches 0").code, 2);
  EXPECT_EQ(bench("--devices tpu").code, 2);
  EXPECT_EQ(bench("compare one.json").code, 2);
  EXPECT_EQ(bench("no_such_model.bib").code, 4);
}

}  // namespace
