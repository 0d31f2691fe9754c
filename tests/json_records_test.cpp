// JSON as other tools and `bib predict` write it: whose annotation counts, and where the text is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/corpus_fixtures.h"

namespace bib {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// As the datasets library writes them.
TEST(JsonRecords, TokensAndTheirTags) {
  const Corpus corpus = read(R"({"id":"a","tokens":["Jim","Kim","lives"],"ner_tags":["B-PS","I-PS","O"]})"
                             "\n"
                             R"({"tokens":["서","울","에"," ","산","다"],"ner_tags":["B-LC","I-LC","O","O","O","O"]})"
                             "\n"
                             R"({"text":"서울에 산다","tokens":["서울","에","산다"],"tags":["B-LC","O","O"]})"
                             "\n"
                             R"({"sentence":"<서:LC>","tokens":["서","울"],"ner_tags":["B-LC","O"]})"
                             "\n");
  ASSERT_THAT(corpus.documents, SizeIs(4));
  EXPECT_EQ(corpus.documents[0].text, "Jim Kim lives");
  EXPECT_EQ(spans_of(corpus.documents[0]), "Jim Kim/PS");
  EXPECT_EQ(corpus.documents[0].id, "a");
  EXPECT_THAT(corpus.documents[0].tokens, SizeIs(3));
  EXPECT_EQ(corpus.documents[1].text, "서울에 산다");
  EXPECT_EQ(spans_of(corpus.documents[1]), "서울/LC");
  EXPECT_EQ(corpus.documents[2].text, "서울에 산다") << "the text where the tokens stand in it";
  EXPECT_EQ(spans_of(corpus.documents[2]), "서울/LC");
  EXPECT_EQ(corpus.documents[3].text, "서울") << "else what they make together";
  EXPECT_EQ(corpus.scheme, Scheme::iob2);
  EXPECT_THAT(error_of(R"({"tokens":["a","b"],"ner_tags":[0,1]})"),
              HasSubstr("ner_tags are numbers: write their names"));
  EXPECT_THAT(error_of(R"({"tokens":["a","b"],"ner_tags":["O"]})"), HasSubstr("t:1: error: 2 tokens, but 1 tag"));
  EXPECT_THAT(error_of(R"({"tokens":["a","b"],"ner_tags":["O","PS"]})"), HasSubstr("'PS' is not a tag"));
}

TEST(JsonRecords, TheTextUnderTheNamesToolsGiveIt) {
  EXPECT_EQ(spans_of(read(R"({"id":1,"data":"서울 시","label":[[0,2,"LC"]]})").documents.at(0)), "서울/LC")
      << "doccano";
  EXPECT_EQ(read(R"({"comment_text":"글","label":"a"})").documents.at(0).text, "글");
  EXPECT_EQ(read("id,comment_text,label\n1,글,a\n").documents.at(0).text, "글");
}

TEST(JsonRecords, LabelStudioSkippedTasksAndOtherResults) {
  const auto task = [](const char* annotations) {
    return R"({"data":{"text":"서울 시"},"annotations":)" + std::string(annotations) + "}\n";
  };
  const Corpus corpus = read(
      task(R"([{"was_cancelled":true,"result":[]}])") +
      task(R"([{"was_cancelled":true,"result":[]},{"result":[{"value":{"start":0,"end":2,"labels":["LC","OG"]}}]}])") +
      task(R"([{"result":[{"type":"rating","value":{"rating":4}},{"type":"textarea","value":{"text":["메모"]}},)"
           R"({"value":{"start":0,"end":2,"choices":["a"]}}]}])"));
  ASSERT_THAT(corpus.documents, SizeIs(2)) << "a task that was skipped is not one without entities";
  EXPECT_EQ(spans_of(corpus.documents[0]), "서울/LC 서울/OG");
  EXPECT_TRUE(corpus.documents[1].annotated);
  EXPECT_THAT(corpus.documents[1].labels, IsEmpty());
  EXPECT_THAT(messages(corpus, Severity::note),
              ElementsAre("t:1: note: 1 record that its annotators skipped left out, of which this is the first",
                          "t:3: note: 3 results that are neither spans nor classes of the text left out, of which this "
                          "is the first"));
}

/// What `bib predict` makes of annotated records holds the truth beside the answer.
TEST(JsonRecords, OfAnAnswerOnlyItsOwnAnnotationCounts) {
  const Corpus ner = read(
      R"({"text":"😀 서울 시","spans":[{"start":2,"end":4,"label":"LC"}],"label":"x","entities":[{"start":6,"end":7,)"
      R"("label":"OG","text":"시"}],"unit":"utf16"})"
      "\n"
      R"({"text":"서울","spans":[{"start":0,"end":2,"label":"LC"}],"entities":[],"unit":"byte"})"
      "\n");
  EXPECT_EQ(spans_of(ner.documents.at(0)), "시/OG") << "in the unit that it names";
  EXPECT_THAT(ner.documents[0].labels, IsEmpty());
  EXPECT_THAT(ner.documents.at(1).spans, IsEmpty());
  EXPECT_TRUE(ner.documents[1].annotated);
  const Corpus tc = read(R"({"text":"a","label":"x","spans":[],"labels":["y"],"classes":[{"label":"y","score":0.9}]})"
                         "\n"
                         R"({"text":"a","label":"x","labels":[],"classes":[{"label":"y","score":0.1}]})"
                         "\n");
  EXPECT_THAT(tc.documents.at(0).labels, ElementsAre("y"));
  EXPECT_THAT(tc.documents.at(1).labels, IsEmpty());
}

TEST(JsonRecords, AnswersHaveTheirProbabilitiesInTheOrderOfWhatTheyAreOf) {
  const Corpus ner = read(
      R"({"text":"서울 시","entities":[{"start":3,"end":4,"label":"OG","score":0.5},{"start":0,"end":2,"label":"LC",)"
      R"("score":0.9}],"unit":"codepoint"})"
      "\n"
      R"({"text":"서울","entities":[{"start":0,"end":1,"label":"LC","score":0.9},{"start":1,"end":2,"label":"LC"}],)"
      R"("unit":"codepoint"})"
      "\n");
  EXPECT_EQ(spans_of(ner.documents.at(0)), "서울/LC 시/OG");
  EXPECT_THAT(ner.documents[0].scores, ElementsAre(0.9, 0.5));
  EXPECT_THAT(ner.documents.at(1).scores, IsEmpty()) << "all or none";
  const Corpus tc =
      read(R"({"text":"a","labels":["y","x"],"classes":[{"label":"x","score":0.6},{"label":"y","score":0.9}]})"
           "\n");
  EXPECT_THAT(tc.documents.at(0).scores, ElementsAre(0.9, 0.6));
}

}  // namespace
}  // namespace bib
