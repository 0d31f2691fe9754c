// Tables, labelled lines, JSON of every dialect, BRAT, parallel files: every pitfall as a small fixture.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/corpus_fixtures.h"

namespace bib {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// --- tables ---

TEST(Table, TsvKeepsQuotes) {  // NSMC: a reader that unquotes swallows lines
  const Corpus corpus = read("id\tdocument\tlabel\n1\t\"\"\"명작\"\"\"\t1\n2\t\"열린 따옴표\t0\n3\t\t1\n4\tNaN\t0\n");
  EXPECT_EQ(corpus.format, "tsv");
  ASSERT_THAT(corpus.documents, SizeIs(4));
  EXPECT_EQ(corpus.documents[0].text, "\"\"\"명작\"\"\"");
  EXPECT_EQ(corpus.documents[1].text, "\"열린 따옴표");
  EXPECT_EQ(corpus.documents[1].id, "2");
  EXPECT_EQ(corpus.documents[2].text, "") << "an empty text is a document";
  EXPECT_EQ(corpus.documents[3].text, "NaN") << "NaN is a word";
  EXPECT_THAT(corpus.documents[3].labels, ElementsAre("0"));
  EXPECT_EQ(corpus.documents[3].line, 5u);
  EXPECT_THAT(messages(corpus, Severity::note), ElementsAre(HasSubstr("1 text in double quotes: the quotes are kept")));
}

TEST(Table, CsvQuoting) {
  const std::string text = "label,text\r\na,\"쉼표, 그리고\r\n\"\"줄\"\"\"\r\nb,끝\r\n";
  const Corpus corpus = read(text);
  EXPECT_EQ(corpus.format, "csv");
  ASSERT_THAT(corpus.documents, SizeIs(2));
  EXPECT_EQ(corpus.documents[0].text, "쉼표, 그리고\r\n\"줄\"");
  EXPECT_EQ(corpus.documents[1].line, 4u);
  EXPECT_THAT(
      error_of("label,text\na,\"b\" c\na,\"b\nc\n"),
      AllOf(HasSubstr("t:2: error: text follows a closing quote"), HasSubstr("t:3: error: a quoted field has no end")));
  EXPECT_EQ(read_corpus_text("t", "label,text\na,\"b\n", {.quoting = Quoting::none}).documents[0].text, "\"b");
  const Corpus tabs = read("text\tlabel\n\"a\tb\"\tx\n\"c\"\ty\n");
  EXPECT_EQ(tabs.documents[0].text, "a\tb") << "only quoting makes these rows even";
}

TEST(Table, OtherDelimitersAndNames) {
  EXPECT_EQ(read("Text;Label\na;b\n").documents[0].text, "a");
  const Corpus ynat = read("index,title,topic_idx\n0,결항…여행객 분통,4\n1,둘,3\n");
  EXPECT_EQ(ynat.documents[0].text, "결항…여행객 분통");
  EXPECT_THAT(ynat.documents[0].labels, ElementsAre("4"));
  EXPECT_EQ(ynat.documents[1].id, "1");
  const Corpus unlabelled = read("index,title\n7,글\n");
  EXPECT_EQ(unlabelled.format, "csv");
  EXPECT_FALSE(unlabelled.documents[0].annotated);
  EXPECT_EQ(
      read_corpus_text("t.csv", "x,y\n1,가\n2,나\n", {.text_column = "y", .label_column = "x"}).documents[1].labels[0],
      "2");
  const ReadOptions numbers{.format = "tsv", .text_column = "2", .label_column = "1"};
  EXPECT_THAT(read_corpus_text("t", "갑\t글\n을\t말\n", numbers).documents, SizeIs(2)) << "no header";
}

TEST(Table, OneColumnALabel) {
  const Corpus corpus = read("문장\t여성/가족\t남성\tclean\n글\t1\t0\t1\n말\t0\t0\t0\n");
  EXPECT_THAT(corpus.documents.at(0).labels, ElementsAre("여성/가족", "clean"));
  EXPECT_THAT(corpus.documents.at(1).labels, IsEmpty());
  EXPECT_TRUE(corpus.documents[1].annotated) << "no label is a statement here";
  const ReadOptions two{.label_column = "남성,clean"};
  EXPECT_THAT(read_corpus_text("t", "문장\tx\t남성\tclean\n글\t5\t0\t1\n", two).documents.at(0).labels,
              ElementsAre("clean"));
  EXPECT_THAT(error_of("문장\tx\t남성\tclean\n글\t5\t2\t1\n", two), HasSubstr("t:2: error: '2' in a column of labels"));
}

TEST(Table, Errors) {
  EXPECT_THAT(error_of("text,label\na,b\nc\n\nd,e,f\n"),
              AllOf(HasSubstr("2 errors"), HasSubstr("t:3: error: 1 column, expected 2"),
                    HasSubstr("t:5: error: 3 columns, expected 2")));
  EXPECT_THAT(error_of("a,b\n1,2\n", {.format = "csv"}),
              HasSubstr("which column is the text? Name it, by its header or "
                        "number; the first row is 'a', 'b'"));
  EXPECT_THAT(error_of("text,label\na,b\n", {.label_column = "klasse"}),
              HasSubstr("no column 'klasse'; the first row has 'text', 'label'"));
  const Corpus corpus = read("text,label\na,\n\nb,x\n");
  EXPECT_FALSE(corpus.documents.at(0).annotated);
  EXPECT_THAT(
      messages(corpus, Severity::warning),
      ElementsAre("t:2: warning: the label is empty: read as a text without one", "t:3: warning: blank line: skipped"));
}

// --- labelled lines ---

TEST(FastText, Labels) {
  const Corpus corpus =
      read("__label__pos 좋은  영화 \n__label__a __label__b 둘\n끝에 __label__c __label__d\n__label__neg\n");
  EXPECT_EQ(corpus.format, "fasttext");
  EXPECT_EQ(corpus.documents.at(0).text, "좋은  영화 ");
  EXPECT_THAT(corpus.documents[1].labels, ElementsAre("a", "b"));
  EXPECT_EQ(corpus.documents[2].text, "끝에");
  EXPECT_THAT(corpus.documents[2].labels, ElementsAre("c", "d"));
  EXPECT_EQ(corpus.documents[3].text, "");
  EXPECT_THAT(corpus.documents[3].labels, ElementsAre("neg"));
  std::string half;  // multi-label: half of the lines have none
  for (int i = 0; i < 50; ++i) half += "__label__a 글\n둘 글\n";
  EXPECT_EQ(read(half).format, "fasttext");
  const Corpus odd = read("__label__a x __label__b y\nz\n", "fasttext");
  EXPECT_EQ(odd.documents[0].text, "x __label__b y");
  EXPECT_THAT(messages(odd, Severity::warning), ElementsAre(HasSubstr("t:1:14: warning: a label amid the text"),
                                                            HasSubstr("t:2:1: warning: no __label__")));
  EXPECT_THAT(error_of("__label__ x\n", {.format = "fasttext"}), HasSubstr("t:1:1: error: a label is empty"));
  EXPECT_THAT(read_corpus_text("t", "@a x\n", {.format = "fasttext", .label_prefix = "@"}).documents[0].labels,
              ElementsAre("a"));
}

TEST(LabelFirst, SplitsAtTheFirstBlank) {
  const Corpus corpus = read("1 a good  film \n0 bad\n1\ttab 2\n0 0\n");
  EXPECT_EQ(corpus.format, "label-first");
  EXPECT_EQ(corpus.documents.at(0).text, "a good  film ");
  EXPECT_THAT(corpus.documents[0].labels, ElementsAre("1"));
  EXPECT_EQ(corpus.documents[2].text, "tab 2");
  EXPECT_THAT(error_of("1 a\n\n", {.format = "label-first"}), HasSubstr("t:2:1: error: expected a label"));
}

// --- JSON ---

TEST(Json, Dialects) {
  const auto spans = [](const std::string& line) { return spans_of(read(line + "\n").documents.at(0)); };
  const auto labels = [](const std::string& line) { return read(line + "\n").documents.at(0).labels; };
  EXPECT_EQ(spans(R"({"text":"서울에서 왔다","spans":[{"start":0,"end":2,"label":"LC"}],"answer":"accept"})"),
            "서울/LC");
  EXPECT_EQ(spans(R"({"id":1,"text":"홍길동이","label":[[0,3,"PER"]]})"), "홍길동/PER");
  EXPECT_EQ(spans(R"({"text":"홍길동이","entities":[{"id":3,"label":"PER","start_offset":0,"end_offset":3}]})"),
            "홍길동/PER");
  EXPECT_EQ(spans(R"({"text":"홍길동이","labels":[[0,3,"PER"],[0,1,"FAM"]]})"), "홍길동/PER 홍/FAM");
  EXPECT_EQ(spans(R"(["Apple buys",{"entities":[[0,5,"ORG"]]}])"), "Apple/ORG");
  EXPECT_THAT(labels(R"({"text":"x","label":"pos"})"), ElementsAre("pos"));
  EXPECT_THAT(labels(R"({"text":"x","label":3})"), ElementsAre("3"));
  EXPECT_THAT(labels(R"({"text":"x","label":["a","b"]})"), ElementsAre("a", "b"));
  EXPECT_THAT(labels(R"({"text":"x","accept":["a"],"answer":"accept"})"), ElementsAre("a"));
  EXPECT_THAT(labels(R"(["x",{"cats":{"a":1.0,"b":0.0}}])"), ElementsAre("a"));
  EXPECT_THAT(read_corpus_text("t", R"({"body":{},"글":"x","감정":"a"})", {.text_column = "글", .label_column = "감정"})
                  .documents.at(0)
                  .labels,
              ElementsAre("a"));
}

TEST(Table, AColumnOfClassesUnderAnotherNameIsSaid) {
  const Corpus corpus = read("id,텍스트,기분,split\n1,좋다,긍정,a\n2,싫다,부정,b\n");
  EXPECT_THAT(messages(corpus, Severity::note),
              ElementsAre("t: note: no column of classes is known among '기분', 'split': name it to read it"));
  EXPECT_FALSE(corpus.documents.at(0).annotated);
  EXPECT_THAT(read("텍스트,감성\n좋다,긍정\n").documents.at(0).labels, ElementsAre("긍정"));
  EXPECT_THAT(messages(read("id,text\n1,좋다\n"), Severity::note), IsEmpty());
}

TEST(Json, LabelStudioCountsUtf16) {
  const std::string task =
      R"([{"id":7,"data":{"text":"😀 서울"},"annotations":[{"result":[{"type":"labels","value":{"start":3,"end":5,"text":"서울","labels":["LC"]}},{"type":"relation"}]},{"result":[]}]},)"
      "\n"
      R"( {"data":{"review":"좋다"},"annotations":[{"result":[{"value":{"choices":["pos"]}}]}]}])";
  const Corpus corpus = read(task);
  ASSERT_THAT(corpus.documents, SizeIs(2));
  EXPECT_EQ(spans_of(corpus.documents[0]), "서울/LC");
  EXPECT_EQ(corpus.documents[0].id, "7");
  EXPECT_THAT(corpus.documents[1].labels, ElementsAre("pos"));
  EXPECT_EQ(corpus.documents[1].line, 2u);
  EXPECT_THAT(messages(corpus, Severity::note), ElementsAre(HasSubstr("1 record with several annotators")));
}

TEST(Json, OffsetsInOtherUnits) {
  const std::string emoji = R"({"text":"😀 서울","spans":[{"start":3,"end":5,"label":"LC","text":"서울"}]})";
  EXPECT_THAT(error_of(emoji),
              HasSubstr("t:1: error: span 3..5 LC passes the text's end at 4; do the offsets count another unit?"));
  EXPECT_EQ(spans_of(read_corpus_text("t", emoji, {.offsets = OffsetUnit::utf16}).documents[0]), "서울/LC");
  EXPECT_THAT(error_of(R"({"text":"가나","spans":[{"start":0.5,"end":2,"label":"LC"}]})"), HasSubstr("is no range"));
  EXPECT_THAT(error_of(R"({"text":"가나다라","spans":[{"start":1,"end":3,"label":"LC","text":"가"}]})"),
              HasSubstr("is '나다', but its annotation says '가'"));
  const ReadOptions bytes{.offsets = OffsetUnit::byte};
  EXPECT_EQ(spans_of(read_corpus_text("t", R"({"text":"가나","label":[[3,6,"A"]]})", bytes).documents[0]), "나/A");
  EXPECT_THAT(error_of(R"({"text":"가나","label":[[3,5,"A"]]})", bytes), HasSubstr("cuts a character in two"));
}

TEST(Json, LongNumbersKeepTheirDigits) {
  const Corpus corpus = read(R"({"id":123456789012345678901234567890,"text":"a","label":18446744073709551616})"
                             "\n"
                             R"( {"id":-7,"text":"b","label":1.50})");
  EXPECT_EQ(corpus.documents[0].id, "123456789012345678901234567890");
  EXPECT_THAT(corpus.documents[0].labels, ElementsAre("18446744073709551616"));
  EXPECT_EQ(corpus.documents[1].id, "-7");
}

TEST(Json, AnEmptyLabelIsRefused) {
  EXPECT_THAT(error_of(R"({"text":"가나","spans":[{"start":0,"end":1,"label":""}]})"),
              HasSubstr("t:1: error: span 0..1 has an empty label"));
}

TEST(Json, WhatIsLeftOutIsCounted) {
  const Corpus corpus = read(
      "{\"text\":\"a\",\"label\":\"x\",\"answer\":\"reject\"}\n{\"text\":\"b\",\"label\":\"x\",\"answer\":\"ignore\"}\n"
      "{\"text\":\"\",\"label\":\"x\",\"answer\":\"accept\"}\n\n{\"text\":\"c\",\"spans\":[{\"start\":1,\"end\":1,"
      "\"label\":\"X\"}]}\n");
  ASSERT_THAT(corpus.documents, SizeIs(2));
  EXPECT_EQ(corpus.documents[0].text, "");
  EXPECT_THAT(messages(corpus, Severity::note),
              ElementsAre("t:1: note: 2 records whose answer is not accept left out, of which this is the first"));
  EXPECT_THAT(messages(corpus, Severity::warning),
              ElementsAre("t:4:1: warning: blank line: skipped", "t:5: warning: span 1..1 X is empty: left out"));
}

TEST(Json, Errors) {
  EXPECT_THAT(
      error_of("{\"text\":\"가나\", "
               "x}\n{\"txt\":\"a\",\"n\":1}\n{\"text\":\"a\",\"label\":[5,{\"x\":1}]}\n{\"text\":\"\\ud800\"}\n7\n"
               "{\"text\":\"a\",\"spans\":[[2,1,\"X\"]]}\n"),
      AllOf(HasSubstr("6 errors"), HasSubstr("t:1:15: error: not JSON: syntax error"),
            HasSubstr("t:2: error: no text under 'text'; the keys are: n, txt"),
            HasSubstr("t:3: error: a span needs start, end and label"), HasSubstr("t:4:16: error: not JSON"),
            HasSubstr("t:5: error: expected an object"), HasSubstr("t:6: error: span 2..1 X is no range")));
  EXPECT_THAT(error_of("[{\"text\":\"a\"},\n{\"text\":\"b\"}"), HasSubstr("t:2: error: the array has no end"));
  const std::string deep(200000, '[');
  const std::string closed(deep.size(), ']');
  EXPECT_THAT(error_of("{\"text\":" + deep, {.format = "jsonl"}), HasSubstr("nest more than 200 deep"));
  for (const std::string where : {"\"spans\":", "\"spans\":{\"a\":", "\"label\":", "\"x\":"})
    EXPECT_THAT(error_of("{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\"a\"," + where + deep + closed + "}}\n",
                         {.format = "jsonl"}),
                HasSubstr("t:2: error: arrays or objects nest more than 200 deep"));
  EXPECT_EQ(read("{\"text\":\"]]\\\"[[\",\"label\":\"x\"}\n").documents.size(), 1u)
      << "brackets of the text are no nesting";
}

TEST(Json, WeightsAndClassesThatAreNone) {
  EXPECT_EQ(read("{\"text\":\"a\",\"label\":\"x\",\"weight\":2.5}\n").documents.at(0).weight, 2.5f);
  EXPECT_THAT(error_of("{\"text\":\"a\",\"label\":\"x\",\"weight\":0}\n{\"text\":\"a\",\"label\":\"x\",\"weight\":-5}\n"
                       "{\"text\":\"a\",\"label\":\"x\",\"weight\":1e300}\n{\"text\":\"a\",\"label\":\"\"}\n"
                       "{\"text\":\"a\",\"labels\":[\"x\",\"\"]}\n"),
              AllOf(HasSubstr("4 errors"), HasSubstr("t:2: error: weight -5 is none"), HasSubstr("t:3: error: weight"),
                    HasSubstr("t:4: error: a class without a name"), HasSubstr("t:5: error: a class without a name")));
}

TEST(Json, PrettyPrintedFilesKeepLines) {
  const Corpus corpus = read(
      "[\n  {\n    \"text\": \"a\",\n    \"label\": \"x\"\n  },\n  {\n    \"text\": \"b\",\n    \"label\": \"y\"\n  "
      "}\n]\n");
  ASSERT_THAT(corpus.documents, SizeIs(2));
  EXPECT_EQ(corpus.documents[1].line, 6u);
  EXPECT_EQ(read("{\n \"text\": \"하나\"\n}\n").documents.at(0).text, "하나");
  EXPECT_THAT(error_of("[{\"text\":\"a\"},\n  {\"text\": b}]"), HasSubstr("t:2:12: error: not JSON"));
}

TEST(Json, ProdigyTokens) {
  const Corpus corpus = read(
      R"({"text":"ab cd","tokens":[{"text":"ab","start":0,"end":2,"id":0},{"text":"cd","start":3,"end":5,"id":1}],"spans":[]})"
      "\n");
  EXPECT_THAT(corpus.documents.at(0).tokens, ElementsAre(ByteRange{0, 2}, ByteRange{3, 5}));
  EXPECT_TRUE(corpus.documents[0].annotated);
}

TEST(Nikl, Sentences) {
  const std::string text = R"({"id":"NXNE","metadata":{"title":"{\"document\""},"document":[
 {"id":"N1","metadata":{},"sentence":[
   {"id":"N1.1","form":"홍길동이 서울에 갔다.","word":[{"id":1,"form":"홍길동이","begin":0,"end":4}],
    "NE":[{"id":1,"form":"홍길동","label":"PS_NAME","begin":0,"end":3},{"id":2,"form":"서울","label":"LC","begin":5,"end":7}]},
   {"id":"N1.2","form":"","word":[]}]},
 {"id":"N2","sentence":[{"id":"N2.1","form":"끝","NE":[]}]}]})";
  const Corpus corpus = read(text);
  EXPECT_EQ(corpus.format, "nikl");
  ASSERT_THAT(corpus.documents, SizeIs(3));
  EXPECT_EQ(spans_of(corpus.documents[0]), "홍길동/PS_NAME 서울/LC");
  EXPECT_EQ(corpus.documents[0].id, "N1.1");
  EXPECT_EQ(corpus.documents[0].line, 3u);
  EXPECT_EQ(corpus.documents[1].text, "");
  EXPECT_EQ(corpus.documents[2].line, 6u);
  EXPECT_THAT(error_of("{\"document\":[\n{\"sentence\":[\n{\"id\":\"x\",\"form\":\"홍길동\",\"NE\":[{\"form\":\"길동\","
                       "\"label\":\"PS\",\"begin\":0,\"end\":2}]}]}]}"),
              HasSubstr("t:3: error: span 0..2 PS is '홍길', but its annotation says '길동'"));
  EXPECT_THAT(error_of("{\"document\":[]}", {.format = "nikl"}), HasSubstr("no sentence under document"));
  EXPECT_THAT(error_of(text.substr(0, 400), {.format = "nikl"}), HasSubstr("the JSON is cut"));
}

// --- files in pairs ---

class Pairs : public testing::Test {
 protected:
  Pairs() {
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("bib-pairs-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  ~Pairs() override { std::filesystem::remove_all(folder_); }
  std::string put(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return (folder_ / name).string();
  }
  std::string error(const std::string& path, const ReadOptions& options = {}) const {
    try {
      read_corpus(path, options);
    } catch (const DataError& e) {
      return e.what();
    }
    return "no error";
  }
  std::filesystem::path folder_;
};

TEST_F(Pairs, Brat) {
  const std::string txt = put("d.txt", "유방암 환자.\r\n암 😀 유방암\n");
  const std::string ann = put("d.ann",
                              "T1\tDisease 0 3\t유방암\nT2\tDisease 13 16\t유방암\nR1\tX Arg1:T1 Arg2:T2\n#1\tNote "
                              "T1\tx\nT3\tBoth 0 3;9 10\t유방암 암\nT4\tPart 2 3\t암\n");
  for (const std::string& path : {txt, ann}) {
    const Corpus corpus = read_corpus(path);
    EXPECT_EQ(corpus.format, "brat");
    ASSERT_THAT(corpus.documents, SizeIs(1));
    EXPECT_EQ(spans_of(corpus.documents[0]), "유방암/Disease 암/Part 유방암/Disease");
    EXPECT_EQ(corpus.documents[0].id, "d");
    ASSERT_THAT(messages(corpus, Severity::warning), SizeIs(1));
    EXPECT_THAT(messages(corpus, Severity::warning)[0], HasSubstr("d.ann:5:4: warning: an annotation in pieces"));
    EXPECT_EQ(corpus.path, path);
  }
  put("d.ann", "T1\tDisease 1 4\t유방암\nT2\tX 90 91\ty\nT3\tX\ty\nT4\t 0 3\t유방암\n?\n");
  EXPECT_THAT(error(txt),
              AllOf(HasSubstr("d.ann:1:16: error: the text there is '방암 ', not '유방암'"),
                    HasSubstr("d.ann:2:4: error: span 90..91 is not in the text"),
                    HasSubstr("d.ann:3:4: error: expected a label"), HasSubstr("d.ann:4:4: error: expected a label"),
                    HasSubstr("d.ann:5:1: error: not a line")));
  std::filesystem::remove(folder_ / "d.txt");
  EXPECT_THAT(error(ann), HasSubstr("cannot open"));
}

TEST_F(Pairs, AFolderOfBrat) {
  EXPECT_THAT(error(folder_.string()), HasSubstr("is a directory; name a file in it"));
  put("b.txt", "부산에 간다\n"), put("b.ann", "T1\tLC 0 2\t부산\n");
  put("a.txt", "춥다\n"), put("a.ann", ""), put("note.txt", "no annotation\n");
  const Corpus corpus = read_corpus(folder_.string());
  EXPECT_EQ(corpus.path, folder_.string());
  EXPECT_EQ(corpus.format, "brat");
  ASSERT_THAT(corpus.documents, SizeIs(2));
  EXPECT_EQ(corpus.documents[0].id, "a");
  EXPECT_TRUE(corpus.documents[0].annotated);
  EXPECT_EQ(spans_of(corpus.documents[1]), "부산/LC");
  put("b.ann", "T1\tLC 0 2\t서울\n");
  EXPECT_THAT(error(folder_.string()), HasSubstr("b.ann:1:11: error: the text there is '부산', not '서울'"));
}

TEST_F(Pairs, WordsAndTags) {
  const std::string words = put("train.words.txt", "한석규 가 서울 역 에\n끝\n");
  put("train.tags.txt", "B_PS O B_LC I_LC O\nO\n");
  Corpus corpus = read_corpus(words);
  EXPECT_EQ(corpus.format, "parallel");
  EXPECT_EQ(spans_of(corpus.documents.at(0)), "한석규/PS 서울 역/LC");
  EXPECT_EQ(corpus.scheme, Scheme::iob2);
  put("train.tags.txt", "B_PS O B_LC\nX\n");
  EXPECT_THAT(error(words), AllOf(HasSubstr("words.txt:1:1: error: 5 words, but 3 tags in train.tags.txt"),
                                  HasSubstr("words.txt:2:1: error: 'X' in train.tags.txt is not a tag")));
  put("train.tags.txt", "O\n");
  EXPECT_THAT(error(words), HasSubstr("train.tags.txt: 1 line, but"));
}

TEST_F(Pairs, SlotsAndIntents) {
  const std::string in = put("seq.in", "play some jazz\n");
  put("seq.out", "O O B-genre\n");
  put("label", "PlayMusic\n");
  const Corpus corpus = read_corpus(in);
  EXPECT_EQ(spans_of(corpus.documents.at(0)), "jazz/genre");
  EXPECT_THAT(corpus.documents[0].labels, ElementsAre("PlayMusic"));
}

TEST(Detection, EveryFormatByItsContent) {
  const auto format = [](const std::string& text) { return read(text).format; };
  EXPECT_EQ(format("[\"a\",\"b\"]\n"), "list") << "a Python list that is JSON too";
  EXPECT_EQ(format("[\"a\",{\"entities\":[]}]\n"), "jsonl");
  EXPECT_EQ(format("{\"text\":\"a\"}\n"), "jsonl");
  EXPECT_EQ(format("one, two\nthree\n"), "text");
  EXPECT_EQ(format("text of a letter, as people write\n and more, and more\n"), "text");
  EXPECT_EQ(read_corpus_text("t", "<a:LC>\n", {.format = "bib-ner"}).format, "inline");
  EXPECT_EQ(read_corpus_text("t", "{\"text\":\"a\"}\n", {.format = "prodigy"}).format, "jsonl");
}

}  // namespace
}  // namespace bib
