// `bib check` and `bib convert` from outside: findings, statistics, what comes back after a conversion, exit codes.
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

class Corpora : public bib_test::Command {};

TEST_F(Corpora, ConvertSaysInShortWhatEveryTextLoses) {
  std::string text;
  for (int i = 0; i < 30; ++i) text += "<서울:LC>에 <부산:LC>은\n";
  file("ner.txt", text);
  const Result r = run("convert ner.txt --to conll -o out");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, testing::StartsWith("ner.txt: warning: 60 annotations in all end inside tokens and are left out; "
                                         "characters as tokens keep them"));
  EXPECT_THAT(r.err, AllOf(HasSubstr("ner.txt:10: warning: '서울' LC does not end"), Not(HasSubstr("ner.txt:11:")),
                           HasSubstr("ner.txt: 41 more warnings (--limit 0 shows all)")));
  EXPECT_THAT(run("convert ner.txt --to conll --limit 0 -o out").err, HasSubstr("ner.txt:30: warning"));
  EXPECT_THAT(run("convert ner.txt --to conll --unit character -o out").err, Not(HasSubstr("warning")));
}

TEST_F(Corpora, FlagsThatTheFormatHasNoUseForAreTold) {
  file("ner.txt", "<서울:LC>에 간다\n<부산:LC>에 산다\n오늘은 춥다\n");
  file("tc.csv", "글;뜻\n배송이 늦다;배송\n값이 싸다;값\n");
  file("ft.txt", "#배송 배송이 늦다\n#값 값이 싸다\n");
  file("ner.conll", "서울 B-LC\n간다 O\n\n부산 B-LC\n산다 O\n");
  file("both.conll", "서울 B-LC B-LC\n간다 O O\n\n부산 B-LC O\n산다 O O\n");
  ASSERT_EQ(run("train ner --train ner.txt --train-rate 1 --epochs 1 -o m" + bib_test::small_ner).code, 0);
  const std::string csv = " --text-column 글 --label-column 뜻 --delimiter ';'";
  struct Case {
    std::string arguments, says;  // "": no warning
  };
  for (const Case& c : {
           Case{"check ner.txt --text-column 2 --delimiter ,",
                "--text-column, --delimiter do nothing for what is read as inline"},
           Case{"check ner.txt ner.conll --tag-column 2", ""},  // of one of the two
           Case{"check ner.txt tc.csv --tag-column 2" + csv,
                "--tag-column does nothing for what is read as csv, inline"},
           Case{"check tc.csv" + csv, ""},
           Case{"convert ner.conll --to jsonl --quoting none --offsets-in byte",
                "--offsets-in, --quoting do nothing for what is read as conll"},
           Case{"convert tc.csv --to fasttext --label-prefix '#'" + csv, ""},
           Case{"convert tc.csv --to list --label-prefix '#'" + csv,
                "--label-prefix does nothing for what is read as csv"},
           Case{"convert ft.txt --from fasttext --to fasttext --label-prefix '#'", ""},
           Case{"train ner --train ner.txt --id-column 1 --train-rate 1 --epochs 1 -o n" + bib_test::small_ner,
                "--id-column does nothing for what is read as inline"},
           Case{"train tc --train tc.csv --train-rate 1 --epochs 1 -o t" + csv + bib_test::small_tc, ""},
           Case{"evaluate m ner.txt --token-column 1", "--token-column does nothing for what is read as inline"},
           Case{"evaluate both.conll --tag-column 2",
                "--tag-column does nothing for one FILE, whose last two columns are compared"},
           Case{"evaluate both.conll --token-column 1", ""},
           Case{"predict m ner.conll --from conll --label-prefix x",
                "--label-prefix does nothing for what is read as conll"},
           Case{"predict m ner.conll --from conll --token-column 1", ""},
       }) {
    const Result r = run(c.arguments);
    EXPECT_EQ(r.code, 0) << c.arguments << "\n" << r.err;
    if (c.says.empty()) {
      EXPECT_THAT(r.err, Not(HasSubstr("nothing for"))) << c.arguments;
    } else {
      EXPECT_THAT(r.err, HasSubstr("bib: warning: " + c.says + "\n")) << c.arguments;
    }
  }
}

TEST_F(Corpora, CheckPrintsStatisticsOfEveryFile) {
  file("train.txt", "<서울:LC>에 <<부산:LC>시청:OG>이 있다\n<김민수:PS>가 왔다\n\n");
  file("test.txt", "<김민수:PS>가 왔다\n");
  const Result r = run("check train.txt test.txt --json");
  ASSERT_EQ(r.code, 0) << r.err;
  const Json json = Json::parse(r.out);
  const Json& train = json["files"][0];
  EXPECT_EQ(train["format"], "inline");
  EXPECT_EQ(train["documents"], 3);
  EXPECT_EQ(train["empty"], 1);
  EXPECT_EQ(train["entities"], 4);
  EXPECT_EQ(train["nested"], 1);
  EXPECT_EQ(train["inside_words"], 3);
  EXPECT_EQ(train["entity_labels"][0]["label"], "LC");
  EXPECT_EQ(train["entity_labels"][0]["count"], 2);
  EXPECT_EQ(json["files"][1]["shared"]["train.txt"], 1) << "test texts that were trained on";

  const Result text = run("check train.txt test.txt");
  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(
      text.out,
      AllOf(HasSubstr("train.txt: inline, 0 errors"), HasSubstr("documents   3 (3 annotated, 1 empty)"),
            HasSubstr("entities    4 (1 nested inside others)"), HasSubstr("shared      1 text with train.txt")));
}

TEST_F(Corpora, CheckNamesTheLineAndColumnOfEveryMistake) {
  file("bad.conll", "서울 B-LC\n에\n간다 O\n\n나 O\n너 OO\n");
  const Result r = run("check bad.conll");
  EXPECT_EQ(r.code, 3);
  EXPECT_THAT(r.err, AllOf(HasSubstr("bad.conll:2:1: error: 1 column, expected 2"),
                           HasSubstr("bad.conll:6:3: error: 'OO' is not a tag")));
  EXPECT_THAT(r.out, HasSubstr("bad.conll: conll, 2 errors"));
  const Json json = Json::parse(run("check bad.conll --json").out);
  EXPECT_EQ(json["errors"], 2);
  EXPECT_EQ(json["files"][0]["findings"][0]["line"], 2);
  EXPECT_EQ(json["files"][0]["findings"][1]["column"], 3);
}

TEST_F(Corpora, CheckGoesOnAfterAFileThatCannotBeRead) {
  file("good.txt", "<서울:LC>에 간다\n");
  file("empty.txt", "");
  std::filesystem::create_directories(folder_ / "folder");
  const Result r = run("check none.txt empty.txt folder good.txt");
  EXPECT_EQ(r.code, 3);
  EXPECT_THAT(r.err, AllOf(HasSubstr("none.txt: error: cannot open: No such file"),
                           HasSubstr("empty.txt: error: is empty"), HasSubstr("folder: error: is a directory")));
  EXPECT_THAT(r.out, HasSubstr("good.txt: inline, 0 errors"));
}

TEST_F(Corpora, CheckLimitsAFloodPerSeverity) {
  std::string text = "label,text\n";
  for (int i = 0; i < 9; ++i) text += "only one column\n";
  file("flood.csv", text);
  Result r = run("check flood.csv --from csv --limit 4");
  EXPECT_EQ(r.code, 3);
  EXPECT_THAT(r.err, AllOf(HasSubstr("flood.csv:5"), Not(HasSubstr("flood.csv:6")), HasSubstr("5 more errors")));
  r = run("check flood.csv --from csv --limit 0");
  EXPECT_THAT(r.err, AllOf(HasSubstr("flood.csv:10"), Not(HasSubstr("more errors"))));
}

TEST_F(Corpora, CheckFindsLabelsThatAModelDoesNotKnow) {
  file("train.txt", bib_test::first_lines(BIB_SOURCE "/data/ner/train.txt", 40));
  ASSERT_EQ(run("train ner --train train.txt --epochs 1 --train-rate 1 -o m" + bib_test::small_ner).code, 0);
  file("new.txt", "<서울:LC>에 <셋:UNHEARD> 있다\n");
  const Result r = run("check new.txt --with m");
  EXPECT_THAT(r.err, HasSubstr("UNHEARD"));
  EXPECT_EQ(run("check new.txt --with new.txt").code, 4);
}

TEST_F(Corpora, ConvertThereAndBackGivesTheSameBytes) {
  const std::string inline_text = "<서울:LC>에 사는 <김민수:PS> 씨\n😀 <한국은행:OG> 앞\n";
  file("a.txt", inline_text);
  for (const char* format : {"jsonl", "conll --unit character", "doccano", "spacy"}) {
    const Result there = run(std::string("convert a.txt -o b --to ") + format);
    ASSERT_EQ(there.code, 0) << format << there.err;
    EXPECT_THAT(there.out, IsEmpty()) << "the answer went to the file";
    EXPECT_THAT(there.err, HasSubstr("2 documents, inline to"));
    const Result back = run("convert b --to inline");
    ASSERT_EQ(back.code, 0) << format << back.err;
    EXPECT_EQ(back.out, inline_text) << format;
  }
}

TEST_F(Corpora, ConvertReadsStandardInputAndSaysWhatItLeavesOut) {
  const Result r = run("convert - --to conll --scheme bioes", "<서울:LC> <<부산:LC>시청:OG>\n<김:PS>씨\n");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, "서울\tS-LC\n부산시청\tS-OG\n\n김씨\tO\n\n");
  EXPECT_THAT(r.err, AllOf(HasSubstr("standard input:1: warning: left out '부산' LC"),
                           HasSubstr("standard input:2: warning: '김' PS does not end where tokens end")));
}

TEST_F(Corpora, ConvertCountsOffsetsInTheUnitAskedFor) {
  file("a.txt", "😀 <서울:LC>\n");
  const std::pair<const char*, int> begins[] = {{"codepoint", 2}, {"utf16", 3}, {"byte", 5}};
  for (const auto& [unit, begin] : begins) {
    const Result r = run(std::string("convert a.txt --to jsonl --offsets ") + unit);
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_THAT(r.out, HasSubstr("\"start\":" + std::to_string(begin))) << r.out;
    file("back.jsonl", r.out);
    EXPECT_EQ(run(std::string("convert back.jsonl --to inline --offsets-in ") + unit).out, "😀 <서울:LC>\n");
  }
}

TEST_F(Corpora, ConvertLeavesNoHalfOfAFile) {
  file("two.jsonl", "{\"text\":\"하나\",\"label\":\"a\"}\n{\"text\":\"한 줄\\n두 줄\",\"label\":\"a\"}\n");
  EXPECT_EQ(run("convert two.jsonl --to text -o half").code, 3);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "half"));
  file("there", "before");
  EXPECT_EQ(run("convert two.jsonl --to text -o there").code, 3);
  EXPECT_EQ(std::filesystem::file_size(folder_ / "there"), 6u);
}

TEST_F(Corpora, ConvertRefusesWithTheReason) {
  file("two.jsonl", "{\"text\":\"한 줄\\n두 줄\",\"label\":\"a\"}\n");
  struct Case {
    std::string arguments;
    int code;
    std::string says;
  };
  for (const Case& c : {
           Case{"convert two.jsonl --to inlin", 3, "unknown corpus format 'inlin'; did you mean inline?"},
           Case{"convert two.jsonl --to qwertyuiop", 3, "known: inline, list, conll"},
           Case{"convert two.jsonl --to text", 3, "two.jsonl:1: error: cannot be written as text"},
           Case{"convert two.jsonl", 2, "--to is required"},
           Case{"convert none --to jsonl", 3, "none: cannot open"},
           Case{"convert two.jsonl --to jsonl -o none/x", 1, "none/x: cannot be written"},
           Case{"convert two.jsonl --to jsonl -o /dev/full", 1, "/dev/full: cannot be written: No space left"},
           Case{"convert two.jsonl --to conll --scheme iob9", 2, "not one of bilou, bioes, iob1, iob2"},
       }) {
    const Result r = run(c.arguments);
    EXPECT_EQ(r.code, c.code) << c.arguments << "\n" << r.err;
    EXPECT_THAT(r.err, HasSubstr(c.says)) << c.arguments;
    EXPECT_THAT(r.out, IsEmpty()) << c.arguments;
  }
  const Result formats = run("convert --formats");
  EXPECT_EQ(formats.code, 0) << formats.err;
  EXPECT_THAT(formats.out, AllOf(HasSubstr("inline"), HasSubstr("fasttext"), HasSubstr("brat")));
}

}  // namespace
