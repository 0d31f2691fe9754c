// `bib predict` and `bib evaluate` of several files: one stream, one corpus, and messages that name the right file.
#include <gmock/gmock.h>

#include "tests/command.h"
#include "tests/json_lines.h"

namespace {

using Json = nlohmann::json;
using bib_test::Result, bib_test::json_lines;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Files : public bib_test::Command {
 protected:
  void SetUp() override {
    bib_test::Command::SetUp();
    std::string text;
    for (int i = 0; i < 8; ++i)
      text += "<서울:LC>에 간다\n<부산:LC>에 산다\n<김민수:PS>가 왔다\n<이영희:PS>가 간다\n오늘은 춥다\n내일은 덥다\n";
    file("ner.txt", text);
    const Result r = run("train ner --train ner.txt -o ner --epochs 30 --train-rate 1 --lr 0.01" + bib_test::small_ner);
    ASSERT_EQ(r.code, 0) << r.err;
  }
};

TEST_F(Files, SeveralFilesAreOneStreamOfTexts) {
  std::string many;
  for (int i = 0; i < 700; ++i) many += "부산에 산다 " + std::to_string(i) + "\n";
  file("many.txt", many);
  file("cut.txt", "서울에 간다");  // no final newline
  file("b.jsonl", "\xEF\xBB\xBF{\"id\":1,\"text\":\"김민수가 왔다\"}\n");
  file("none.txt", ""), file("c.txt", "\n{부산에 산다\r\n");
  const std::string input = "오늘은 춥다\n";
  const Result r = run("predict ner cut.txt b.jsonl many.txt - none.txt c.txt cut.txt", input);
  ASSERT_EQ(r.code, 0) << r.err;
  std::string one_by_one;
  for (const char* name : {"cut.txt", "b.jsonl", "many.txt", "-", "c.txt", "cut.txt"})
    one_by_one += run(std::string("predict ner ") + name, input).out;
  EXPECT_EQ(r.out, one_by_one);
  EXPECT_EQ(run("predict ner cut.txt b.jsonl many.txt - none.txt c.txt cut.txt -o answers", input).out, "");
  EXPECT_EQ(bytes("answers"), one_by_one);
  file("d.tsv", "text\tlabel\n서울에 간다\tx\n");
  EXPECT_EQ(run("predict ner d.tsv d.tsv --from tsv --format inline").out, "<서울:LC>에 간다\n<서울:LC>에 간다\n");
}

TEST_F(Files, MessagesNameTheFileThatTheyAreAbout) {
  file("a.txt", "서울에 간다\n"), file("b.jsonl", "{\"text\":\"x\"}\n{\"id\":1}\n"), file("c.txt", "\xFF\xFEx\n");
  file("d.txt", "['부산에 산다']\n['x' y]\n"), file("e.tsv", "id\ttext\tlabel\n1\t서울에 간다\tx\n");
  Result r = run("predict ner a.txt b.jsonl d.txt e.tsv --format inline");
  EXPECT_EQ(r.code, 0);
  EXPECT_THAT(r.err, AllOf(HasSubstr("2 of 7 lines are answered by an error; the first: b.jsonl:2: has no string"),
                           HasSubstr("warning: e.tsv looks like tsv"), Not(HasSubstr("a.txt"))));
  EXPECT_THAT(r.out, AllOf(HasSubstr("<부산:LC>에 산다\n"), HasSubstr("not a list: at column 6: expected")));
  r = run("predict ner a.txt c.txt a.txt --format inline");
  EXPECT_EQ(r.code, 3);
  EXPECT_EQ(r.out, "<서울:LC>에 간다\n") << "what stands before is answered";
  EXPECT_THAT(r.err, HasSubstr("c.txt: begins with a UTF-16"));
  r = run("predict ner a.txt nowhere.txt");
  EXPECT_EQ(r.code, 3);
  EXPECT_EQ(r.out, "") << "found out before the first is answered";
  EXPECT_THAT(r.err, HasSubstr("nowhere.txt: error: cannot be opened"));
  r = run("predict ner - a.txt -", "글\n");
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("- is named twice"));
  EXPECT_EQ(run("predict ner a.txt b.jsonl -o b.jsonl").code, 2) << "the output is an input";
}

TEST_F(Files, SeveralCorporaAreEvaluatedAsOne) {
  file("a.txt", "<서울:LC>에 간다\n<김민수:LC>가 왔다"), file("b.txt", "오늘은 <춥다:PS>\n");
  file("all.txt", bytes("a.txt") + "\n" + bytes("b.txt"));
  ASSERT_EQ(run("convert b.txt --to jsonl -o b.jsonl").code, 0);
  const Result joined = run("evaluate ner a.txt b.jsonl --errors errors.jsonl"), whole = run("evaluate ner all.txt");
  EXPECT_EQ(joined.out, whole.out) << joined.err;
  EXPECT_THAT(whole.out, HasSubstr("FB1"));
  const std::vector<Json> errors = json_lines(bytes("errors.jsonl"));
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_EQ(errors[0]["file"], "a.txt");
  EXPECT_EQ(errors[1]["file"], "b.jsonl");
  EXPECT_EQ(errors[1]["line"], 1);
  EXPECT_EQ(errors[1]["sentence"], 3);
  ASSERT_EQ(run("evaluate ner a.txt b.jsonl --errors page.html").code, 0);
  EXPECT_THAT(bytes("page.html"),
              AllOf(HasSubstr(">sentence 2, a.txt, line 2<"), HasSubstr(">sentence 3, b.jsonl, line 1<")));
  ASSERT_EQ(run("predict ner a.txt b.jsonl --from text -o wrong.jsonl").code, 0);
  ASSERT_EQ(run("predict ner a.txt --from inline -o 1.jsonl").code + run("predict ner b.jsonl -o 2.jsonl").code, 0);
  EXPECT_EQ(run("evaluate --gold a.txt b.jsonl --pred 1.jsonl 2.jsonl").out, whole.out);
  const Result other = run("evaluate --gold a.txt b.jsonl --pred wrong.jsonl");
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.err, AllOf(HasSubstr("2 corpora (gold) and wrong.jsonl (prediction): sentence 1 (gold line 1)"),
                               HasSubstr("(a.txt: 1 to 2, b.jsonl: 3 to 3)")));
}

TEST_F(Files, WhatIsNoModelIsNotEvaluatedAsOne) {
  file("a.conll", "Jim B-PS B-PS\n\n"), file("b.txt", "<서울:LC>에\n"), file("c.tsv", "text\tlabel\n글\tx\n");
  Result r = run("evaluate a.conll a.conll");
  EXPECT_EQ(r.code, 4);
  EXPECT_THAT(r.err, AllOf(HasSubstr("model a.conll: not a bib model"), HasSubstr("scored one at a time")));
  r = run("evaluate b.txt ner");
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("the model comes first: bib evaluate ner b.txt"));
  r = run("evaluate ner");
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("ner is a model; name the corpus to score it on, too: bib evaluate ner FILE..."));
  r = run("evaluate ner b.txt c.tsv --format auto");
  EXPECT_EQ(r.code, 3);
  EXPECT_THAT(r.err, HasSubstr("c.tsv: looks like tsv, which holds no entities"));
  EXPECT_EQ(run("evaluate ner b.txt --gold b.txt --pred b.txt").code, 2);
  EXPECT_EQ(run("evaluate a.conll").code, 0);
}

}  // namespace
