// The original system's two formats, column formats and plain text: every pitfall as a small fixture.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "tests/corpus_fixtures.h"

namespace bib {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// --- inline ---

TEST(Inline, NestingAndLiteralBrackets) {
  const auto one = [](const std::string& line) { return read(line, "inline").documents.at(0); };
  Document d = one("[<횡설수설:AF>/<권순활:PS>]<北:LC> 기사");
  EXPECT_EQ(d.text, "[횡설수설/권순활]北 기사");
  EXPECT_EQ(spans_of(d), "횡설수설/AF 권순활/PS 北/LC");
  EXPECT_TRUE(d.annotated);
  d = one("<<손:AM>바닥:AM>이");
  EXPECT_EQ(d.text, "손바닥이");
  EXPECT_EQ(spans_of(d), "손바닥/AM 손/AM");
  d = one("<<<보부상길:AF>:OG>:LC>");
  EXPECT_EQ(spans_of(d), "보부상길/LC 보부상길/OG 보부상길/AF") << "of equal spans the outer comes first";
  d = one("소설 <객주>와 <<로이터> 통신:OG>");
  EXPECT_EQ(d.text, "소설 <객주>와 <로이터> 통신");
  EXPECT_EQ(spans_of(d), "<로이터> 통신/OG");
  d = one("<<어벤져스:POH>> 3 < 5");
  EXPECT_EQ(d.text, "<어벤져스> 3 < 5");
  EXPECT_EQ(spans_of(d), "어벤져스/POH");
  d = one("<어벤져스: 엔드게임:POH> <x:소문자> <서울 -> 부산:LC>");
  EXPECT_EQ(d.text, "어벤져스: 엔드게임 <x:소문자> 서울 -> 부산");
  EXPECT_EQ(spans_of(d), "어벤져스: 엔드게임/POH 서울 -> 부산/LC");
  d = one("<A:B_1-X>");
  EXPECT_EQ(spans_of(d), "A/B_1-X");
}

TEST(Inline, ABracketBehindABackslashIsText) {
  const auto one = [](const std::string& line) { return read(line, "inline").documents.at(0); };
  Document d = one(R"(\<서울:LC\> <a \> b:PS> <:\<:OG>)");
  EXPECT_EQ(d.text, "<서울:LC> a > b :<");
  EXPECT_EQ(spans_of(d), "a > b/PS :</OG");
  d = one(R"(\\<서울:LC>\\\< <<a\\:PS>:OG>)");
  EXPECT_EQ(d.text, R"(\서울\< a\\)") << "of backslashes before a bracket every second one is text";
  EXPECT_EQ(spans_of(d), R"(서울/LC a\\/OG a\\/PS)");
  const std::string elsewhere = R"(C:\dir \\server\ \)";
  EXPECT_EQ(one(elsewhere).text, elsewhere);
}

TEST(Inline, NothingVanishesSilently) {
  const Corpus corpus = read("평문\n가 서울:LC> 나 <:PS>\n", "inline");
  ASSERT_THAT(corpus.documents, SizeIs(2));
  EXPECT_EQ(corpus.documents[1].text, "가 서울:LC> 나 ");
  EXPECT_THAT(messages(corpus, Severity::warning),
              ElementsAre("t:2:5: warning: ':LC>' closes no '<': kept as text",
                          "t:2:12: warning: an annotation PS of no text: left out"));
}

TEST(Inline, NestedOnRequest) {
  const std::string text = "<<북한:LC>인권모임:OG>\n<서울:LC>\n";
  const Corpus outer = read_corpus_text("t", text, {.nested = Nested::outermost});
  EXPECT_EQ(spans_of(outer.documents[0]), "북한인권모임/OG");
  EXPECT_THAT(messages(outer, Severity::note),
              ElementsAre("t:1: note: 1 nested annotation left out in 1 document, of which this is the first: only the "
                          "outermost are used"));
  const Corpus inner = read_corpus_text("t", text, {.nested = Nested::innermost});
  EXPECT_EQ(spans_of(inner.documents[0]), "북한/LC");
}

// --- lists ---

TEST(List, ClassAndSlots) {
  const Corpus corpus = read(
      "['문학을 배운다','','국문과']\n['계산','수학과','']\n[\"it's\", '', "
      "'국문과']\n['셈','','수학과']\n['수','수학과','']\n");
  EXPECT_EQ(corpus.format, "list");
  ASSERT_THAT(corpus.documents, SizeIs(5));
  EXPECT_EQ(corpus.documents[0].text, "문학을 배운다");
  EXPECT_THAT(corpus.documents[0].labels, ElementsAre("국문과"));
  EXPECT_EQ(corpus.documents[2].text, "it's");
  EXPECT_THAT(messages(corpus, Severity::note),
              ElementsAre("t:4: note: class '수학과' stands in the slot of '국문과': the name decides"));
}

TEST(List, EscapesAndRawText) {
  const Corpus corpus = read(R"(['it\'s \\ \x41\uAC00\U0001F600 a\qb\n'])"
                             "\n[\"say \\\"hi\\\"\"]\n['',]\n");
  ASSERT_THAT(corpus.documents, SizeIs(3));
  EXPECT_EQ(corpus.documents[0].text, "it's \\ A가\U0001F600 a\\qb\n");
  EXPECT_FALSE(corpus.documents[0].annotated);
  EXPECT_EQ(corpus.documents[1].text, "say \"hi\"");
  EXPECT_EQ(corpus.documents[2].text, "") << "an empty text is a document";
}

TEST(List, Errors) {
  EXPECT_THAT(error_of("['a','b']\n['a' 'b']\n['a\nx\n[]\n['\\ud800']\n['a'] b\n", {.format = "list"}),
              testing::AllOf(HasSubstr("6 errors in t\n"), HasSubstr("t:2:6: error: expected ',' or ']'"),
                             HasSubstr("t:3:2: error: the string that begins here has no end"),
                             HasSubstr("t:4:1: error: expected '['"), HasSubstr("t:5:1: error: the list is empty"),
                             HasSubstr("t:6:9: error: an escape that is no character"),
                             HasSubstr("t:7:7: error: something follows the list")));
}

// --- columns ---

TEST(Conll, Iob1) {
  const Corpus corpus = read(
      "-DOCSTART- -X- O O\n\nJAPAN NNP I-NP I-LOC\nAir NNP I-NP I-ORG\nLines NNP I-NP I-ORG\nKAL NNP I-NP B-ORG\n. . O "
      "O\n\n\n\nend NN I-NP O");
  EXPECT_EQ(corpus.format, "conll");
  EXPECT_EQ(corpus.scheme, Scheme::iob1);
  ASSERT_THAT(corpus.documents, SizeIs(2)) << "several blank lines, no final newline";
  EXPECT_EQ(corpus.documents[0].text, "JAPAN Air Lines KAL .");
  EXPECT_EQ(spans_of(corpus.documents[0]), "JAPAN/LOC Air Lines/ORG KAL/ORG");
  EXPECT_EQ(corpus.documents[0].line, 3u);
  EXPECT_THAT(corpus.documents[0].tags, ElementsAre("I-LOC", "I-ORG", "I-ORG", "B-ORG", "O"));
  EXPECT_EQ(corpus.documents[1].line, 11u);
  EXPECT_THAT(corpus.diagnostics, IsEmpty());
}

TEST(Conll, SchemesAreFoundOut) {
  EXPECT_EQ(read("a\tB-X\nb\tI-X\n\nc\tO\n").scheme, Scheme::iob2);
  Corpus corpus = read("a\tB-X\nb\tE-X\nc\tS-Y\n\nd\tO\n");
  EXPECT_EQ(corpus.scheme, Scheme::bioes);
  EXPECT_EQ(spans_of(corpus.documents[0]), "a b/X c/Y");
  corpus = read("a\tB-X\nb\tI-X\nc\tL-X\nd\tU-Y\n");
  EXPECT_EQ(corpus.scheme, Scheme::bilou);
  EXPECT_EQ(spans_of(corpus.documents[0]), "a b c/X d/Y");
}

TEST(Conll, TagsThatBreakTheSchemeAreWarnings) {
  const Corpus corpus = read("a O\nb I-X\n\nc B-X\nd I-Y\n");
  EXPECT_EQ(corpus.scheme, Scheme::iob2);
  EXPECT_EQ(spans_of(corpus.documents[0]), "b/X");
  EXPECT_EQ(spans_of(corpus.documents[1]), "c/X d/Y");
  EXPECT_THAT(messages(corpus, Severity::warning), ElementsAre(HasSubstr("t:2:1: warning: tag I after O breaks iob2"),
                                                               HasSubstr("t:5:1: warning: tag I after B breaks iob2")));
  const Corpus open = read("a B-X\nb E-X\nc B-X\n\nd O\n");
  EXPECT_THAT(messages(open, Severity::warning), ElementsAre(HasSubstr("t:3:1: warning: tag O after B breaks bioes")));
}

TEST(Conll, Errors) {
  EXPECT_THAT(
      error_of("a\tB-X\nb\n\nc\tO\td\ne\tNNP\n\tO\n", {.format = "conll"}),
      testing::AllOf(HasSubstr("t:2:1: error: 1 column, expected 2"), HasSubstr("t:4:1: error: 3 columns, expected 2"),
                     HasSubstr("t:5:3: error: 'NNP' is not a tag"), HasSubstr("t:6:1: error: the token is empty")));
  EXPECT_THAT(error_of("a\nb\n", {.format = "conll"}), HasSubstr("one column only"));
  EXPECT_THAT(error_of("a O\n", {.format = "conll", .tag_column = "7"}), HasSubstr("the file has columns 1 to 2"));
}

TEST(Conll, BrokenLinesAreErrorsNotPlainText) {
  const std::string ends = "\n\n나 O\n다 O\n";
  EXPECT_THAT(error_of("서울 B-LC\n에\n간다 O" + ends), HasSubstr("t:2:1: error: 1 column, expected 2"));
  EXPECT_THAT(error_of("서울\tB-LC\n에\n간다\tO\n가\n\n나\tO\n"),
              testing::AllOf(HasSubstr("t:2:1: error: 1 column"), HasSubstr("t:4:1: error: 1 column")));
  EXPECT_THAT(error_of("서울 B-LC\n에\tO\n간다 O" + ends), HasSubstr("t:2:1: error: 1 column, expected 2"))
      << "one line with a tab among lines with blanks";
  EXPECT_THAT(error_of("Seoul NNP B-LC\nto O\ngo VB O\n\nend NN 0\nx NN O\ny NN O\n"),
              testing::AllOf(HasSubstr("t:2:1: error: 2 columns, expected 3"), HasSubstr("t:5:8: error: '0' is not")));
  EXPECT_EQ(read("vitamin B\nplan B\nand so on\nthe end\n\nas is\n").format, "text") << "half of the lines";
}

TEST(Conll, AnyColumn) {
  const std::string gold_and_predicted = "a O B-X\nb B-Y I-X\n\n";
  EXPECT_EQ(spans_of(read(gold_and_predicted).documents[0]), "a b/X") << "the last column";
  const auto with = [&](const std::string& column) {
    return spans_of(read_corpus_text("t", gold_and_predicted, {.tag_column = column}).documents[0]);
  };
  EXPECT_EQ(with("2"), "b/Y");
  EXPECT_EQ(with("-2"), "b/Y");
  EXPECT_EQ(with("last"), "a b/X");
  EXPECT_EQ(spans_of(read("B-X a\nO b\n\nO c\n").documents[0]), "a/X") << "tags in the first column";
}

TEST(Conll, TheSpaceIsATokenInKlue) {
  const Corpus corpus = read(
      "## 문장 구분자 : \\n\\n\n## 주석 : ##\n## klue-00\t<서울:LC>은 # <가 나:PS>\n서\tB-LC\n울\tI-LC\n은\tO\n "
      "\tO\n#\tO\n \tO\n가\tB-PS\n \tI-PS\n나\tI-PS\n\n"
      "## klue-01\t# 시작\n#\tO\n \tO\n시\tO\n작\tO\n");
  EXPECT_EQ(corpus.format, "conll");
  ASSERT_THAT(corpus.documents, SizeIs(2));
  EXPECT_EQ(corpus.documents[0].text, "서울은 # 가 나");
  EXPECT_EQ(spans_of(corpus.documents[0]), "서울/LC 가 나/PS");
  EXPECT_EQ(corpus.documents[0].id, "klue-00");
  EXPECT_EQ(corpus.documents[1].text, "# 시작") << "a sentence may begin with #";
  EXPECT_EQ(corpus.documents[1].id, "klue-01");
  EXPECT_THAT(corpus.diagnostics, IsEmpty());
}

TEST(Conll, CharactersAreNotPartedByBlanks) {
  const Corpus corpus = read("서\tB-LC\n울\tI-LC\n은\tO\n\n끝\tO\n");
  EXPECT_EQ(corpus.documents[0].text, "서울은");
  EXPECT_EQ(spans_of(corpus.documents[0]), "서울/LC");
  EXPECT_THAT(messages(corpus, Severity::note), ElementsAre(HasSubstr("every token is one character")));
  EXPECT_EQ(read("ja:東\tB-LC\nja:京\tI-LC\n").documents[0].text, "東京") << "WikiANN";
  EXPECT_EQ(read("서울\tB-LC\n은\tO\n").documents[0].text, "서울 은");
}

TEST(Conll, Kmou) {
  const Corpus corpus = read(
      "## 1\n## 문 대표는\n## <문:PER> 대표는\n문\t문\tNNG\tB-PER\n_\t_\t_\tO\n대표\t대표\tNNG\tO\n는\t는\tJX\tO\n\n## "
      "2\n## 끝\n## 끝\n끝\t끝+ㄴ\tNNG\tO\n");
  ASSERT_THAT(corpus.documents, SizeIs(2));
  EXPECT_EQ(corpus.documents[0].text, "문 대표는");
  EXPECT_EQ(spans_of(corpus.documents[0]), "문/PER");
  EXPECT_EQ(corpus.documents[0].id, "1");
  EXPECT_THAT(corpus.documents[0].tokens, SizeIs(4));
  EXPECT_EQ(corpus.documents[1].id, "2");
}

TEST(Conll, BareInsideTag) {
  const Corpus corpus = read(
      "; 한국 은행은\n$<한국 은행:OG>은\n1\t한국\tNNP\tB_OG\n2\t은행\tNNG\tI\n2\t은\tJX\tO\n\n; "
      "나\n$나\n1\t나\tNP\tI\n1\t다\tEF\tO\n");
  ASSERT_THAT(corpus.documents, SizeIs(2));
  EXPECT_EQ(corpus.documents[0].text, "한국 은행 은");
  EXPECT_EQ(spans_of(corpus.documents[0]), "한국 은행/OG");
  EXPECT_THAT(messages(corpus, Severity::warning), ElementsAre(HasSubstr("t:9:1: warning: the tag 'I' has no label")));
}

TEST(Conll, OtherDialects) {
  const Corpus naver = read("1\t철수가\tPER_B\n2\t서울\tLOC_B\n3\t역에\tLOC_I\n4\t갔다\t-\n\n1\t끝\t-\n");
  EXPECT_EQ(spans_of(naver.documents[0]), "철수가/PER 서울 역에/LOC");
  const Corpus germeval =
      read("#\thttp://example.org\t2009\n1\tBank\tB-ORG\tO\n2\tBerlin\tI-ORG\tB-LOC\n3\tist\tO\tO\n");
  EXPECT_EQ(spans_of(germeval.documents[0]), "Bank Berlin/ORG Berlin/LOC") << "both layers of tags";
  const Corpus wikiann = read("en:Seoul\tB-LOC\nen:city\tO\n\nen:a:b\tO\n");
  EXPECT_EQ(wikiann.documents[0].text, "Seoul city");
  EXPECT_EQ(wikiann.documents[1].text, "a:b");
  EXPECT_THAT(messages(wikiann, Severity::note), ElementsAre(HasSubstr("'en:'")));
  const Corpus hash = read("#tag\tO\nb\tB-X\n");
  EXPECT_EQ(hash.documents[0].text, "#tag b") << "a hash tag is a token";
}

// --- plain text, encodings, files ---

TEST(Plain, EveryLineIsADocument) {
  const Corpus corpus = read("첫 줄\n\n셋째 \n");
  EXPECT_EQ(corpus.format, "text");
  ASSERT_THAT(corpus.documents, SizeIs(3));
  EXPECT_EQ(corpus.documents[1].text, "");
  EXPECT_EQ(corpus.documents[2].text, "셋째 ") << "trailing blanks are text";
  EXPECT_EQ(corpus.documents[2].line, 3u);
  EXPECT_FALSE(corpus.documents[0].annotated);
  EXPECT_EQ(read("\n \n").format, "text") << "nothing tells what blank lines are";
}

TEST(Encoding, MarksAndLineEnds) {
  const Corpus corpus = read("\xEF\xBB\xBF<서울:LC>\r\n끝\r\n");
  ASSERT_THAT(corpus.documents, SizeIs(2));
  EXPECT_EQ(corpus.documents[0].text, "서울");
  EXPECT_EQ(corpus.documents[1].text, "끝");
  EXPECT_THAT(messages(corpus, Severity::note), ElementsAre(HasSubstr("byte order mark"), HasSubstr("CRLF")));
}

TEST(Columns, TagsWithoutTypes) {
  const Corpus corpus = read("Jim\tB\nKim\tI\nran\tO\n\nBob\tB\nAl\tB\n");
  ASSERT_THAT(corpus.documents, SizeIs(2));
  EXPECT_THAT(corpus.documents[0].spans, ElementsAre(Span{{0, 7}, "ENTITY"}));
  EXPECT_THAT(corpus.documents[1].spans, SizeIs(2));
  EXPECT_THAT(corpus.documents[0].tags, ElementsAre("B-ENTITY", "I-ENTITY", "O"));
  EXPECT_THAT(messages(corpus, Severity::note), ElementsAre(HasSubstr("no tag has a type")));
  EXPECT_THAT(messages(corpus, Severity::warning), IsEmpty());
}

TEST(Encoding, MarksInsideOfJoinedFiles) {
  const std::string mark = "\xEF\xBB\xBF", sentence = "서울\tB-LC\n에\tO\n\n";
  const Corpus corpus =
      read(mark + "## 1\n" + sentence + mark + "## 1\n" + sentence + mark + sentence + "끝" + mark + "\tO\n");
  ASSERT_THAT(corpus.documents, SizeIs(4));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(corpus.documents[static_cast<std::size_t>(i)].text, "서울 에");
  EXPECT_EQ(corpus.documents[3].text, "끝" + mark) << "what is not at a line's beginning is text";
  EXPECT_EQ(corpus.documents[2].line, 9u);
  EXPECT_THAT(messages(corpus, Severity::note), ElementsAre(HasSubstr("begins with a byte order mark"),
                                                            HasSubstr("2 lines more with a byte order mark")));
  EXPECT_THAT(messages(corpus, Severity::error), IsEmpty());
}

TEST(Encoding, CarriageReturnsAlone) {
  const Corpus corpus = read("<서울:LC>\r\r끝\r");
  ASSERT_THAT(corpus.documents, SizeIs(3));
  EXPECT_EQ(corpus.documents[0].text, "서울");
  EXPECT_EQ(corpus.documents[2].text, "끝");
  EXPECT_THAT(messages(corpus, Severity::note), ElementsAre(HasSubstr("carriage returns (CR) alone")));
  EXPECT_EQ(read("한 줄\r중간\n둘\n").documents[0].text, "한 줄\r중간") << "beside line feeds they are text";
}

TEST(Encoding, InvalidBytes) {
  EXPECT_THAT(error_of("ok\n서caf\xE9 x\n"),
              HasSubstr("t:2:5: error: byte 0xE9 is not UTF-8; convert the file or name its encoding (latin1?)"));
  EXPECT_THAT(error_of("\xC7\xD1\xB1\xDB\n"), HasSubstr("cp949?"));
  EXPECT_EQ(read_corpus_text("t", "caf\xE9\n", {.encoding = "latin1"}).documents[0].text, "café");
  EXPECT_EQ(read_corpus_text("t", "\xC7\xD1\xB1\xDB\n", {.encoding = "cp949"}).documents[0].text, "한글");
  for (const char* name :
       {"cp949", "euc-kr", "EUC_KR", "ks_c_5601-1987"})  // what Windows calls so holds every syllable
    EXPECT_EQ(read_corpus_text("t", "\x8C\x63\xB9\xE6\n", {.encoding = name}).documents[0].text, "똠방") << name;
  EXPECT_EQ(read(std::string("\xFF\xFE\x5C\xD5\x0A\x00", 6)).documents[0].text, "한") << "UTF-16 with its mark";
  EXPECT_THAT(error_of("\xFF\xFF\n", {.encoding = "cp949"}), HasSubstr("byte 1 of the file is not cp949"));
  EXPECT_THAT(error_of("a", {.encoding = "klingon"}), HasSubstr("unknown encoding 'klingon'"));
  const Corpus kept = read_corpus_text("t", "a\xFFz\n", {.allow_invalid_utf8 = true});
  EXPECT_EQ(kept.documents[0].text, "a\xFFz");
  EXPECT_EQ(kept.count(Severity::warning), 1u);
}

TEST(Files, WhatCannotBeRead) {
  EXPECT_THAT(error_of(""), HasSubstr("t: is empty"));
  EXPECT_THAT(error_of("\xEF\xBB\xBF"), HasSubstr("is empty"));
  const auto error = [](const std::string& path) -> std::string {
    try {
      read_corpus(path);
    } catch (const DataError& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_THAT(error_of("\x1F\x8B\x08\xFFxyz"), HasSubstr("t: is compressed; unpack it first (zcat t | bib ... -)"));
  EXPECT_THAT(error(testing::TempDir()), HasSubstr("is a directory"));
  EXPECT_THAT(error(testing::TempDir() + "/no such file"), HasSubstr("cannot open"));
  EXPECT_THAT(error_of("x", {.format = "docx"}), HasSubstr("unknown corpus format 'docx'; known: inline, "));
}

TEST(Files, ErrorsAreCountedAndTheFirstShown) {
  std::string text;
  for (int i = 0; i < 30; ++i) text += "b\na\tB-X\nc\tO\n\n";
  const std::string error = error_of(text, {.format = "conll"});
  EXPECT_THAT(error, testing::StartsWith("30 errors in t\nt:1:1: error: 1 column, expected 2\nt:5:1: error: "));
  EXPECT_THAT(error, testing::EndsWith("t:37:1: error: 1 column, expected 2\n... and 20 more errors"));
  EXPECT_EQ(scan_corpus_text("t", text, {.format = "conll"}).count(Severity::error), 30u);
}

TEST(Files, MessagesQuoteNoControlCharactersAndNoWholeBooks) {
  EXPECT_THAT(error_of("a\tB-X\nb\t\x1B[31mred\n\n", {.format = "conll"}), HasSubstr("'\\x1B[31mred' is not a tag"));
  const std::string error = error_of("a\tB-X\nb\t" + std::string(100000, 'x') + "\n\n", {.format = "conll"});
  EXPECT_THAT(error, HasSubstr("xxx...' is not a tag"));
  EXPECT_LT(error.size(), 500u);
}

TEST(Detection, ByContentAndTask) {
  EXPECT_EQ(read("<서울:LC>은\n").format, "inline");
  EXPECT_EQ(read("그냥 글\n").format, "text");
  EXPECT_THAT(error_of("<서울:LC>은\n", {.task = Task::tc}), HasSubstr("looks like inline, which holds no classes"));
  EXPECT_THAT(error_of("['글','갑']\n", {.task = Task::ner}), HasSubstr("looks like list, which holds no entities"));
}

TEST(Files, LongLinesAreLinear) {
  EXPECT_EQ(read(std::string(300000, 'a') + "\n").documents[0].text.size(), 300000u);
  std::string open(300000, '<'), closed = open + "x" + std::string(300000, '>');
  EXPECT_EQ(read(open, "inline").documents[0].text, open);
  EXPECT_EQ(read(closed, "inline").documents[0].text, closed);
  std::string nested, tags;
  for (int i = 0; i < 50000; ++i) nested += "<";
  nested += "x";
  for (int i = 0; i < 50000; ++i) nested += ":A>";
  EXPECT_THAT(read(nested, "inline").documents[0].spans, SizeIs(50000));
}

}  // namespace
}  // namespace bib
