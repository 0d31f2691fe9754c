// `bib train` and `bib predict` from outside: same bytes for any thread count and after any interruption, exit codes,
// offsets, odd input.
#include <fcntl.h>
#include <sys/file.h>

#include <csignal>

#include "tests/command.h"
#include "tests/json_lines.h"

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using bib_test::Result, bib_test::first_lines, bib_test::small_ner, bib_test::small_tc;

class Train : public bib_test::Command {
 protected:
  void SetUp() override {
    bib_test::Command::SetUp();
    file("ner.txt", first_lines(BIB_SOURCE "/data/ner/train.txt", 120));
    file("tc.txt", first_lines(BIB_SOURCE "/data/tc/train.txt", 120));
  }
};

std::string head(const std::string& text) { return text.substr(0, 400); }

TEST_F(Train, TheSameSeedGivesTheSameBytesForAnyThreadCount) {
  for (const char* task : {"ner", "tc"}) {
    const std::string t = task, extra = t == "ner" ? small_ner : small_tc;
    for (int threads : {1, 2, 3}) {
      const std::string out = t + std::to_string(threads);
      const Result r = run("train " + t + " --train " + t + ".txt --epochs 2 -o " + out + " --threads " +
                           std::to_string(threads) + extra);
      ASSERT_EQ(r.code, 0) << r.err;
    }
    EXPECT_EQ(bytes(t + "1"), bytes(t + "2"));
    EXPECT_EQ(bytes(t + "1"), bytes(t + "3"));
    ASSERT_EQ(run("train " + t + " --train " + t + ".txt --epochs 2 -o other --seed 2" + extra).code, 0);
    EXPECT_NE(bytes(t + "1"), bytes("other"));
  }
}

TEST_F(Train, ThePredictionsAreTheSameForAnyThreadCount) {
  for (const char* task : {"ner", "tc"}) {
    const std::string t = task;
    ASSERT_EQ(run("train " + t + " --train " + t + ".txt --epochs 1 -o m" + (t == "ner" ? small_ner : small_tc)).code,
              0);
    std::string many;  // several batches of them in one chunk of lines, and several chunks
    for (int i = 0; i < 20; ++i) many += bytes(t + ".txt");
    file("many.txt", many);
    const std::string predict = "predict m many.txt --from " + std::string(t == "ner" ? "inline" : "bib-tc") +
                                " --format jsonl" + (t == "ner" ? " --nbest 2" : " --scores all") + " --threads ";
    const Result one = run(predict + "1");
    ASSERT_EQ(one.code, 0) << one.err;
    EXPECT_GT(std::count(one.out.begin(), one.out.end(), '\n'), 600);
    for (const char* threads : {"2", "5", "64"})
      EXPECT_EQ(run(predict + threads).out, one.out) << threads << " threads";
  }
}

TEST_F(Train, ResumeAfterKillAndInterruptEndsWithTheSameBytes) {
  for (const std::string task : {"ner", "tc"}) {
    const std::string train = "train " + task + " --train " + task + ".txt --checkpoint-seconds 0" +
                              (task == "ner" ? " --epochs 6" + small_ner : " --epochs 40" + small_tc);
    ASSERT_EQ(run(train + " -o whole").code, 0);
    EXPECT_FALSE(exists("whole.checkpoint"));

    const int killed = interrupt(train + " -o killed --threads 1", "killed.checkpoint", SIGKILL);
    ASSERT_TRUE(WIFSIGNALED(killed)) << "the training ended before it could be killed";
    ASSERT_EQ(run(train + " -o killed --resume --threads 3").code, 0);
    EXPECT_EQ(bytes("whole"), bytes("killed")) << task << ": begun with one thread, resumed with three";

    for (const auto& [signal, code] : {std::pair{SIGINT, 130}, {SIGTERM, 143}, {SIGHUP, 129}}) {
      const int stopped = interrupt(train + " -o stopped", "stopped.checkpoint", signal);
      ASSERT_TRUE(WIFEXITED(stopped));
      EXPECT_EQ(WEXITSTATUS(stopped), code);
      EXPECT_TRUE(exists("stopped.checkpoint"));
      ASSERT_EQ(run(train + " -o stopped --resume").code, 0);
      EXPECT_EQ(bytes("whole"), bytes("stopped")) << task << ", signal " << signal;
    }
    EXPECT_EQ(interrupt(train + " -o kept", "kept.checkpoint", SIGHUP, "trap '' HUP;"), 0) << "as nohup starts it";
    EXPECT_EQ(bytes("whole"), bytes("kept"));
  }
}

/// Each in a format of its own, which is found out.
TEST_F(Train, SeveralCorporaAreLearnedFromAsOne) {
  const std::string all = bytes("ner.txt");
  const std::size_t middle = all.find('\n', all.size() / 2) + 1;
  file("a.txt", all.substr(0, middle)), file("b.txt", all.substr(middle));
  ASSERT_EQ(run("convert b.txt --to jsonl -o b.jsonl").code, 0);
  const std::string train = " --epochs 2" + small_ner;
  ASSERT_EQ(run("train ner --train ner.txt --dev ner.txt -o whole" + train).code, 0);
  const Result r = run("train ner --train a.txt b.jsonl --dev a.txt --dev b.txt -o parts" + train);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("120 of the 120 dev texts"), std::string::npos) << r.err;
  EXPECT_EQ(bytes("whole"), bytes("parts"));
  const Result missing = run("train ner --train a.txt none.txt -o m" + train);
  EXPECT_EQ(missing.code, 3);
  EXPECT_NE(missing.err.find("none.txt"), std::string::npos) << missing.err;
  EXPECT_EQ(run("train ner --train a.txt b.jsonl -o b.jsonl" + train).code, 2) << "the output is an input";
}

/// Long texts are learned in parts; one that is a single long entity has no place where it may be cut.
TEST_F(Train, AnEntityLongerThanAPartStaysWhole) {
  std::string entity;
  for (int i = 0; i < 450; ++i) entity += "가";
  const std::string plain(1200, 'a');
  file("long.txt", "<" + entity + ":LC>에 간다\n" + plain + "<" + entity + ":LC>" + plain + "\n<서울:LC>에 간다\n");
  const Result r = run("train ner --train long.txt --train-rate 1 --epochs 1 -o long.bib" + small_ner);
  EXPECT_EQ(r.code, 0) << r.err;
}

TEST_F(Train, TheProfileNamesEveryPhaseAndChangesNothing) {
  const std::string common = "train ner --train ner.txt --epochs 2" + small_ner;
  ASSERT_EQ(run(common + " -o plain.bib").code, 0);
  const Result r = run(common + " -o profiled.bib --profile");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_TRUE(r.out.empty()) << r.out;
  for (const char* phase : {"read", "encode", "batch", "network", "update", "evaluate", "other"})
    EXPECT_NE(r.err.find(std::string("bib:   ") + phase + " "), std::string::npos) << phase << '\n' << r.err;
  EXPECT_EQ(bytes("plain.bib"), bytes("profiled.bib"));
}

TEST_F(Train, ResumeRefusesOtherDataAndSettings) {
  const std::string train = "train ner --epochs 6 --checkpoint-seconds 0 -o m" + small_ner;
  ASSERT_TRUE(WIFSIGNALED(interrupt(train + " --train ner.txt", "m.checkpoint", SIGKILL)));
  file("less.txt", first_lines((folder_ / "ner.txt").string(), 100));
  Result r = run(train + " --train less.txt --resume");
  EXPECT_EQ(r.code, 3);
  EXPECT_NE(r.err.find("other training data"), std::string::npos) << r.err;
  for (const char* setting : {"--lr 0.5", "--seed 7", "--train-rate 0.5"}) {  // the last two part the data elsewhere
    r = run(train + " --train ner.txt --resume " + setting);
    EXPECT_EQ(r.code, 3);
    EXPECT_NE(r.err.find("another configuration"), std::string::npos) << r.err;
  }
  r = run(train + " --train ner.txt");
  EXPECT_EQ(r.code, 0);
  EXPECT_NE(r.err.find("m.checkpoint of an interrupted training is replaced"), std::string::npos) << r.err;
  r = run(train + " --train ner.txt");  // the checkpoint went with the end of the training
  EXPECT_EQ(r.err.find("interrupted"), std::string::npos) << r.err;
}

TEST_F(Train, WrongUseHasItsExitCodeAndReason) {
  struct Case {
    std::string arguments;
    int code;
    std::string says;
  };
  file("empty.txt", "");
  file("plain.txt", "서울에 간다\n");
  file("one.txt", "['a','배송','']\n['b','배송','']\n");
  file("bad.toml", "[train]\nepoch = 3\n");
  file("table.toml", "[trian]\nepochs = 3\n");
  file("bare.toml", "[train]\n[trian]\n");
  file("type.toml", "[train]\n\nepochs = \"3\"\n");
  file("key.toml", "[train]\n[+rain]\n");
  file("letter.toml", "\u00e9 = 3\n");
  file("broken.toml", "[train]\nepochs = \n");
  file("foreign", "this is not a model, and says so at some length: 0123456789 0123456789 0123456789");
  fs::create_directories(folder_ / "folder");
  const std::string ner = "train ner --train ner.txt -o m" + small_ner;
  for (const Case& c : {
           Case{"", 2, "subcommand"},
           Case{"train ner --train ner.txt -o m --bogus", 2, "bogus"},
           Case{ner + " --epochs 0", 3, "epochs"},
           Case{ner + " --train-rate 1.5", 3, "train_rate"},
           Case{ner + " --set hiden=3", 3, "hidden"},
           Case{ner + " --config bad.toml", 3, "bad.toml:2: error: train.epoch is not a setting; did you mean"},
           Case{ner + " --config table.toml", 3,
                "table.toml:2: error: trian.epochs is not a setting; did you mean train.e"},
           Case{ner + " --config bare.toml", 3, "bare.toml:2: error: [trian] is no section"},
           Case{ner + " --config type.toml", 3, "type.toml:3: error: train.epochs must be a whole number"},
           Case{ner + " --config key.toml", 3, "key.toml:2:2: error: Error while parsing key"},
           Case{ner + " --config letter.toml", 3, "letter.toml:1:"},
           Case{ner + " --config broken.toml", 3, "broken.toml:2:"},
           Case{ner + " --device cuda", 5, "--device cpu"},
           Case{ner + " --math quick", 2, "strict, fast"},
           Case{"train ner --train none.txt -o m", 3, "none.txt"},
           Case{"train ner --train folder -o m", 3, "folder"},
           Case{"train ner --train empty.txt -o m", 3, "empty.txt"},
           Case{"train ner --train plain.txt -o m", 3, ""},
           Case{"train ner --train ner.txt -o folder" + small_ner, 1, "directory"},
           Case{"train ner --train ner.txt -o none/m" + small_ner, 1, "does not exist"},
           Case{"predict foreign ner.txt", 4, "foreign"},
           Case{"predict none ner.txt", 4, "none"},
           Case{"inspect foreign", 4, "foreign"},
       }) {
    const Result r = run(c.arguments);
    EXPECT_EQ(r.code, c.code) << c.arguments << "\n" << r.err;
    EXPECT_NE((r.err + r.out).find(c.says), std::string::npos) << c.arguments << "\n" << r.err;
    EXPECT_FALSE(fs::exists(folder_ / "m")) << c.arguments;
  }
}

/// Each would replace the other's checkpoint and model.
TEST_F(Train, TwoTrainingsDoNotWriteTheSameModel) {
  const std::string train = "train ner --train ner.txt -o m --epochs 1 -q" + small_ner;
  const int other = open((folder_ / "m.lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  ASSERT_EQ(flock(other, LOCK_EX), 0);
  const Result r = run(train);
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "bib: error: m is being written by another training; wait until it ends, or name another model\n");
  EXPECT_FALSE(exists("m"));
  close(other);  // as when the other is killed: the file stays, and holds nobody up
  EXPECT_EQ(run(train).code, 0);
  EXPECT_FALSE(exists("m.lock"));
}

TEST_F(Train, ThePrintedConfigurationIsTheOneThatWouldTrain) {
  const Result word = run("train ner --print-config --unit word --lr 0.5 --set hidden=7");
  EXPECT_EQ(word.code, 0) << word.err;
  for (const char* line : {"unit = \"word\"", "lr = 0.5 ", "hidden = 7 "})
    EXPECT_NE(word.out.find(line), std::string::npos) << line << "\n" << word.out;
  EXPECT_EQ(word.out.find("\nword = 0 "), std::string::npos) << "the defaults of words";
  file("c.toml", word.out);
  EXPECT_EQ(run("train ner --config c.toml --print-config").out, word.out);
  EXPECT_EQ(run("train ner --print-config --set hiden=3").code, 3);
  EXPECT_EQ(run("train ner --unit word").code, 2) << "without it a corpus is needed";
}

TEST_F(Train, SettingsThatNothingReadsAreNotPassedOverInSilence) {
  const std::string ner = "train ner --train ner.txt -o m --epochs 1 --set hidden=4";
  const Result r = run(ner + " --set balanced=true --set filters=8 --set characters=8");
  EXPECT_EQ(r.code, 0);
  EXPECT_NE(r.err.find("warning: set, but not read by this model (task ner): filters, balanced\n"), std::string::npos)
      << r.err;
  EXPECT_NE(r.err.find("(unit syllable): characters\n"), std::string::npos) << r.err;
  EXPECT_EQ(run(ner).err.find("warning"), std::string::npos);
  EXPECT_NE(run(ner + " --patience 1 --train-rate 1").err.find("warning: patience does nothing: no text is set aside"),
            std::string::npos);
  file("tc.toml", "[model]\nhidden = 8\nfilters = 8\n[features]\nunit = \"word\"\nbigram = 8\n");
  const std::string tc = run("train tc --train tc.txt -o m --epochs 1 --config tc.toml").err;
  EXPECT_NE(tc.find("(task tc): hidden\n"), std::string::npos) << tc;
  EXPECT_NE(tc.find("(unit word): bigram\n"), std::string::npos) << tc;
}

TEST_F(Train, DevTextsThatAreAlsoLearnedFromAreSaid) {
  file("some.txt", "<서울:LC>에 간다\n<부산:LC>에 산다\n<김 씨:PS>는 잔다\n");
  const std::string with = "train ner --train some.txt -o m --epochs 1 --set hidden=4";
  file("dev.txt", "<부산:LC>에 산다\n<대구:LC>에 없다\n");
  const Result r = run(with + " --dev dev.txt");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("warning: 1 of the 2 dev texts are also in the training data: the dev score flatters\n"),
            std::string::npos)
      << r.err;
  file("dev.txt", "<대구:LC>에 없다\n");
  EXPECT_EQ(run(with + " --dev dev.txt").err.find("flatters"), std::string::npos);
  file("twice.txt", "<서울:LC>에 간다\n<서울:LC>에 간다\n<서울:LC>에 간다\n<서울:LC>에 간다\n");
  const std::string split = run("train ner --train twice.txt --train-rate 0.5 -o m --epochs 1 --set hidden=4").err;
  EXPECT_NE(split.find("bib: 2 of the 2 dev texts are also"), std::string::npos) << split;
  EXPECT_EQ(split.find("warning"), std::string::npos) << split;
}

TEST_F(Train, WhatIsSetAsideAndWhatIsOfNoClassIsSaid) {
  const std::string arguments = "train tc --train m.jsonl -o m --epochs 1 --set syllable=8 --set filters=8";
  std::string text;
  for (int i = 0; i < 10; ++i) text += "{\"text\":\"가\",\"labels\":[\"x\"]}\n{\"text\":\"나\",\"labels\":[\"y\"]}\n";
  file("m.jsonl", text);
  const Result split = run(arguments);
  EXPECT_EQ(split.code, 0) << split.err;
  EXPECT_NE(split.err.find("bib: 2 of the documents are set aside to choose the best epoch by, 18 are learned from"),
            std::string::npos)
      << split.err;
  file("m.jsonl", text + "{\"text\":\"다\",\"labels\":[]}\n");
  const Result none = run(arguments);
  EXPECT_EQ(none.code, 3);
  EXPECT_NE(none.err.find("m.jsonl:21: error: a text of no class; if a text may have none or several, --set multi"),
            std::string::npos)
      << none.err;
  EXPECT_EQ(run(arguments + " --set multilabel=true").code, 0);
}

TEST_F(Train, PredictAnswersLineByLineWithOffsetsOfTheOriginal) {
  ASSERT_EQ(run("train ner --train ner.txt --epochs 12 --train-rate 1 -o m --lr 0.01" + small_ner).code, 0);
  const std::string nfd = "\xE1\x84\x89\xE1\x85\xA5\xE1\x84\x8B\xE1\x85\xAE\xE1\x86\xAF";  // 서울, decomposed
  const std::string input = "😀 서울에 사는 김민수 씨\n\n" + nfd + "에 사는 김민수 씨\r\n{\n\xFF\xFE 서울\n" +
                            std::string("미래에 따르면 오늘 안동의 기온은 30도로 예상된다.");
  for (const char* unit : {"codepoint", "utf16", "byte"}) {
    const Result r = run(std::string("predict m --from text --offsets ") + unit, input);
    ASSERT_EQ(r.code, 0) << r.err;
    const std::vector<Json> records = bib_test::json_lines(r.out);
    ASSERT_EQ(records.size(), 6u);  // line N answers line N, the empty one too
    EXPECT_EQ(records[1]["entities"].size(), 0u);
    for (const Json& record : records) {
      EXPECT_EQ(record["unit"], unit);
      for (const Json& entity : record["entities"]) {
        EXPECT_LT(entity["start"], entity["end"]);
        EXPECT_GT(entity["score"], 0.0);
        EXPECT_LE(entity["score"], 1.0001);
        if (std::string(unit) != "byte") continue;
        const std::string text = record["text"].get<std::string>();
        if (text.find("\xEF\xBF\xBD") != std::string::npos) continue;  // what was invalid is shown as U+FFFD
        EXPECT_EQ(text.substr(entity["start"], entity["end"].get<std::size_t>() - entity["start"].get<std::size_t>()),
                  entity["text"]);
      }
    }
  }
}

TEST_F(Train, PredictPassesFieldsThroughAndKeepsErrorsInLine) {
  ASSERT_EQ(run("train tc --train tc.txt --epochs 2 -o m" + small_tc).code, 0);
  const Result r = run("predict m", "{\"id\":7,\"text\":\"배송이 늦어요\"}\n{\"id\":8}\nnot json\n{\"text\":\"\"}\n");
  ASSERT_EQ(r.code, 0) << r.err;
  const std::vector<Json> records = bib_test::json_lines(r.out);
  ASSERT_EQ(records.size(), 4u) << r.out;
  EXPECT_EQ(records[0]["id"], 7);
  EXPECT_EQ(records[0]["labels"].size(), 1u);
  EXPECT_EQ(records[1]["id"], 8);
  EXPECT_TRUE(records[1].contains("error"));
  EXPECT_NE(r.err.find("warning: 2 of 4 lines are answered by an error; the first: standard input:2: has no "
                       "string field \"text\" (--text-column names another)\n"),
            std::string::npos)
      << r.err;
  EXPECT_TRUE(records[2].contains("error"));
  EXPECT_EQ(records[3]["labels"].size(), 1u);  // an empty text is answered, not dropped
}

TEST_F(Train, AVeryLongLineIsReadInWindows) {
  ASSERT_EQ(run("train ner --train ner.txt --epochs 2 -o m" + small_ner).code, 0);
  std::string line;
  for (int i = 0; i < 30000; ++i) line += "서울에 사는 김민수 ";  // 300,000 characters and more
  const Result r = run("predict m --from text", line + "\n");
  ASSERT_EQ(r.code, 0) << r.err;
  const Json record = Json::parse(r.out);
  std::size_t end = 0;
  for (const Json& entity : record["entities"]) {
    EXPECT_GE(entity["start"].get<std::size_t>(), end) << head(entity.dump());
    end = entity["end"];
  }
}

/// Whatever is set, a handful of texts is learned by heart.
TEST_F(Train, EverySettingLearns) {
  std::string ner, tc;
  for (int i = 0; i < 8; ++i) {
    ner +=
        "<서울:LC> 에 간다 .\n<<부산:LC> 시청:OG> 에 산다 .\n<Kim:PS> <Lee:PS> 왔다\n<서울:LC> 3 <Kim:PS>\n오늘 춥다\n";
    tc += "__label__배송 배송이 늦다\n__label__값 값이 싸다\n__label__배송 언제 오나\n__label__맛 정말 맛있다\n";
  }
  file("ner.txt", ner);
  file("tc.txt", tc);
  const auto learns = [&](const std::string& task, const std::string& settings, const std::string& gate,
                          const std::string& how = "") {
    const std::string lr = settings.find("--lr") == std::string::npos ? " --lr 0.01 " : " ";
    Result r = run("train " + task + " --train " + task + ".txt -o m --epochs 40 --train-rate 1" +
                   (task == "ner" ? small_ner : small_tc) + lr + settings);
    ASSERT_EQ(r.code, 0) << settings << "\n" << r.err;
    r = run("evaluate m " + task + ".txt --resamples 0 --fail-under " + gate + how);
    EXPECT_EQ(r.code, 0) << settings << "\n" << r.err;
  };
  for (const char* settings : {"--set scheme=iob1", "--set scheme=bioes", "--set scheme=bilou", "--set layers=2",
                               "--set optimizer=sgd --lr 0.05", "--set schedule=cosine", "--set schedule=constant",
                               "--set trigram=6 --set word=6 --set zero_digits=true",
                               "--set weight_decay=0.01 --set ema=0", "--unit word --set word=12 --set lowercase=true",
                               "--unit word --set word=0 --set characters=6 --set character_filters=16 --set affix=4"})
    learns("ner", settings, "f1=0.95");
  learns("ner", "--set nested=innermost", "f1=0.95", " --nested innermost");
  for (const char* settings : {"--set balanced=true", "--set windows=[2]", "--unit word --set word=12",
                               "--set multilabel=true", "--set optimizer=sgd --lr 0.1"})
    learns("tc", settings, "f1=0.95");
}

TEST_F(Train, ProgressAsJsonHasTheNineKeys) {
  const Result r = run(
      "train tc --train tc.txt --epochs 2 -o m --progress json --name shop --item-id 1234 --set filters=8 --batch 32");
  ASSERT_EQ(r.code, 0) << r.err;
  std::istringstream lines(r.err);
  std::vector<Json> records;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line[0] == '{') records.push_back(Json::parse(line));
  }
  ASSERT_GE(records.size(), 6u);
  for (const Json& record : records) {
    for (const char* key : {"classification", "detail", "model_name", "pipeline_item_id", "start", "estimate",
                            "progress", "step", "status"}) {
      EXPECT_TRUE(record.contains(key)) << key;
    }
    EXPECT_EQ(record["pipeline_item_id"], "1234");
  }
  EXPECT_EQ(records.back()["status"], "Done");
  EXPECT_EQ(records.back()["progress"], 1.0);
  for (std::size_t i = 0; i + 1 < records.size(); ++i) EXPECT_EQ(records[i]["status"], "Pending") << i;
}

/// The last record says so even where patience ends before the last epoch planned.
TEST_F(Train, ProgressAsJsonEndsWithDoneWhenStoppedEarly) {
  const Result r = run(
      "train tc --train tc.txt --epochs 40 --patience 1 --lr 0.00001 -o m --progress json --set filters=8 --batch 64");
  ASSERT_EQ(r.code, 0) << r.err;
  std::istringstream lines(r.err);
  Json last;
  for (std::string line; std::getline(lines, line);)
    if (!line.empty() && line[0] == '{') last = Json::parse(line);
  EXPECT_LT(last["epoch"].get<int>(), 40) << "this must stop early";
  EXPECT_EQ(last["status"], "Done");
  EXPECT_EQ(last["progress"], 1.0);
}

}  // namespace
