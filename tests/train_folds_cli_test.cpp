// `bib train --folds` from outside: every text is answered by a model of the others, and the surest mistakes come
// first.
#include <gmock/gmock.h>

#include <cmath>
#include <csignal>
#include <map>
#include <regex>
#include <set>

#include "tests/command.h"
#include "tests/json_lines.h"
#include "train/corpus.h"
#include "train/folds.h"

namespace {

using Json = nlohmann::json;
using bib_test::Result, bib_test::first_lines, bib_test::json_lines, bib_test::small_ner, bib_test::small_tc;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class TrainFolds : public bib_test::Command {
 protected:
  void SetUp() override {
    bib_test::Command::SetUp();
    file("tc.txt", first_lines(BIB_SOURCE "/data/tc/train.txt", 200));
    file("ner.txt", first_lines(BIB_SOURCE "/data/ner/train.txt", 120));
  }

  /// What is there but for what the tests have written.
  std::set<std::string> left_behind() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) names.insert(entry.path().filename());
    for (const char* own :
         {"tc.txt", "ner.txt", "part.txt", "rest.txt", "dev.txt", "few.txt", "log.txt", ".stdin", ".stdout", ".stderr"})
      names.erase(own);
    return names;
  }

  const std::string tc = "train tc --train tc.txt --set epochs=3 --set lr=0.01" + small_tc;
  const std::string ner = "train ner --train ner.txt --set epochs=8 --set lr=0.02" + small_ner;
};

TEST_F(TrainFolds, EveryTextIsAnsweredByTheModelOfTheOtherParts) {
  for (const std::string& train : {tc, ner}) {
    const bool is_ner = train == ner;
    const std::string corpus = is_ner ? "ner.txt" : "tc.txt";
    const Result r = run(train + " --seed 3 --folds 3 --json --errors e.jsonl -t 1");
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(r.err, "") << "-q";
    const Json report = Json::parse(r.out);
    const Json& runs = report["folds"]["runs"];
    ASSERT_EQ(runs.size(), 3u);
    bib::Config config = bib::default_config(is_ner ? bib::Task::ner : bib::Task::tc);
    config.seed = 3;
    const auto documents = bib::read_corpus(folder_ / corpus).documents;
    const bib::Folds folds = bib::draw_folds(documents, 3, config);
    std::istringstream content(bytes(corpus));
    std::vector<std::string> lines;
    for (std::string line; std::getline(content, line);) lines.push_back(line + "\n");
    ASSERT_EQ(lines.size(), documents.size());
    double sum = 0, squares = 0;
    std::size_t correct = 0;
    for (int fold = 0; fold < 3; ++fold) {
      std::string part, rest;
      for (std::size_t i = 0; i < lines.size(); ++i) (folds.of_document[i] == fold ? part : rest) += lines[i];
      file("part.txt", part), file("rest.txt", rest);
      ASSERT_EQ(run(std::regex_replace(train, std::regex(corpus), "rest.txt") + " --seed 3 -o m").code, 0);
      const Json alone = Json::parse(run("evaluate m part.txt --json --resamples 0").out);
      const double score = alone[is_ner ? "f1" : "accuracy"];
      EXPECT_DOUBLE_EQ(runs[fold]["score"], score) << corpus << fold;
      EXPECT_EQ(runs[fold]["texts"], std::count(part.begin(), part.end(), '\n'));
      EXPECT_GE(runs[fold]["epoch"], 1);
      sum += score, squares += score * score;
      correct += alone["micro"]["correct"].get<std::size_t>();
    }
    EXPECT_EQ(report["micro"]["correct"], correct) << "the report is of all of them";
    EXPECT_EQ(report[is_ner ? "sentences" : "documents"], lines.size());
    EXPECT_EQ(report["folds"]["metric"], is_ner ? "F1" : "accuracy");
    EXPECT_NEAR(report["folds"]["mean"], sum / 3, 1e-12);
    EXPECT_NEAR(report["folds"]["deviation"], std::sqrt((squares - sum * sum / 3) / 2), 1e-9);
    EXPECT_THAT(left_behind(), testing::ElementsAre("e.jsonl", "m"));

    const Result text = run(train + " --seed 3 --folds 3");
    EXPECT_THAT(text.out, HasSubstr(is_ner ? "FB1:" : "gold \\ predicted"));
    EXPECT_TRUE(std::regex_search(text.out, std::regex("\nfold +" + std::string(is_ner ? "F1" : "accuracy") +
                                                       " +epoch +seconds\n1 +.*\n2 +.*\n3 +.*\nmean +[0-9.]+ ± ")))
        << text.out;
  }
}

TEST_F(TrainFolds, TheMistakesOfWhichTheModelWasSurestComeFirst) {
  // One of many equal annotations is another: the models of the other parts cannot but be sure.
  std::string lines;
  for (int i = 0; i < 90; ++i)
    lines += i == 41 ? "오늘 번호 41 서울에 왔다\n" : "오늘 번호 " + std::to_string(i) + " <서울:LC>에 왔다\n";
  for (int i = 0; i < 10; ++i)
    lines += "글 " + std::to_string(i) + (i % 2 ? " <가:" : " <나:") + (i % 3 ? "PS>\n" : "OG>\n");
  file("ner.txt", lines);
  for (const std::string name : {"e.jsonl", "e.html"}) {
    const Result r = run(ner + " --set epochs=60 --train-rate 1 --folds 3 --errors " + name);
    ASSERT_EQ(r.code, 0) << r.err;
  }
  const std::vector<Json> mistakes = json_lines(bytes("e.jsonl"));
  ASSERT_GT(mistakes.size(), 1u) << "an order of one tests nothing";
  EXPECT_EQ(mistakes[0]["sentence"], 42);
  EXPECT_EQ(mistakes[0]["kind"], "spurious");
  EXPECT_GT(mistakes[0]["certainty"], 0.9);
  std::map<int, double> surest;
  std::vector<int> order;
  for (const Json& mistake : mistakes) {
    const int sentence = mistake["sentence"];
    if (order.empty() || order.back() != sentence) order.push_back(sentence);
    surest[sentence] = std::max(surest[sentence], mistake["certainty"].get<double>());
  }
  EXPECT_EQ(order.size(), surest.size()) << "the mistakes of a text stay together";
  for (std::size_t i = 1; i < order.size(); ++i) EXPECT_LE(surest[order[i]], surest[order[i - 1]]);
  const std::string page = bytes("e.html");
  EXPECT_LT(page.find("sentence 42, line 42, certainty"), page.find("<article", page.find("<article") + 1));
  EXPECT_THAT(page, AllOf(HasSubstr("3-fold cross-validation against ner.txt"), HasSubstr("the model was surest")));
}

TEST_F(TrainFolds, OfClassesToo) {
  std::string lines;
  for (int i = 0; i < 60; ++i)
    lines += "번호 " + std::to_string(i) + (i % 2 ? " 정말 좋아요\t" : " 너무 나빠요\t") +
             (i % 2 != (i == 17) ? "good\n" : "bad\n");
  file("tc.tsv", "text\tlabel\n" + lines);
  const std::string train =
      "train tc --train tc.tsv --epochs 60 --train-rate 1 --set lr=0.01 --folds 2 --errors e.jsonl" + small_tc;
  for (const char* multilabel : {"", " --set multilabel=true"}) {
    const Result r = run(train + multilabel);
    ASSERT_EQ(r.code, 0) << r.err;
    const std::vector<Json> mistakes = json_lines(bytes("e.jsonl"));
    ASSERT_FALSE(mistakes.empty());
    EXPECT_EQ(mistakes[0]["document"], 18) << multilabel;
    EXPECT_GT(mistakes[0]["certainty"], 0.8) << multilabel;
  }
}

TEST_F(TrainFolds, OfManyClassesATextMayHaveNone) {
  std::string lines;
  for (int i = 0; i < 40; ++i)
    lines += (i % 4   ? "__label__값 값이 싸다 "
              : i % 8 ? "__label__값 __label__맛 맛도 좋다 "
                      : "그저 그렇다 ") +
             std::to_string(i) + "\n";
  file("tc.txt", lines);
  const Result r =
      run("train tc --train tc.txt --format fasttext --set multilabel=true --epochs 2 --folds 2 --json" + small_tc);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(Json::parse(r.out)["documents"], 40);
}

TEST_F(TrainFolds, TellsWhichFoldItIsAndWhatNoModelCanKnow) {
  file("dev.txt", first_lines(BIB_SOURCE "/data/tc/test.txt", 30));
  file("tc.txt", bytes("tc.txt") + "['하나뿐인 글','','','','','','','','하나']\n");
  std::string loud = tc;
  loud.erase(loud.find(" -q"));
  const Result r = run(loud + " --folds 2 --dev dev.txt --progress plain");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, AllOf(HasSubstr("fold 2/2  epoch 1/3"), HasSubstr("bib: fold 1 of 2: 10"),
                           HasSubstr("1 label stands in one fold alone, whose model cannot know it: 하나"),
                           HasSubstr("30 documents from dev.txt"), Not(HasSubstr("set aside"))));
  std::vector<Json> records;
  std::istringstream lines(run(tc + " --folds 2 --progress json").err);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("{")) records.push_back(Json::parse(line));
  ASSERT_GE(records.size(), 6u);
  EXPECT_EQ(records.front()["model_name"], "tc") << "the corpus', as there is no model";
  EXPECT_EQ(records.front()["run"], 1);
  EXPECT_EQ(records.back()["run"], 2);
  EXPECT_EQ(records.back()["runs"], 2);
  EXPECT_EQ(records.back()["status"], "Done");
}

TEST_F(TrainFolds, CtrlCLeavesNothing) {
  const int status = interrupt(
      ner + " --set epochs=500 --folds 2 --errors e.html > report",
      [](const std::string& log) { return log.find("\"run\":2") != std::string::npos; }, SIGINT);
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_THAT(bytes("log.txt"), HasSubstr("stopped in fold 2 of 2; nothing of it is kept"));
  EXPECT_EQ(bytes("report"), "");
  EXPECT_THAT(left_behind(), testing::ElementsAre("report"));
}

TEST_F(TrainFolds, WhatCannotBeIsRefused) {
  struct Case {
    std::string arguments;
    int code;
    std::string says;
  };
  file("few.txt", "['가','x','']\n['나','','y']\n['가','x','']\n['다','x','']\n");
  const std::string few = "train tc --train few.txt --epochs 1" + small_tc;
  file("one.txt", "<서울:LC>에 간다\n그냥 글\n다른 글\n");
  for (const Case& c : {
           Case{tc + " --folds 3 -o m", 2, "--folds takes no --output"},
           Case{tc + " --folds 3 --repeat 2", 2, "--folds takes no --repeat"},
           Case{tc + " --folds 3 --resume", 2, "--folds takes no --resume"},
           Case{tc + " --folds 3 --checkpoint-seconds 1", 2, "--folds takes no --checkpoint-seconds"},
           Case{tc + " --folds 1", 2, "--folds"},
           Case{tc, 2, "--output is required"},
           Case{tc + " -o m --errors e.html", 2, "--errors goes with --folds"},
           Case{tc + " -o m --json", 2, "--json goes with --folds"},
           Case{tc + " --folds 3 --errors e.txt", 2, "must end in .html or .jsonl"},
           Case{tc + " --folds 3 --errors nowhere/e.html", 1, "nowhere/e.html"},
           Case{few + " --folds 4", 3, "3 different texts are too few for 4 folds"},
           Case{"train ner --train one.txt --epochs 1 --folds 2" + small_ner, 3,
                "of 2: training data: error: no entity"},
       }) {
    const Result r = run(c.arguments);
    EXPECT_EQ(r.code, c.code) << c.arguments << "\n" << r.err;
    EXPECT_THAT(r.err, HasSubstr(c.says)) << c.arguments;
    EXPECT_EQ(r.out, "") << c.arguments;
  }
  file("own.jsonl", "{\"text\":\"가\",\"label\":\"x\"}\n{\"text\":\"나\",\"label\":\"y\"}\n");
  const Result own = run("train tc --train own.jsonl --folds 2 --errors own.jsonl" + small_tc);
  EXPECT_EQ(own.code, 2);
  EXPECT_THAT(own.err, HasSubstr("own.jsonl is also an input"));
}

}  // namespace
