// `bib evaluate` from outside: what it prints, writes and returns.
#include <nlohmann/json.hpp>

#include "tests/command.h"

namespace {

using bib_test::Result, bib_test::read;

class Evaluate : public bib_test::Command {
 protected:
  Result run(const std::string& arguments) const { return Command::run("evaluate " + arguments); }
};

constexpr const char* gold_columns =
    "Jim B-PS\nKim I-PS\nlives O\nin O\nSeoul B-LC\n. O\n\nHanbit B-OG\nBank I-OG\nmoved O\n. O\n";
constexpr const char* predicted_columns =
    "Jim B-PS\nKim I-PS\nlives O\nin O\nSeoul B-OG\n. O\n\nHanbit B-OG\nBank O\nmoved B-PS\n. O\n";

TEST_F(Evaluate, PrintsTheLayoutOfConlleval) {
  file("gold.conll", gold_columns);
  file("pred.conll", predicted_columns);
  const Result r = run("--gold gold.conll --pred pred.conll");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out.substr(0, r.out.find("\n\n") + 1),
            "processed 10 tokens with 3 phrases; found: 4 phrases; correct: 1.\n"
            "accuracy:  70.00%; precision:  25.00%; recall:  33.33%; FB1:  28.57\n"
            "               LC: precision:   0.00%; recall:   0.00%; FB1:   0.00  0\n"
            "               OG: precision:   0.00%; recall:   0.00%; FB1:   0.00  2\n"
            "               PS: precision:  50.00%; recall: 100.00%; FB1:  66.67  2\n");
  EXPECT_NE(r.out.find("mistakes: 1 wrong type, 1 wrong edge, 1 spurious\n"), std::string::npos) << r.out;
  EXPECT_EQ(r.out, run("--gold gold.conll --pred pred.conll").out);
}

TEST_F(Evaluate, OneFileWithBothColumns) {
  file("both.txt", "Jim NNP B-PS B-PS\r\nruns VBZ O B-LC\r\n\r\nKim NNP B-PS O\r\n");
  const Result r = run("both.txt --json");
  ASSERT_EQ(r.code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out);
  EXPECT_EQ(json["sentences"], 2);
  EXPECT_EQ(json["micro"]["correct"], 1);
  EXPECT_DOUBLE_EQ(json["f1"], 0.5);
  EXPECT_EQ(json["errors"]["missed"], 1);
  EXPECT_EQ(json["f1_interval"].size(), 2u);
}

TEST_F(Evaluate, OneFileWithOneAnnotationIsNotComparedWithItself) {
  file("gold.txt", "<서울:LC>에 사는 <김민수:PS> 씨\n");
  const Result r = run("gold.txt");
  EXPECT_EQ(r.code, 3);
  EXPECT_EQ(r.out, "");
  EXPECT_NE(r.err.find("gold.txt: is read as inline, which has no two columns of tags"), std::string::npos) << r.err;
}

TEST_F(Evaluate, InlineAnnotationIsComparedAsSpans) {
  file("gold.txt", "<서울:LC>에 사는 <김민수:PS> 씨\n<<부산:LC>시청:OG> 앞\n");
  file("pred.txt", "<서울에:LC> 사는 <김민수:PS> 씨\n<부산시청:OG> 앞\n");
  const Result r = run("--gold gold.txt --pred pred.txt --json");
  ASSERT_EQ(r.code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out);
  EXPECT_EQ(json["micro"]["correct"], 2);
  EXPECT_EQ(json["micro"]["support"], 3) << "of nested entities, the outermost counts";
  EXPECT_EQ(json["errors"]["wrong edge"], 1);
}

TEST_F(Evaluate, GatesFailWithCodeSixAfterTheReport) {
  file("gold.conll", gold_columns);
  file("pred.conll", predicted_columns);
  const std::string files = "--gold gold.conll --pred pred.conll ";
  EXPECT_EQ(run(files + "--fail-under f1=0.28 --fail-under recall=0.3").code, 0);
  const Result r = run(files + "--fail-under f1=0.28 --fail-under accuracy=0.9");
  EXPECT_EQ(r.code, 6);
  EXPECT_NE(r.err.find("accuracy is 0.7000, under the limit of 0.9000"), std::string::npos) << r.err;
  EXPECT_NE(r.out.find("FB1"), std::string::npos) << "the report comes first";
  EXPECT_EQ(run(files + "--fail-under f1=80").code, 2) << "a percentage is not a fraction";
  EXPECT_EQ(run(files + "--fail-under speed=0.5").code, 2);
  EXPECT_EQ(run(files + "--fail-under char-f1=0.5").code, 2) << "a figure of klue mode only";
}

TEST_F(Evaluate, ErrorPageEscapesEverythingAndHoldsEveryMistake) {
  file("gold.txt", "<<script>alert(1)</script>:PS> & <b>x</b>\n<서울:LC>에 간다\n");
  file("pred.txt", "<script>alert(1)</script> & <b>x</b>\n<서울에:LC> 간다\n");
  const Result r = run("--gold gold.txt --pred pred.txt --errors page.html");
  ASSERT_EQ(r.code, 0) << r.err;
  const std::string page = read(folder_ / "page.html");
  EXPECT_EQ(page.find("<script>alert"), std::string::npos);
  EXPECT_EQ(page.find("<b>x</b>"), std::string::npos);
  EXPECT_NE(page.find("&lt;script&gt;alert(1)&lt;/script&gt;"), std::string::npos);
  EXPECT_NE(page.find("서울에<small>↔ LC</small>"), std::string::npos);
  EXPECT_EQ(page.find("http:"), std::string::npos) << "needs nothing else";
  std::size_t texts = 0;
  for (std::size_t at = 0; (at = page.find("<article", at)) != std::string::npos; ++at) ++texts;
  EXPECT_EQ(texts, 2u);
}

TEST_F(Evaluate, ErrorsAsJsonLinesCountCodePoints) {
  file("gold.txt", "😀 <서울:LC>에 간다\n");
  file("pred.txt", "😀 <서울에:LC> 간다\n");
  ASSERT_EQ(run("--gold gold.txt --pred pred.txt --errors e.jsonl").code, 0);
  const auto json = nlohmann::json::parse(read(folder_ / "e.jsonl"));
  EXPECT_EQ(json["kind"], "wrong edge");
  EXPECT_EQ(json["line"], 1);
  EXPECT_EQ(json["gold"]["start"], 2);
  EXPECT_EQ(json["gold"]["end"], 4);
  EXPECT_EQ(json["predicted"]["text"], "서울에");
}

TEST_F(Evaluate, ClassesFromListsOfSlots) {
  file("gold.txt", "['좋아요','칭찬','']\n['언제 와요','','배송']\n['안 와요','','배송']\n");
  file("pred.txt", "['좋아요','칭찬','']\n['언제 와요','','배송']\n['안 와요','칭찬','']\n");
  const Result r = run("--gold gold.txt --pred pred.txt --errors page.html");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("accuracy: 66.67 (2 of 3)"), std::string::npos) << r.out;
  EXPECT_NE(read(folder_ / "page.html").find("안 와요"), std::string::npos);
}

TEST_F(Evaluate, SaysWhereFilesPart) {
  file("gold.conll", gold_columns);
  file("shorter.conll", "Jim B-PS\nKim I-PS\nlives O\nin O\nSeoul B-LC\n. O\n\nHanbit B-OG\nmoved O\n. O\n");
  file("cut.conll", "Jim B-PS\nKim I-PS\nlives O\nin O\nSeoul B-LC\n. O\n");
  Result r = run("--gold gold.conll --pred shorter.conll");
  EXPECT_EQ(r.code, 3);
  EXPECT_NE(r.err.find("sentence 2 (gold line 8): gold has 4 tokens, the prediction has 3 (its line 8)"),
            std::string::npos)
      << r.err;
  r = run("--gold gold.conll --pred cut.conll");
  EXPECT_EQ(r.code, 3);
  EXPECT_NE(r.err.find("gold has 2 sentences, the prediction has 1"), std::string::npos) << r.err;
  r = run("--gold gold.conll --pred nowhere.conll");
  EXPECT_EQ(r.code, 3);
  EXPECT_NE(r.err.find("nowhere.conll"), std::string::npos);
  EXPECT_EQ(r.out, "");
}

TEST_F(Evaluate, WrongUseIsCodeTwo) {
  file("gold.conll", gold_columns);
  EXPECT_EQ(run("").code, 2);
  EXPECT_EQ(run("--gold gold.conll").code, 2);
  Result r = run("--gold gold.conll --pred gold.conll --mode conlleval");
  EXPECT_EQ(r.code, 2);
  EXPECT_NE(r.err.find("--mode: conlleval is not one of conll, klue, seqeval, strict"), std::string::npos) << r.err;
  EXPECT_EQ(run("--gold gold.conll --pred gold.conll --mode 0").code, 2);
  r = run("--gold gold.conll --pred none.conll --errors none/page.html");  // before anything is read
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("none/page.html: cannot be written: No such file or directory"), std::string::npos) << r.err;
  r = run("--gold gold.conll --pred gold.conll --errors page.pdf");
  EXPECT_EQ(r.code, 2);
  EXPECT_NE(r.err.find(".html or .jsonl"), std::string::npos) << r.err;
}

TEST_F(Evaluate, StrictModeSaysWhatItDoesNotScore) {
  file("iob1.txt", "Jim I-PS I-PS\nran O O\n\nKim B-PS B-PS\n");
  const Result r = run("iob1.txt --mode strict --json");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("1 tags belong to no well-formed entity"), std::string::npos) << r.err;
  EXPECT_EQ(nlohmann::json::parse(r.out)["micro"]["support"], 1);
}

}  // namespace
