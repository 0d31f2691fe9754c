// `bib train --repeat` from outside: every run is the plain training of its seed, the best is kept, whatever stops it.
#include <gmock/gmock.h>

#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>
#include <regex>

#include "tests/command.h"

namespace {

using Json = nlohmann::json;
using bib_test::Result, bib_test::first_lines, bib_test::small_tc;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Repeat : public bib_test::Command {
 protected:
  void SetUp() override {
    bib_test::Command::SetUp();
    file("tc.txt", first_lines(BIB_SOURCE "/data/tc/train.txt", 160));
  }

  std::string metadata(const std::string& model, const std::string& key) const {
    return Json::parse(run("inspect " + model + " --json").out)["metadata"][key];
  }
  double score_of(const std::string& model) const { return std::stod(metadata(model, "bib.dev_score")); }
  /// Files whose name begins so.
  std::vector<std::string> files(const std::string& begin) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      if (entry.path().filename().string().starts_with(begin)) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  const std::string train =
      "train tc --train tc.txt --set epochs=4 --set lr=0.01 --set train_rate=0.7 --threads 1" + small_tc;
};

std::string two_digits(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", x);
  return text;
}

TEST_F(Repeat, TheBestOfPlainTrainingsOnOneSplitIsKeptAndTheirSpreadTold) {
  ASSERT_EQ(run(train + " -o p3 --seed 3").code, 0);
  for (const std::string seed : {"4", "5"})
    ASSERT_EQ(run(train + " -o p" + seed + " --set split_seed=3 --seed " + seed).code, 0);
  const Result r = run(train + " -o m --seed 3 --repeat 3");
  ASSERT_EQ(r.code, 0) << r.err;
  std::string best;
  double sum = 0, squares = 0, highest = -1;
  for (const std::string seed : {"3", "4", "5"}) {
    EXPECT_EQ(metadata("p" + seed, "bib.data.train"), metadata("p3", "bib.data.train")) << "the split too";
    const double score = score_of("p" + seed);
    sum += score, squares += score * score;
    if (score > highest) highest = score, best = seed;
    EXPECT_TRUE(std::regex_search(r.out, std::regex("\n" + seed + " +" + two_digits(100 * score) + " +[1-4] +[0-9.]+" +
                                                    (best == seed ? "" : "\n"))))
        << seed << ": " << score << "\n"
        << r.out;
  }
  const double deviation = std::sqrt((squares - sum * sum / 3) / 2);
  ASSERT_GT(deviation, 0) << "seeds that make no difference test nothing";
  EXPECT_TRUE(std::regex_search(r.out, std::regex("\nmean +" + two_digits(100 * sum / 3) + " ± " +
                                                  two_digits(100 * deviation) + " +[0-9.]+ ± [0-9.]+\n")))
      << r.out;
  EXPECT_TRUE(std::regex_search(r.out, std::regex("\n" + best + " .*  kept\n"))) << r.out;
  EXPECT_EQ(bytes("m"), bytes("p" + best));
  EXPECT_THAT(files("m"), testing::ElementsAre("m"));

  file("dev.txt", first_lines(BIB_SOURCE "/data/tc/test.txt", 60));
  ASSERT_EQ(run(train + " -o d --dev dev.txt --repeat 2 --seed 0").code, 0);
  for (const std::string seed : {"0", "1"})
    ASSERT_EQ(run(train + " -o d" + seed + " --dev dev.txt --seed " + seed).code, 0);
  EXPECT_EQ(bytes("d"), bytes(score_of("d1") > score_of("d0") ? "d1" : "d0"));
}

TEST_F(Repeat, GoesOnWithTheRunThatWasStoppedAndEndsWithTheSameModel) {
  const std::string repeat = train + " --repeat 3 --checkpoint-seconds 0 --set epochs=20";
  const Result whole = run(repeat + " -o whole");
  ASSERT_EQ(whole.code, 0) << whole.err;
  for (const std::string stopped_in : {"1", "2", "3"}) {
    for (const int signal : {SIGKILL, SIGINT}) {
      const std::string checkpoint = "m.seed" + stopped_in + ".checkpoint";
      const int status = interrupt(repeat + " -o m > table", checkpoint, signal);
      ASSERT_TRUE(exists(checkpoint)) << "the training ended before it could be stopped";
      if (signal == SIGINT) {
        EXPECT_EQ(WEXITSTATUS(status), 130);
        const std::string table = bytes("table");  // of the runs before: a head, a line each, the mean
        EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), stopped_in == "1" ? 0 : std::stoi(stopped_in) + 1);
        EXPECT_EQ(run("inspect m").code, 0) << "the best so far";
        EXPECT_THAT(bytes("log.txt"), HasSubstr("bib: stopped in run " + stopped_in + " of 3"));
      }
      const Result r = run(repeat + " -o m --resume");
      ASSERT_EQ(r.code, 0) << r.err;
      EXPECT_EQ(bytes("m"), bytes("whole")) << "stopped in run " << stopped_in << " by " << signal;
      EXPECT_TRUE(std::regex_search(r.out, std::regex("\n" + stopped_in + " .* -(  kept)?\n")))
          << "the time of a run in two parts is not known\n"
          << r.out;
      EXPECT_THAT(files("m"), testing::ElementsAre("m"));
      std::filesystem::remove(folder_ / "m");
    }
  }
}

TEST_F(Repeat, RefusesToGoOnWithSomethingElse) {
  const std::string repeat = train + " -o m --repeat 3 --checkpoint-seconds 0 --set epochs=20";
  interrupt(repeat, "m.seed2.checkpoint", SIGKILL);
  ASSERT_TRUE(exists("m.repeat"));
  Result r = run(repeat + " --resume --lr 0.02");
  EXPECT_EQ(r.code, 3);
  EXPECT_THAT(r.err, HasSubstr("m.repeat: error: its runs had another configuration"));
  file("less.txt", first_lines(BIB_SOURCE "/data/tc/train.txt", 150));
  r = run(repeat + " --resume --train less.txt");
  EXPECT_EQ(r.code, 3);
  EXPECT_THAT(r.err, HasSubstr("m.repeat: error: its runs learned from other data"));
  r = run(train + " -o m --resume");
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("give --repeat, too"));
  const std::string runs = bytes("m.repeat"), model = bytes("m");
  file("m.repeat", runs.substr(0, runs.size() / 2));
  r = run(repeat + " --resume");
  EXPECT_EQ(r.code, 3);
  EXPECT_THAT(r.err, HasSubstr("m.repeat: error: it is damaged"));
  file("m.repeat", runs);
  std::filesystem::remove(folder_ / "m");
  r = run(repeat + " --resume");
  EXPECT_EQ(r.code, 3);
  EXPECT_THAT(r.err, HasSubstr("m.repeat: error: the model of its runs, m, is gone"));
  file("m", model);
  r = run(repeat + " --epochs 1");
  EXPECT_EQ(r.code, 0);
  EXPECT_THAT(r.err, HasSubstr("warning: m.repeat of an interrupted training is replaced"));
}

TEST_F(Repeat, WhatCannotBeComparedIsRefused) {
  struct Case {
    std::string arguments;
    int code;
    std::string says;
  };
  file("few.txt", "['a','x','']\n['b','','y']\n['c','x','']\n");
  std::filesystem::create_directories(folder_ / "folder");
  for (const Case& c : {
           Case{train + " -o m --repeat 2 --train-rate 1", 2, "--repeat compares dev scores; give --dev"},
           Case{train + " -o m --repeat 2 --seed 0", 2, "begin with --seed 1"},
           Case{train + " -o m --repeat 2 --seed 9223372036854775807", 2, "too large"},
           Case{train + " -o m --repeat 0", 2, "--repeat"},
           Case{train + " -o folder --repeat 2", 1, "folder"},
           Case{"train tc --train few.txt -o m --epochs 1 --repeat 2" + small_tc, 3, "none is set aside; give --dev"},
       }) {
    const Result r = run(c.arguments);
    EXPECT_EQ(r.code, c.code) << c.arguments << "\n" << r.err;
    EXPECT_THAT(r.err, HasSubstr(c.says)) << c.arguments;
    EXPECT_THAT(files("m"), testing::IsEmpty()) << c.arguments;
  }
}

TEST_F(Repeat, ProgressAsJsonIsThatOfAllRuns) {
  const std::string json =
      "train tc --train tc.txt -o m --epochs 3 --patience 1 --progress json --set filters=8 --batch 32";
  const Result r = run(json + " --repeat 3");
  ASSERT_EQ(r.code, 0) << r.err;
  std::istringstream lines(r.err);
  std::vector<Json> records;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("{")) records.push_back(Json::parse(line));
  ASSERT_GE(records.size(), 9u);
  double progress = 0;
  int step = 0, run_number = 1;
  for (const Json& record : records) {
    EXPECT_EQ(record["status"], &record == &records.back() ? "Done" : "Pending");
    EXPECT_GE(record["progress"], progress);
    EXPECT_GE(record["step"], step);
    EXPECT_GE(record["run"], run_number);
    EXPECT_EQ(record["runs"], 3);
    progress = record["progress"], step = record["step"], run_number = record["run"];
  }
  EXPECT_EQ(progress, 1);
  EXPECT_EQ(run_number, 3);
  EXPECT_THAT(run(json).err, AllOf(HasSubstr("\"Done\""), Not(HasSubstr("\"run\""))));
}

}  // namespace
