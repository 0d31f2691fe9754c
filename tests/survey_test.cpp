// What bib check reports beyond a file's format.
#include "train/survey.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/corpus_fixtures.h"

namespace bib {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> findings(const Survey& survey) {
  std::vector<std::string> list;
  for (const Diagnostic& d : survey.diagnostics) list.push_back(to_text(d));
  return list;
}

TEST(Survey, SizesAndLabels) {
  const Survey s = Surveyor().look(read("<서울:LC>에 <김민수:PS> 갔다\n<<북한:LC>인권모임:OG>\n\n평문\n", "inline"));
  EXPECT_EQ(s.documents, 4u);
  EXPECT_EQ(s.empty, 1u);
  EXPECT_EQ(s.annotated, 4u);
  EXPECT_EQ(s.characters, 10u + 6u + 2u);
  EXPECT_EQ(s.longest, 10u);
  EXPECT_EQ(s.words, 5u);
  EXPECT_EQ(s.spans, 4u);
  EXPECT_EQ(s.nested, 1u);
  EXPECT_EQ(s.inside_words, 1u) << "서울 in 서울에";
  ASSERT_EQ(s.entities.size(), 3u);
  EXPECT_EQ(s.entities[0].label, "LC");
  EXPECT_EQ(s.entities[0].count, 2u);
  EXPECT_EQ(s.entities[0].share, 0.5);
  EXPECT_TRUE(s.entities[0].rare);
  EXPECT_THAT(s.diagnostics, IsEmpty());
}

TEST(Survey, DuplicatesAndConflicts) {
  std::string text = "text\tlabel\n";
  for (int i = 0; i < 12; ++i) text += "글" + std::to_string(i) + "\ta\n";
  text += "글0\ta\n글1\tb\n\tb\n\ta\n";
  const Survey s = Surveyor().look(read(text));
  EXPECT_EQ(s.duplicates, 2u) << "empty texts are no duplicates";
  EXPECT_EQ(s.conflicts, 1u);
  EXPECT_THAT(findings(s), ElementsAre("t:15: warning: the same text as line 3 with other annotation"));
  EXPECT_FALSE(s.classes.at(0).rare);
  EXPECT_TRUE(s.classes.at(1).rare);
}

TEST(Survey, LeakageAndUnseenLabels) {
  Surveyor surveyor;
  Corpus train = read("text\tlabel\n가\ta\n나\tb\n"), test = read("text\tlabel\n나\tb\n나\tb\n다\tc\n라\tc\n");
  train.path = "train";
  test.path = "test";
  EXPECT_THAT(findings(surveyor.look(train)), IsEmpty());
  const Survey s = surveyor.look(test);
  EXPECT_EQ(s.shared.at("train"), 2u);
  EXPECT_THAT(findings(s),
              ElementsAre("test: warning: 2 texts also stand in train: scores on them would flatter",
                          "test:4: warning: label 'c' (2 in this file, the first here) is unknown to train"));
}

TEST(Survey, LabelsAModelDoesNotKnow) {
  Surveyor surveyor;
  surveyor.know({"LC"}, "ner.bib");
  EXPECT_THAT(findings(surveyor.look(read("<서울:LC>\n<가:PS>\n"))),
              ElementsAre(HasSubstr("t:2: warning: label 'PS' (1 ")));
}

TEST(Survey, SpansThatNoModelWouldFindAsTheyAreAreListed) {
  const Survey s = Surveyor().look(
      read(R"({"text":"가\u0301나 다 라","spans":[{"start":0,"end":1,"label":"A"},{"start":3,"end":5,"label":"B"}]})"
           "\n"));
  EXPECT_EQ(s.inside_characters, 1u);
  EXPECT_THAT(findings(s), ElementsAre("t:1: warning: '가' A begins or ends inside a character, with combining marks: "
                                       "it cannot be learnt",
                                       "t:1: warning: ' 다' B begins or ends with white space: it is learnt and found "
                                       "without"));
}

TEST(Survey, SpansThatCrossAreListedAndNestedOnesAreNot) {
  const Survey s = Surveyor().look(
      read(R"({"text":"서울 시청 앞","spans":[{"start":0,"end":5,"label":"A"},{"start":3,"end":7,"label":"B"},)"
           R"({"start":0,"end":2,"label":"C"},{"start":0,"end":2,"label":"D"},{"start":3,"end":5,"label":"E"}]})"
           "\n"));
  EXPECT_THAT(findings(s), ElementsAre("t:1: warning: '시청 앞' B crosses another annotation: one of the two is not "
                                       "learnt"));
}

TEST(Survey, SpansInsideTheFilesTokens) {
  const Survey s = Surveyor().look(read(
      R"({"text":"ab cd","tokens":[{"start":0,"end":2},{"start":3,"end":5}],"spans":[{"start":0,"end":4,"label":"X"}]})"
      "\n"));
  EXPECT_EQ(s.inside_tokens, 1u);
  EXPECT_EQ(s.inside_words, 1u);
}

}  // namespace
}  // namespace bib
