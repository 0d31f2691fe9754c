// `bib train --base` from outside: what it prints, what it refuses, and that a model can be gone on from for ever.
#include <nlohmann/json.hpp>

#include "tests/command.h"

namespace {

namespace fs = std::filesystem;
using bib_test::Result, bib_test::first_lines, bib_test::small_ner, bib_test::small_tc;

class BaseCli : public bib_test::Command {
 protected:
  void SetUp() override {
    bib_test::Command::SetUp();
    file("ner.txt", first_lines(BIB_SOURCE "/data/ner/train.txt", 120));
    file("tc.txt", first_lines(BIB_SOURCE "/data/tc/train.txt", 120));
    file("more.txt", first_lines(BIB_SOURCE "/data/ner/test.txt", 60) + "<뒷산:ZZ>에 갔다\n<앞산:ZZ>에 갔다\n");
  }
  void train_base(const std::string& extra = "") const {
    const Result r = run("train ner --train ner.txt --epochs 2 -o old.bib" + small_ner + extra);
    ASSERT_EQ(r.code, 0) << r.err;
  }
  nlohmann::json inspected(const std::string& model) const {
    return nlohmann::json::parse(run("inspect --json " + model).out);
  }
};

const std::string again = "train ner --train more.txt --base old.bib --epochs 2 --batch 8";

TEST_F(BaseCli, SaysWhatIsNewAndWhatTheBaseScores) {
  train_base();
  const std::string before = bytes("old.bib");
  const Result r = run(again + " --dev ner.txt -o new.bib");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_TRUE(r.out.empty()) << r.out;
  EXPECT_NE(r.err.find("bib: base old.bib: "), std::string::npos) << r.err;
  EXPECT_NE(r.err.find(" 1 label (ZZ)\n"), std::string::npos) << r.err;
  const std::size_t score = r.err.find("bib: base old.bib: dev F1 ");
  ASSERT_NE(score, std::string::npos) << r.err;
  EXPECT_LT(score, r.err.find("epoch 1/2"));
  EXPECT_NE(r.err.find("(the base's is "), std::string::npos) << r.err;
  EXPECT_EQ(bytes("old.bib"), before);

  const auto old = inspected("old.bib"), now = inspected("new.bib");
  EXPECT_EQ(now["metadata"]["bib.base"], old["metadata"]["bib.checksum"]);
  EXPECT_EQ(now["labels"].size(), old["labels"].size() + 1);
  EXPECT_EQ(now["labels"].back(), "ZZ");
  for (std::size_t i = 0; i < old["labels"].size(); ++i) EXPECT_EQ(now["labels"][i], old["labels"][i]);
  EXPECT_EQ(run("train ner --train ner.txt --base new.bib --epochs 1 -q -o third.bib").code, 0);
  EXPECT_EQ(inspected("third.bib")["labels"], now["labels"]);
}

TEST_F(BaseCli, TheSameBaseAndSeedGiveTheSameBytesForAnyThreadCount) {
  train_base();
  for (const char* threads : {"1", "2", "3"})
    ASSERT_EQ(run(again + " -q -o m" + threads + " --threads " + threads).code, 0);
  EXPECT_EQ(bytes("m1"), bytes("m2"));
  EXPECT_EQ(bytes("m1"), bytes("m3"));
}

TEST_F(BaseCli, ResumeEndsWithTheSameBytesAndTakesNoOtherBase) {
  train_base();
  fs::copy(folder_ / "old.bib", folder_ / "copy.bib");
  ASSERT_EQ(run("train ner --train ner.txt --epochs 3 -o other.bib" + small_ner).code, 0);
  const std::string more = "train ner --train more.txt --epochs 8 --batch 4 --checkpoint-seconds 0 -q";
  ASSERT_EQ(run(more + " --base old.bib -o whole").code, 0);
  ASSERT_TRUE(WIFSIGNALED(interrupt(more + " --base old.bib -o m", "m.checkpoint", SIGKILL)));
  for (const auto& [base, says] : {std::pair{" --base other.bib", "from another base"}, {"", "with a base"}}) {
    const Result r = run(more + base + " -o m --resume");
    EXPECT_EQ(r.code, 3) << base;
    EXPECT_NE(r.err.find(std::string("m.checkpoint: error: it was made ") + says), std::string::npos) << r.err;
  }
  const Result r = run(more + " --base copy.bib -o m --resume");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(bytes("m"), bytes("whole")) << "the same base under another name";
}

TEST_F(BaseCli, TheBaseDecidesFeaturesAndNetwork) {
  train_base(" --set scheme=bioes --set nested=innermost --lr 0.5");
  const std::string printed = run(again + " --print-config").out;
  for (const char* line :
       {"hidden = 12 ", "scheme = \"bioes\"", "nested = 'innermost'", "epochs = 2 ", "warmup = 100 "})
    EXPECT_NE(printed.find(line), std::string::npos) << line << "\n" << printed;
  EXPECT_EQ(printed.find("lr = 0.5"), std::string::npos) << "training has the defaults again";
  file("same.toml", run("inspect --config old.bib").out);
  EXPECT_EQ(run(again + " -q -o m --config same.toml --lr 0.002 --set min_count=2").code, 0);
}

TEST_F(BaseCli, WrongUseHasItsExitCodeAndReason) {
  train_base();
  ASSERT_EQ(run("train tc --train tc.txt --epochs 1 -o tc.bib" + small_tc).code, 0);
  ASSERT_TRUE(WIFSIGNALED(interrupt("train ner --train ner.txt --epochs 50 --checkpoint-seconds 0 -o part" + small_ner,
                                    "part.checkpoint", SIGKILL)));
  std::string damaged = bytes("old.bib");
  damaged[damaged.size() / 2] ^= 1;
  file("damaged.bib", damaged);
  file("word.toml", "[features]\nunit = \"word\"\n");
  file("v.vec", "1 8\n서 1 2 3 4 5 6 7 8\n");
  const std::string ner = "train ner --train more.txt -q --epochs 1 -o m";
  struct Case {
    std::string arguments;
    int code;
    std::string says;
  };
  for (const Case& c : {
           Case{ner + " --base old.bib --set hidden=16", 3, "error: the base old.bib has model.hidden = 12, not 16;"},
           Case{ner + " --base old.bib --config word.toml", 3, "features.unit = \"syllable\", not \"word\";"},
           Case{ner + " --base old.bib --vectors v.vec", 3, "vectors begin a new model"},
           Case{ner + " --base old.bib --set hiden=12", 3, "did you mean model.hidden?"},
           Case{ner + " --base tc.bib", 4, "is a text classification model"},
           Case{ner + " --base damaged.bib", 4, "damaged"},
           Case{ner + " --base part.checkpoint", 4, "is the checkpoint of a training"},
           Case{ner + " --base none.bib", 4, "none.bib"},
           Case{ner + " --base ner.txt", 4, "not a bib model"},
           Case{"train ner --train more.txt -q -o old.bib --base ./old.bib", 2, "is also an input"},
       }) {
    const std::string before = bytes("old.bib");
    const Result r = run(c.arguments);
    EXPECT_EQ(r.code, c.code) << c.arguments << "\n" << r.err;
    EXPECT_NE(r.err.find(c.says), std::string::npos) << c.arguments << "\n" << r.err;
    EXPECT_FALSE(exists("m")) << c.arguments;
    EXPECT_EQ(bytes("old.bib"), before);
  }
}

/// The vectors of a base are in it: their file is not needed again, and what the model says of them stays.
TEST_F(BaseCli, OfAModelWithVectorsGoesOnWithoutTheirFile) {
  std::string rows;
  for (const char* syllable :
       {"서", "울", "에", "는", "이", "다", "가", "고", "한", "을", "의", "지", "사", "로", "하",
        "기", "인", "리", "나", "시", "일", "어", "도", "정", "대", "주", "자", "부", "은", "를"})
    rows += std::string(syllable) + " 1 0 0 1 0.5 0.5 0 1\n";
  file("v.vec", "30 8\n" + rows);
  train_base(" --vectors v.vec");
  const auto old = inspected("old.bib");
  fs::remove(folder_ / "v.vec");
  const Result r = run(again + " -q -o new.bib");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(inspected("new.bib")["metadata"]["bib.data.vectors"], old["metadata"]["bib.data.vectors"]);
}

TEST_F(BaseCli, ClassesAreAdded) {
  ASSERT_EQ(run("train tc --train tc.txt --epochs 4 -o old.bib" + small_tc).code, 0);
  std::string rows = first_lines(BIB_SOURCE "/data/tc/train.txt", 60);
  for (int i = 0; i < 10; ++i) rows += "['재고가 없다','재고','']\n['재고 문의','재고','']\n";
  file("new.txt", rows);
  const Result r =
      run("train tc --train new.txt --base old.bib --epochs 20 --batch 8 --lr 0.01 --train-rate 1 -o new.bib");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find(" 1 label (재고)\n"), std::string::npos) << r.err;
  EXPECT_EQ(inspected("new.bib")["labels"].back(), "재고");
  EXPECT_NE(run("predict new.bib --format text", "재고가 없다\n").out.find("재고\t"), std::string::npos);
}

}  // namespace
