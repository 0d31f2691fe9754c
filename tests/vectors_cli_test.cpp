// Pretrained vectors from outside: what a model learns from them, that it needs the file no more, what is refused.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/command.h"

namespace {

using bib_test::Result;
using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct Row {
  std::string word;
  std::vector<float> values;
};

// Names point one way, other words another; nothing but the vectors tells them apart.
const std::vector<Row> rows{{"runs", {0, 0, 1, 0}},       {"alice", {2, 0, 0, 0.5f}},   {"bob", {2, 0, 0, -0.5f}},
                            {"carol", {2, 0.25f, 0, 0}},  {"dog", {-2, 0, 0, 0.5f}},    {"cat", {-2, 0, 0, -0.5f}},
                            {"mouse", {-2, 0.25f, 0, 0}}, {"zelda", {2, -0.25f, 0, 0}}, {"stone", {-2, -0.25f, 0, 0}}};

std::string text_file(const std::vector<Row>& table) {
  std::ostringstream out;
  out << table.size() << " " << table[0].values.size() << "\n";
  for (const Row& row : table) {
    out << row.word;
    for (float x : row.values) out << " " << x;
    out << "\n";
  }
  return out.str();
}

std::string binary_file(const std::vector<Row>& table) {
  std::string out = std::to_string(table.size()) + " " + std::to_string(table[0].values.size()) + "\n";
  for (const Row& row : table) {
    out += row.word + " ";
    out.append(reinterpret_cast<const char*>(row.values.data()), row.values.size() * sizeof(float));
    out += "\n";
  }
  return out;
}

class Vectors : public bib_test::Command {
 protected:
  void SetUp() override {
    Command::SetUp();
    std::string text;
    for (int i = 0; i < 20; ++i)
      text += "<Alice:PS> runs\ndog runs\n<Bob:PS> runs\ncat runs\n<Carol:PS> runs\nmouse runs\n";
    file("train.txt", text);
    file("v.vec", text_file(rows));
    file("v.bin", binary_file(rows));
  }

  Result train(const std::string& more, const std::string& model = "m") const {
    return run("train ner --train train.txt --train-rate 1 --epochs 8 --batch 8 --lr 0.02 --unit word -o " + model +
               " --progress none --set word=4 --set shape=0 --set affix=0 --set characters=0 --set hidden=8 " + more);
  }

  /// The entities found in a line, "Zelda/PS ...".
  std::string found(const std::string& model, const std::string& line) const {
    const Result r = run("predict " + model, line + "\n");
    EXPECT_EQ(r.code, 0) << r.err;
    const Json answer = Json::parse(r.out);
    std::string list;
    for (const Json& e : answer["entities"])
      list += (list.empty() ? "" : " ") + e["text"].get<std::string>() + "/" + e["label"].get<std::string>();
    return list;
  }
};

TEST_F(Vectors, UnseenWordsAreReadByTheirVectorsWithoutTheFile) {
  const Result r = train("--vectors v.vec");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, AllOf(HasSubstr("vectors v.vec: 7 of 7 entries have a vector, 100.0 % of the training text, 3 of "
                                     "them by their lower case; 5 more entries"),
                           Not(HasSubstr("warning"))));
  std::filesystem::remove(folder_ / "v.vec");
  EXPECT_EQ(found("m", "Zelda runs"), "Zelda/PS") << "by its lower case";
  EXPECT_EQ(found("m", "zelda runs"), "zelda/PS");
  EXPECT_EQ(found("m", "Stone runs"), "");
  const Json model = Json::parse(run("inspect m --json").out);
  EXPECT_EQ(model["metadata"]["bib.data.vectors"].get<std::string>().size(), 16u);
  EXPECT_EQ(model["tensors"]["embedding.word"]["shape"], Json({1 + 7 + 5, 4})) << "unknown, seen, unseen";
}

TEST_F(Vectors, BinaryFilesGiveTheSameModel) {
  ASSERT_EQ(train("--vectors v.vec").code, 0);
  const Result text = run("predict m train.txt --from inline");
  ASSERT_EQ(train("--vectors v.bin", "b").code, 0);
  EXPECT_EQ(text.out, run("predict b train.txt --from inline").out);
  ASSERT_EQ(train("", "none").code, 0);
  EXPECT_NE(text.out, run("predict none train.txt --from inline").out);
  EXPECT_THAT(run("inspect none").out, Not(HasSubstr("bib.data.vectors")));
}

TEST_F(Vectors, UnseenWordsAreLimited) {
  ASSERT_EQ(train("--vectors v.vec --set vector_words=2").code, 0);
  EXPECT_EQ(Json::parse(run("inspect m --json").out)["tensors"]["embedding.word"]["shape"][0], 1 + 7 + 2);
  ASSERT_EQ(train("--vectors v.vec --set max_entries=7").code, 0);
  EXPECT_EQ(Json::parse(run("inspect m --json").out)["tensors"]["embedding.word"]["shape"][0], 1 + 7);
}

TEST_F(Vectors, SyllablesAndClassesTakeThemToo) {
  file("tc.txt", "['가나','긍정','']\n['가다','긍정','']\n['나다','','부정']\n['다나','','부정']\n");
  file("s.vec", "가 1 2\n나 3 4\n다 5 6\n라 7 8\n두자 1 1\n");
  const Result r = run(
      "train tc --train tc.txt --train-rate 1 --epochs 1 -o m --vectors s.vec --progress none --set syllable=2 --set "
      "bigram=0 --set filters=4");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("3 of 3 entries have a vector"));
  EXPECT_EQ(Json::parse(run("inspect m --json").out)["tensors"]["embedding.syllable"]["shape"], Json({1 + 3 + 1, 2}));
}

TEST_F(Vectors, PoorCoverageIsSaidAndAlmostNoneRefused) {
  file("half.vec", text_file({rows[1], rows[2], rows[3]}));  // names alone: a quarter of the text
  Result r = train("--vectors half.vec");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("warning: vectors half.vec: 75.0 % of the training text has no vector"));
  file("foreign.vec", "서울 1 2 3 4\n부산 1 2 3 4\n");
  r = train("--vectors foreign.vec", "none");
  EXPECT_EQ(r.code, 3);
  EXPECT_THAT(r.err, HasSubstr("foreign.vec: 0 of 7 entries have a vector, 0.0 % of the training text"));
  EXPECT_FALSE(exists("none"));
}

TEST_F(Vectors, WrongFilesAreRefusedWithTheReason) {
  file("nan.vec", "runs 1 2 3 4\nalice 1 nan 3 4\n");
  file("short.vec", "runs 1 2 3 4\nalice 1 2 3\n");
  file("cut.bin", binary_file(rows).substr(0, 60));
  std::filesystem::create_directories(folder_ / "folder");
  struct Case {
    std::string flags, says;
  };
  for (const Case& c : {
           Case{"--vectors nan.vec", "nan.vec:2: 'nan' at number 2 of 'alice' is not a finite number"},
           Case{"--vectors short.vec", "short.vec:2: a word and 3 numbers, expected 4"},
           Case{"--vectors cut.bin", "the file ends inside row"},
           Case{"--vectors v.vec --set word=100", "dimension 4, but features.word is 100; set features.word = 4"},
           Case{"--vectors v.vec --set word=0 --set shape=4", "set word to their dimension"},
           Case{"--vectors none.vec", "none.vec: "},
           Case{"--vectors folder", "folder: "},
           Case{"--vectors train.txt", "train.txt:1: "},
       }) {
    const Result r = train(c.flags);
    EXPECT_EQ(r.code, 3) << c.flags << "\n" << r.err;
    EXPECT_THAT(r.err, HasSubstr(c.says)) << c.flags;
    EXPECT_THAT(r.out, IsEmpty());
    EXPECT_FALSE(exists("m"));
  }
}

}  // namespace
