// Input that is odd, broken or not there, and disks that are full: a sane result, or an error that says what and where,
// with its exit code, and never a damaged or half-written model.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/command.h"

namespace {

namespace fs = std::filesystem;
using bib_test::Result, bib_test::small_ner, bib_test::small_tc;
using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string ner_text =
    "<서울:LC>에 간다\n<부산:LC>에 산다\n<김민수:PS>가 왔다\n<이영희:PS>가 간다\n<서울:LC>에 사는 <김민수:PS> 씨\n"
    "오늘은 춥다\n<부산:LC>의 <이영희:PS> 씨\n내일은 덥다\n";
const std::string tc_text =
    "['배송이 늦다','배송','']\n['값이 싸다','','값']\n['늦게 왔다','배송','']\n['비싸다','','값']\n";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

class BadInput : public bib_test::Command {
 protected:
  void SetUp() override {
    Command::SetUp();
    std::string ner, tc;
    for (int i = 0; i < 8; ++i) ner += ner_text, tc += tc_text;
    file("ner.txt", ner);
    file("tc.txt", tc);
    fs::create_directories(folder_ / "folder");
  }

  Result train(const std::string& task, const std::string& data, const std::string& more = "") const {
    return run("train " + task + " --train " + data + " -o m --set epochs=2 --set train_rate=1 " +
               (task == "ner" ? small_ner : small_tc) + " " + more);
  }

  /// Refused with the code, every text in the message, nothing on standard output and no model left behind.
  void expect_refused(const std::string& arguments, int code, const std::vector<std::string>& says) const {
    const Result r = run(arguments);
    EXPECT_EQ(r.code, code) << arguments << "\n" << r.err;
    for (const std::string& text : says) EXPECT_THAT(r.err, HasSubstr(text)) << arguments;
    EXPECT_THAT(r.out, IsEmpty()) << arguments;
    EXPECT_FALSE(exists("m")) << arguments;
  }
};

TEST_F(BadInput, EmptyFiles) {
  file("empty.txt", "");
  file("mark.txt", "\xEF\xBB\xBF");
  file("blank.txt", "\n\n \n");
  for (const char* task : {"ner", "tc"}) {
    const std::string train = std::string("train ") + task + " -o m --train ", data = std::string(task) + ".txt";
    expect_refused(train + "empty.txt", 3, {"empty.txt: is empty"});
    expect_refused(train + "mark.txt", 3, {"mark.txt: is empty but for a byte order mark"});
    expect_refused(train + "blank.txt", 3, {"blank.txt"});
    expect_refused(train + data + " --dev empty.txt", 3, {"empty.txt: is empty"});
  }
  expect_refused("predict empty.txt", 4, {"empty.txt"});
  ASSERT_EQ(train("ner", "ner.txt").code, 0);
  const Result none = run("predict m empty.txt");
  EXPECT_EQ(none.code, 0) << "no lines, no answers";
  EXPECT_THAT(none.out, IsEmpty());
  EXPECT_EQ(run("evaluate m empty.txt").code, 3);
}

TEST_F(BadInput, MarksLineEndsAndTheLastNewlineChangeNothing) {
  const std::vector<std::pair<std::string, std::string>> corpora{{"ner", ner_text}, {"tc", tc_text}};
  for (const auto& [task, text] : corpora) {
    file("plain.txt", text);
    file("odd.txt", "\xEF\xBB\xBF" + replaced(text.substr(0, text.size() - 1), "\n", "\r\n"));
    ASSERT_EQ(train(task, "plain.txt").code, 0);
    const std::string model = bytes("m");
    const Result r = train(task, "odd.txt");
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_TRUE(bytes("m") == model) << task << ": the same texts, so the same model, byte for byte";
    EXPECT_EQ(run("predict m odd.txt").out, run("predict m plain.txt").out);
  }
}

TEST_F(BadInput, EmptyLinesAreDocumentsWithoutText) {
  file("gaps.txt", "\n" + replaced(ner_text, "\n", "\n\n") + "\n\n");
  const Result r = train("ner", "gaps.txt");
  ASSERT_EQ(r.code, 0) << r.err;
  const Result answers = run("predict m --from text", "\n서울\n\n");
  EXPECT_EQ(std::count(answers.out.begin(), answers.out.end(), '\n'), 3);
}

TEST_F(BadInput, BytesThatAreNotUtf8) {
  file("latin.txt", "<Seoul:LC> is big\n<Z\xFCrich:LC> is small\n<Bern:LC> too\n");
  expect_refused("train ner --train latin.txt -o m", 3,
                 {"latin.txt:2:3: error: byte 0xFC is not UTF-8", "name its encoding (latin1?)"});
  const Result r = train("ner", "latin.txt", "--encoding latin1");
  EXPECT_EQ(r.code, 0) << r.err;
  const Result answer = run("predict m --from text", "Z\xFCrich is small\n");
  EXPECT_EQ(answer.code, 0);
  EXPECT_EQ(Json::parse(answer.out)["text"], "Z\xEF\xBF\xBDrich is small") << "shown as U+FFFD, offsets in order";
}

TEST_F(BadInput, FilesThatAreNoText) {
  ASSERT_EQ(run("train ner --train ner.txt -o model --epochs 1" + small_ner).code, 0);
  const std::string korean("\x1C\xC1\xB8\xC6\n\0", 6);  // 서울 and a line end in UTF-16, without a mark
  file("wide.txt", korean);
  file("latin_wide.txt", std::string("a\0b\0c\0\n\0", 8));
  for (const std::string name : {"model", "/bin/sh", "wide.txt", "latin_wide.txt"}) {
    for (const std::string verb : {"train ner -o m --train ", "evaluate ", "evaluate model ", "convert --to jsonl "})
      if (verb + name != "evaluate model") expect_refused(verb + name, 3, {name + ": is no text: it holds zero bytes"});
  }
  expect_refused("evaluate model", 2, {"model is a model; name the corpus to score it on, too"});
  EXPECT_EQ(run("convert wide.txt --to text --encoding utf-16le").out, "서울\n");
}

TEST_F(BadInput, ALineOf300000Characters) {
  std::string line, classes;
  for (int i = 0; i < 25000; ++i) line += "<서울:LC>에 사는 그는 오늘 ";
  file("long.txt", ner_text + line + "\n");
  Result r = train("ner", "long.txt", "--set epochs=1");
  ASSERT_EQ(r.code, 0) << r.err;
  r = run("evaluate m long.txt --json --resamples 0");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_GE(Json::parse(r.out)["micro"]["support"].get<int>(), 25000);
  file("long_tc.txt", tc_text + "['" + replaced(line, "\n", " ") + "','배송','']\n");
  r = train("tc", "long_tc.txt");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("warning: 1 texts are longer than 2000 units"));
}

TEST_F(BadInput, ALabelSeenOnce) {
  file("once.txt", ner_text + "<한강:RARE>에 간다\n");
  Result r = train("ner", "once.txt");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(run("inspect m").out, HasSubstr("labels (3): LC PS RARE"));
  std::string classes = "__label__c 한 번\n";
  for (int i = 0; i < 10; ++i) classes += "__label__a 글 하나\n__label__b 글 둘\n";
  file("once_tc.txt", classes);
  r = train("tc", "once_tc.txt", "--set train_rate=0.7");  // it may fall to the dev part
  EXPECT_EQ(r.code, 0) << r.err;
}

TEST_F(BadInput, OneClassOnly) {
  file("one.txt", "<서울:LC>에 간다\n<부산:LC>에 산다\n");
  EXPECT_EQ(train("ner", "one.txt").code, 0) << "one entity type is a task";
  fs::remove(folder_ / "m");
  file("one_tc.txt", "['a','배송','']\n['b','배송','']\n");
  expect_refused("train tc --train one_tc.txt -o m", 3, {"every document has the same class '배송'"});
  file("bare.txt", "서울에 간다\n부산에 산다\n");
  expect_refused("train ner --train bare.txt --format inline -o m", 3, {"no entity is annotated"});
}

TEST_F(BadInput, LabelsThatOnlyTheDevSetHas) {
  file("dev.txt", "<서울:LC>에 <셋:UNSEEN> 있다\n");
  Result r = train("ner", "ner.txt", "--dev dev.txt");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("warning: the dev set has 1 entities of types that training never sees (UNSEEN)"));
  file("dev_tc.txt", "['a','처음','']\n['늦다','배송','']\n");
  r = train("tc", "tc.txt", "--dev dev_tc.txt");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err,
              AllOf(HasSubstr("warning: the dev set has 1 classes that training never sees"), HasSubstr("처음")));
}

TEST_F(BadInput, MoreThanAThousandTags) {
  std::string ner, tc;
  for (int i = 0; i < 520; ++i) {
    const std::string n = std::to_string(i);
    ner += "<이름" + n + ":T" + n + ">이 있다\n";
    tc += "__label__c" + n + " 문서 " + n + "\n__label__c" + n + " 글 " + n + "\n";
  }
  file("many.txt", ner);  // 520 types, 1,041 tags
  Result r = train("ner", "many.txt", "--set epochs=1 --set batch=64");
  ASSERT_EQ(r.code, 0) << r.err;
  r = run("predict m --from text", "이름7이 있다\n");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(run("inspect m --json").out, HasSubstr("T519"));
  file("many_tc.txt", tc + replaced(tc, "__label__c", "__label__d"));  // 1,040 classes
  r = train("tc", "many_tc.txt", "--set epochs=1");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(Json::parse(run("inspect m --json").out)["labels"].size(), 1040u);
}

TEST_F(BadInput, FilesThatAreNotThereAndFoldersForFiles) {
  const std::string ner = "train ner --train ner.txt -o ";
  expect_refused("train ner --train folder -o m", 3, {"folder: is a directory; name a file in it"});
  expect_refused("train ner --train none -o m", 3, {"none: cannot open: No such file"});
  expect_refused(ner + "m --dev folder", 3, {"folder: is a directory"});
  expect_refused(ner + "m --config folder", 3, {"folder: is a directory; name a file in it"});
  expect_refused(ner + "m --config none", 3, {"none: cannot open: No such file"});
  expect_refused(ner + "folder", 1, {"folder is a directory; name a file for the model"});
  expect_refused(ner + "none/m", 1, {"folder none does not exist"});
  expect_refused(ner + "/dev/null", 1, {"/dev/null is no regular file"});
  expect_refused(ner + "-", 2, {"a model cannot go to standard output"});
  expect_refused("predict folder ner.txt", 4, {"folder", "is a directory"});
  expect_refused("predict none ner.txt", 4, {"none", "No such file"});
  expect_refused("inspect folder", 4, {"folder", "is a directory"});
  expect_refused("evaluate none ner.txt", 4, {"none", "No such file"});
  expect_refused("evaluate --gold folder --pred ner.txt", 3, {"folder: is a directory"});
  expect_refused("evaluate --gold none --pred ner.txt", 3, {"none: cannot open: No such file"});
  ASSERT_EQ(run(ner + "model --epochs 1" + small_ner).code, 0);
  expect_refused("predict model folder", 3, {"folder", "is a directory"});
  expect_refused("predict model none", 3, {"bib: none: error: cannot be opened: No such file"});
  expect_refused("predict model ner.txt -o folder", 1, {"folder", "s a directory"});
  expect_refused("convert ner.txt --to jsonl -o folder", 1, {"folder", "s a directory"});
  expect_refused("evaluate model folder", 3, {"folder: is a directory"});
}

TEST_F(BadInput, OutputsThatWouldDestroyAnInput) {
  ASSERT_EQ(run("train ner --train ner.txt -o model --epochs 1" + small_ner).code, 0);
  const std::string text = bytes("ner.txt"), model = bytes("model");
  fs::create_symlink("ner.txt", folder_ / "link.txt");
  for (const char* arguments :
       {"train ner --train ner.txt -o ner.txt", "train ner --train ner.txt -o ./ner.txt",
        "predict model ner.txt -o ner.txt", "predict model ner.txt -o link.txt", "predict model ner.txt -o model",
        "evaluate model ner.txt --errors ner.txt", "convert ner.txt --to jsonl -o link.txt", "bench model -o model"})
    expect_refused(arguments, 2, {});
  EXPECT_THAT(run("predict model ner.txt -o ner.txt").err, HasSubstr("ner.txt is also an input; name another file"));
  for (const char* arguments : {"predict model --from text -o .stdin", "convert - --to jsonl -o .stdin"}) {
    EXPECT_EQ(run(arguments, text).code, 2) << arguments << ": the shell has opened it";
    EXPECT_TRUE(bytes(".stdin") == text);
  }
  const auto shell = [&](const std::string& command) {
    return WEXITSTATUS(std::system(("cd '" + folder_.string() + "' && " + command + " 2> .stderr").c_str()));
  };
  EXPECT_EQ(shell("timeout 20 '" BIB_COMMAND "' predict model ner.txt >> ner.txt"), 2) << "it would never end";
  file("-", text);  // is not what "-" means
  EXPECT_EQ(run("predict model - -o answers", text).code, 0);
  EXPECT_EQ(shell("'" BIB_COMMAND "' predict model < ner.txt > answers"), 0) << bytes(".stderr");
  EXPECT_TRUE(bytes("ner.txt") == text);
  EXPECT_TRUE(bytes("model") == model);
}

TEST_F(BadInput, SettingsOutOfRange) {
  const std::string ner = "train ner --train ner.txt -o m ";
  expect_refused(ner + "--epochs 0", 3, {"epochs is 0; at least 1"});
  expect_refused(ner + "--train-rate 1.5", 3, {"train_rate is 1.5; it is the share", "at most 1"});
  expect_refused(ner + "--train-rate 0", 3, {"train_rate is 0"});
  expect_refused(ner + "--lr nan", 3, {"lr must be a number"});
  expect_refused(ner + "--batch many", 3, {"batch must be a whole number"});
  expect_refused(ner + "--threads -1", 2, {"--threads: -1 is no whole number from 0 to 4096"});
  expect_refused(ner + "--set featurs.word=3", 3, {"featurs.word is not a setting; did you mean features.word?"});
  for (const std::string far : {"foo.bar=1", "bar=1", "xyz=2"}) {
    const Result r = run(ner + "--set " + far);
    EXPECT_EQ(r.code, 3);
    EXPECT_THAT(r.err, AllOf(HasSubstr("is not a setting"), Not(HasSubstr("did you mean")))) << far;
  }
  expect_refused(ner + "--set train.rl=1", 3, {"train.rl is not a setting; did you mean train.lr?"});
  expect_refused(ner + "--progress loud", 2, {"--progress: loud not in {auto,bar"});
}

TEST_F(BadInput, ModelsThatAreNone) {
  ASSERT_EQ(train("ner", "ner.txt").code, 0);
  const std::string model = bytes("m");
  fs::rename(folder_ / "m", folder_ / "whole");
  std::string flipped = model;
  flipped[model.size() / 2] ^= 1;
  file("flipped", flipped);
  file("longer", model + "x");
  file("empty", "");
  expect_refused("predict flipped ner.txt", 4, {"flipped"});
  expect_refused("predict longer ner.txt", 4, {"longer"});
  expect_refused("predict empty ner.txt", 4, {"empty"});
  expect_refused("predict ner.txt ner.txt", 4, {"ner.txt"});
  expect_refused("predict /dev/null ner.txt", 4, {"/dev/null"});
  for (const double share : {0.001, 0.1, 0.5, 0.999}) {
    file("cut", model.substr(0, static_cast<std::size_t>(share * static_cast<double>(model.size()))));
    for (const char* verb : {"predict cut ner.txt", "inspect cut", "evaluate cut ner.txt"})
      expect_refused(verb, 4, {"cut"});
  }
}

TEST_F(BadInput, AFullDiskLeavesTheOldModelAlone) {
  ASSERT_EQ(train("ner", "ner.txt").code, 0);
  const std::string before = bytes("m");
  std::vector<std::string> files;
  const auto listing = [&] {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  };
  files = listing();
  const std::string again =
      "train ner --train ner.txt -o m --epochs 2 --train-rate 1 --seed 9 --checkpoint-seconds 1e9";
  Result r = run(again + small_ner, "", "ulimit -f 8 &&");  // no file beyond a few KiB
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_THAT(r.err, AllOf(HasSubstr("cannot write model m: "), HasSubstr("File too large"), HasSubstr("ulimit -f")));
  EXPECT_TRUE(bytes("m") == before) << "the model that was there is whole";
  EXPECT_EQ(listing(), files) << "nothing half-written stays";

  r = run("predict m ner.txt -o /dev/full");
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("/dev/full: cannot be written: No space left on device"));
}

TEST_F(BadInput, StandardOutputThatIsFullIsAnError) {
  ASSERT_EQ(train("ner", "ner.txt").code, 0);
  for (const char* arguments :
       {"predict m ner.txt", "evaluate m ner.txt", "evaluate m ner.txt --json", "inspect m", "inspect m --json", "info",
        "check ner.txt", "check ner.txt --json", "convert ner.txt --to jsonl", "help", "train ner --print-config"}) {
    const std::string command =
        "cd '" + folder_.string() + "' && '" BIB_COMMAND "' " + arguments + " > /dev/full 2> .stderr";
    const int status = std::system(command.c_str());
    EXPECT_EQ(WEXITSTATUS(status), 1) << arguments;
    EXPECT_THAT(bytes(".stderr"), HasSubstr("error: standard output: cannot be written")) << arguments;
  }
}

TEST_F(BadInput, MessagesWithoutAPlaceGoIntoNoOtherFile) {
  ASSERT_EQ(train("ner", "ner.txt").code, 0);
  file("two.jsonl", "{\"text\":\"서울\"}\n{\"txt\":\"부산\"}\n");
  const std::string predict = "cd '" + folder_.string() + "' && '" BIB_COMMAND "' predict m two.jsonl ";
  EXPECT_EQ(std::system((predict + "-o answers 2>&-").c_str()), 0);  // the first descriptor that is free
  const std::string answers = bytes("answers");
  EXPECT_EQ(std::count(answers.begin(), answers.end(), '\n'), 2) << answers;
  EXPECT_EQ(WEXITSTATUS(std::system((predict + ">&- 2> .stderr").c_str())), 1);
  EXPECT_THAT(bytes(".stderr"), HasSubstr("standard output: cannot be written: Bad file descriptor"));
}

// --- offsets ---

/// Code points of UTF-8, or UTF-16 units, or bytes: what a client in another language counts.
std::string slice(const std::string& text, std::size_t begin, std::size_t end, const std::string& unit) {
  std::vector<std::size_t> starts;  // byte at which each unit begins
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (unit != "byte" && (c & 0xC0) == 0x80) continue;
    starts.push_back(i);
    if (unit == "utf16" && c >= 0xF0) starts.push_back(i);
  }
  starts.push_back(text.size());
  return text.substr(starts.at(begin), starts.at(end) - starts.at(begin));
}

TEST_F(BadInput, OffsetsCutOutTheEntitysTextInEveryUnit) {
  ASSERT_EQ(run("train ner --train ner.txt -o m --epochs 30 --train-rate 1 --lr 0.01" + small_ner).code, 0);
  const std::string seoul = "\xE1\x84\x89\xE1\x85\xA5\xE1\x84\x8B\xE1\x85\xAE\xE1\x86\xAF";  // 서울 as jamo
  const std::vector<std::string> lines{
      "{\"text\":\"서울에 간다\"}",
      "{\"text\":\"😀😀 서울에 간다 👩‍👩‍👧 부산에 산다\"}",
      "{\"text\":\"" + seoul + "에 간다\"}",
      "{\"text\":\"오늘은 춥다\\r\\n서울에 간다\\r\\n부산에 산다\\r\\n\"}",
      "{\"text\":\"e\xCC\x81\xF0\x9D\x84\x9E 서울에 간다\"}",  // a combining mark, a clef beyond 16 bits
  };
  for (const std::string unit : {"codepoint", "utf16", "byte"}) {
    for (const std::string& line : lines) {
      const Result r = run("predict m --offsets " + unit, line + "\r\n");
      ASSERT_EQ(r.code, 0) << r.err;
      const Json answer = Json::parse(r.out);
      const std::string text = answer["text"];
      EXPECT_EQ(text, Json::parse(line)["text"]);
      EXPECT_EQ(answer["unit"], unit);
      bool found = false;
      for (const Json& e : answer["entities"]) {
        EXPECT_EQ(slice(text, e["start"], e["end"], unit), e["text"]) << unit << ": " << answer.dump();
        found = found || e["text"] == "서울" || e["text"] == seoul;
      }
      EXPECT_TRUE(found) << unit << ": " << answer.dump();
    }
  }
}

TEST_F(BadInput, OffsetsAreThoseOfTheTextThatIsShownWhereItIsNotUtf8) {
  ASSERT_EQ(run("train ner --train ner.txt -o m --epochs 30 --train-rate 1 --lr 0.01" + small_ner).code, 0);
  // Characters cut short, a surrogate, bytes that begin nothing: each byte is a character of its own.
  for (const std::string odd : {"\xE2\x82", "\xF0\x9F\x98", "\xED\xA0\x80", "\xC0\xAF", "\xE2\xE2\x82"}) {
    for (const std::string unit : {"codepoint", "utf16"}) {
      const Json answer = Json::parse(run("predict m --from text --offsets " + unit, odd + " 서울에 간다\n").out);
      const std::string text = answer["text"];
      EXPECT_EQ(text.size(), 3 * odd.size() + std::string(" 서울에 간다").size()) << answer.dump();
      EXPECT_FALSE(answer["entities"].empty());
      for (const Json& e : answer["entities"]) EXPECT_EQ(slice(text, e["start"], e["end"], unit), e["text"]) << unit;
    }
  }
}

}  // namespace
