// Entity and class metrics against hand-counted cases and, where the corpora are at hand, against published scores.
#include "train/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace bib {
namespace {

Tags tags_of(const std::string& text) {
  std::istringstream in(text);
  Tags tags;
  for (std::string tag; in >> tag;) tags.push_back(tag);
  return tags;
}

/// "A[0,2) B[2,3)"; "ValueError" for tags that the scheme does not have.
std::string spans_text(const std::string& tags, NerMode mode, Scheme scheme) {
  std::string text;
  try {
    for (const Span& span : spans_of_tags(tags_of(tags), mode, scheme)) {
      if (!text.empty()) text += ' ';
      text += span.label + "[" + std::to_string(span.begin) + "," + std::to_string(span.end) + ")";
    }
  } catch (const TagError&) {
    return "ValueError";
  }
  return text;
}

struct EdgeCase {
  const char *tags, *conll, *seqeval, *strict_iob2, *strict_bioes;
};
void PrintTo(const EdgeCase& e, std::ostream* out) { *out << e.tags; }

class EdgeCases : public testing::TestWithParam<EdgeCase> {};

TEST_P(EdgeCases, EveryRuleReadsThemItsOwnWay) {
  const EdgeCase& c = GetParam();
  EXPECT_EQ(spans_text(c.tags, NerMode::conll, Scheme::iob2), c.conll);
  EXPECT_EQ(spans_text(c.tags, NerMode::seqeval, Scheme::iob2), c.seqeval);
  EXPECT_EQ(spans_text(c.tags, NerMode::strict, Scheme::iob2), c.strict_iob2);
  EXPECT_EQ(spans_text(c.tags, NerMode::strict, Scheme::bioes), c.strict_bioes);
}

INSTANTIATE_TEST_SUITE_P(
    Table, EdgeCases,
    testing::Values(EdgeCase{"I-A I-A O", "A[0,2)", "A[0,2)", "", ""},
                    EdgeCase{"B-A I-B O", "A[0,1) B[1,2)", "A[0,1) B[1,2)", "A[0,1)", ""},
                    EdgeCase{"B-A I-A I-B I-B", "A[0,2) B[2,4)", "A[0,2) B[2,4)", "A[0,2)", ""},
                    EdgeCase{"O I-A B-A", "A[1,2) A[2,3)", "A[1,2) A[2,3)", "A[2,3)", ""},
                    EdgeCase{"B-A O I-A", "A[0,1) A[2,3)", "A[0,1) A[2,3)", "A[0,1)", ""},
                    EdgeCase{"I-A B-B I-B", "A[0,1) B[1,3)", "A[0,1) B[1,3)", "B[1,3)", ""},
                    EdgeCase{"S-A E-A", "A[0,2)", "A[0,1) A[1,2)", "ValueError", "A[0,1)"},
                    EdgeCase{"B-A I-A B-A E-A", "A[0,2) A[2,4)", "A[0,2) A[2,4)", "ValueError", "A[2,4)"},
                    EdgeCase{"B-A E-A I-A", "A[0,2) A[2,3)", "A[0,2) A[2,3)", "ValueError", "A[0,2)"},
                    EdgeCase{"E-A E-A", "A[0,1) A[1,2)", "A[0,1) A[1,2)", "ValueError", ""},
                    EdgeCase{"S-A S-A", "A[0,2)", "A[0,1) A[1,2)", "ValueError", "A[0,1) A[1,2)"},
                    EdgeCase{"B-A S-B E-A", "A[0,1) B[1,2) A[2,3)", "A[0,1) B[1,2) A[2,3)", "ValueError", "B[1,2)"},
                    EdgeCase{"B-A I I O", "A[0,3)", "A[0,3)", "A[0,3)", ""},
                    EdgeCase{"B-A E-A B-A E-A", "A[0,4)", "A[0,2) A[2,4)", "ValueError", "A[0,2) A[2,4)"}));

TEST(Tags, ConllModeReadsBioesAsWhatItMeans) {
  const std::vector<Tags> sentences = {tags_of("S-A S-A B-B E-B")};
  ASSERT_EQ(detect_scheme(sentences), Scheme::bioes);
  EXPECT_EQ(detect_scheme({tags_of("B-A I-A O")}), Scheme::iob2);
  EXPECT_EQ(detect_scheme({tags_of("I-A E-A O")}), Scheme::iob2) << "IOE tags are not BIOES";
  EXPECT_EQ(spans_text("S-A S-A B-B E-B", NerMode::conll, Scheme::bioes), "A[0,1) A[1,2) B[2,4)");
  EXPECT_EQ(spans_text("U-A B-B L-B", NerMode::strict, Scheme::bioes), "A[0,1) B[1,3)") << "BILOU";
}

TEST(Tags, SpansToIob2AndBack) {
  const std::vector<ByteRange> tokens = {{0, 3}, {4, 7}, {8, 9}, {9, 12}};
  const std::vector<Span> spans = {{{4, 9}, "OG"}, {{9, 12}, "OG"}};
  EXPECT_EQ(iob2_tags(tokens, spans), tags_of("O B-OG I-OG B-OG"));
}

TEST(NerScores, CountsByHand) {
  // Gold: PS[0,2) LC[3,4) OG[5,6) | DT[0,1); predicted: PS[0,2) OG[3,4) OG[4,6) | nothing, then a spurious PS.
  const std::vector<Tags> gold = {tags_of("B-PS I-PS O B-LC O B-OG O"), tags_of("B-DT O O")};
  const std::vector<Tags> predicted = {tags_of("B-PS I-PS O B-OG B-OG I-OG O"), tags_of("O O B-PS")};
  const NerScores s = score_tags(gold, predicted, {.bootstrap = {.resamples = 0}});
  EXPECT_EQ(s.micro, (Score{.gold = 4, .found = 4, .correct = 1}));
  EXPECT_EQ(s.types.at("PS"), (Score{.gold = 1, .found = 2, .correct = 1}));
  EXPECT_EQ(s.types.at("OG"), (Score{.gold = 1, .found = 2, .correct = 0}));
  EXPECT_EQ(s.tokens, 10u);
  EXPECT_EQ(s.tokens_correct, 5u);
  EXPECT_DOUBLE_EQ(s.micro.f1(), 0.25);
  EXPECT_DOUBLE_EQ(s.macro.f1, 2.0 / 3 / 4) << "PS 2/3, LC, OG and DT 0";
  EXPECT_DOUBLE_EQ(s.weighted.recall, 0.25);
  EXPECT_FALSE(s.f1_interval.has_value());

  ASSERT_EQ(s.errors.size(), 4u);
  EXPECT_EQ(s.errors[0].kind, SpanErrorKind::wrong_type);
  EXPECT_EQ(s.errors[0].gold->label, "LC");
  EXPECT_EQ(s.errors[1].kind, SpanErrorKind::wrong_edge);
  EXPECT_EQ(s.errors[1].predicted->begin, 4u);
  EXPECT_EQ(s.errors[2].kind, SpanErrorKind::missed);
  EXPECT_EQ(s.errors[2].sentence, 1u);
  EXPECT_EQ(s.errors[3].kind, SpanErrorKind::spurious);

  EXPECT_EQ(s.confusion.labels, (std::vector<std::string>{"DT", "LC", "OG", "PS", ""}));
  EXPECT_EQ(s.confusion.counts[1][2], 1u) << "LC taken for OG";
  EXPECT_EQ(s.confusion.counts[2][2], 1u) << "OG with a wrong edge";
  EXPECT_EQ(s.confusion.counts[0][4], 1u) << "DT missed";
  EXPECT_EQ(s.confusion.counts[4][3], 1u) << "PS out of nothing";
}

TEST(NerScores, MacroCountsATypeThatIsOnlyPredicted) {
  const NerScores s = score_tags({tags_of("B-A O")}, {tags_of("B-A B-B")}, {.mode = NerMode::strict});
  EXPECT_DOUBLE_EQ(s.macro.f1, 0.5);
  EXPECT_DOUBLE_EQ(s.weighted.f1, 1.0);
}

TEST(NerScores, NothingToFindIsZeroNotNan) {
  const NerScores s = score_tags({tags_of("O O")}, {tags_of("O O")}, {});
  EXPECT_EQ(s.micro.f1(), 0.0);
  EXPECT_EQ(s.macro.f1, 0.0);
  EXPECT_EQ(s.weighted.f1, 0.0);
  EXPECT_EQ(s.accuracy(), 1.0);
}

TEST(NerScores, StrictModeNamesTheTagItCannotRead) {
  try {
    score_tags({tags_of("O"), tags_of("O B-A S-A")}, {tags_of("O"), tags_of("O O O")},
               {.mode = NerMode::strict, .scheme = Scheme::iob2});
    FAIL() << "no error";
  } catch (const TagError& e) {
    EXPECT_EQ(e.sentence, 1u);
    EXPECT_EQ(e.token, 2u);
    EXPECT_NE(std::string(e.what()).find("gold, sentence 2, token 3: tag \"S-A\""), std::string::npos) << e.what();
  }
}

TEST(NerScores, StrictModeCountsTheGoldTagsItIgnores) {
  const NerScores s = score_tags({tags_of("I-A I-A O B-A I-A")}, {tags_of("O O O O O")}, {.mode = NerMode::strict});
  EXPECT_EQ(s.ignored_gold_tags, 2u);
  EXPECT_EQ(s.micro.gold, 1u);
}

TEST(NerScores, DifferentLengthsAreAnError) {
  EXPECT_THROW(score_tags({tags_of("O")}, {}, {}), DataError);
  EXPECT_THROW(score_tags({tags_of("O O")}, {tags_of("O")}, {}), DataError);
}

TEST(NerScores, IntervalIsRepeatableAndHoldsTheScore) {
  std::vector<Tags> gold, predicted;
  for (int i = 0; i < 60; ++i) {
    gold.push_back(tags_of("B-A O B-B"));
    predicted.push_back(tags_of(i % 3 == 0 ? "B-A O O" : "B-A O B-B"));
  }
  const NerScores a = score_tags(gold, predicted, {}), b = score_tags(gold, predicted, {});
  ASSERT_TRUE(a.f1_interval);
  EXPECT_EQ(a.f1_interval->low, b.f1_interval->low);
  EXPECT_LT(a.f1_interval->low, a.micro.f1());
  EXPECT_GT(a.f1_interval->high, a.micro.f1());
  const auto of_seed = [&](std::uint64_t seed) {
    return *score_tags(gold, predicted, {.bootstrap = {.resamples = 9, .seed = seed}}).f1_interval;
  };
  EXPECT_NE(of_seed(1).low, of_seed(2).low) << "few draws: the seed shows";
}

TEST(Bootstrap, WidthIsThatOfABinomialProportion) {
  // 400 items, half of them right: standard error 0.025, so the interval is about 0.5 -+ 0.049.
  const auto interval = bootstrap_interval(400, {.resamples = 2000}, [](const std::vector<std::uint32_t>& sample) {
    return static_cast<double>(std::count_if(sample.begin(), sample.end(), [](auto i) { return i < 200; })) / 400;
  });
  ASSERT_TRUE(interval);
  EXPECT_NEAR(interval->low, 0.451, 0.008);
  EXPECT_NEAR(interval->high, 0.549, 0.008);
}

Document annotated(const std::string& text, std::vector<Span> spans) {
  return {.text = text, .spans = std::move(spans), .annotated = true};
}

TEST(EvaluateNer, SpansOfDocumentsInBytes) {
  const std::vector<Document> gold = {annotated("서울에 산다", {{{0, 6}, "LC"}})};
  const std::vector<Document> right = gold, longer = {annotated("서울에 산다", {{{0, 9}, "LC"}})};
  EXPECT_EQ(evaluate_ner(gold, right, {}).micro.correct, 1u);
  const NerScores s = evaluate_ner(gold, longer, {});
  EXPECT_EQ(s.micro.correct, 0u);
  ASSERT_EQ(s.errors.size(), 1u);
  EXPECT_EQ(s.errors[0].kind, SpanErrorKind::wrong_edge);
  EXPECT_TRUE(s.characters);
  EXPECT_EQ(s.tokens, 6u);
  EXPECT_EQ(s.tokens_correct, 5u);
}

TEST(EvaluateNer, NestedAreReducedTheSameWayOnBothSides) {
  const std::vector<Document> gold = {annotated("북한인권모임", {{{0, 18}, "OG"}, {{0, 6}, "LC"}})};
  const std::vector<Document> outer = {annotated("북한인권모임", {{{0, 18}, "OG"}})};
  const std::vector<Document> inner = {annotated("북한인권모임", {{{0, 6}, "LC"}})};
  EXPECT_EQ(evaluate_ner(gold, outer, {}).micro, (Score{1, 1, 1}));
  EXPECT_EQ(evaluate_ner(gold, inner, {}).micro, (Score{1, 1, 0}));
  EXPECT_EQ(evaluate_ner(gold, inner, {.nested = Nested::innermost}).micro, (Score{1, 1, 1}));
  EXPECT_EQ(evaluate_ner(gold, outer, {.nested = Nested::all}).micro, (Score{2, 1, 1}));
}

Document tagged(const std::string& text, std::vector<ByteRange> tokens, const std::string& tags) {
  return {.text = text, .tokens = std::move(tokens), .tags = tags_of(tags), .annotated = true};
}

TEST(EvaluateNer, TagsOnOneSideSpansOnTheOther) {
  const std::vector<Document> gold = {tagged("Jim Kim ran", {{0, 3}, {4, 7}, {8, 11}}, "I-PS I-PS O")};
  const std::vector<Document> predicted = {annotated("Jim Kim ran", {{{0, 7}, "PS"}})};
  const NerScores s = evaluate_ner(gold, predicted, {});
  EXPECT_EQ(s.micro, (Score{1, 1, 1}));
  EXPECT_EQ(s.tokens, 3u);
  EXPECT_EQ(s.tokens_correct, 3u);
}

TEST(EvaluateNer, ABareInsideTagHasTheTypeOfTheTagBefore) {
  const std::vector<ByteRange> tokens = {{0, 3}, {4, 7}, {8, 11}};
  const std::vector<Document> gold = {tagged("Jim Kim ran", tokens, "B_PS I O")};
  const std::vector<Document> predicted = {annotated("Jim Kim ran", {{{0, 7}, "PS"}})};
  for (const NerMode mode : {NerMode::conll, NerMode::strict, NerMode::seqeval, NerMode::klue}) {
    const NerScores s = evaluate_ner(gold, predicted, {.mode = mode});
    EXPECT_EQ(s.micro, (Score{1, 1, 1})) << static_cast<int>(mode);
    EXPECT_EQ(s.types.size(), 1u) << static_cast<int>(mode);
    EXPECT_EQ(s.tokens_correct, 3u) << static_cast<int>(mode);
  }
  EXPECT_EQ(*evaluate_ner(gold, predicted, {.mode = NerMode::klue}).character_macro_f1, 1.0);
}

TEST(EvaluateNer, ErrorsOfTaggedDocumentsPointIntoTheText) {
  const std::vector<Document> gold = {tagged("Jim Kim ran", {{0, 3}, {4, 7}, {8, 11}}, "B-PS I-PS O")};
  const std::vector<Document> predicted = {tagged("Jim Kim ran", {{0, 3}, {4, 7}, {8, 11}}, "O B-PS O")};
  const NerScores s = evaluate_ner(gold, predicted, {});
  ASSERT_EQ(s.errors.size(), 1u);
  EXPECT_EQ(s.errors[0].gold, (Span{{0, 7}, "PS"}));
  EXPECT_EQ(s.errors[0].predicted, (Span{{4, 7}, "PS"}));
}

TEST(EvaluateNer, KlueLeavesOutSpacesAndAveragesOverTypes) {
  // An entity around a space: gold and prediction tag the space differently, and neither may matter.
  const std::vector<ByteRange> tokens = {{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 5}};
  const std::vector<Document> gold = {tagged("a b c", tokens, "B-PS O I-PS O B-LC")};
  const std::vector<Document> predicted = {tagged("a b c", tokens, "B-PS I-PS I-PS O O")};
  const NerScores s = evaluate_ner(gold, predicted, {.mode = NerMode::klue});
  EXPECT_EQ(s.types.at("PS"), (Score{1, 1, 1}));
  EXPECT_EQ(s.types.at("LC"), (Score{1, 0, 0}));
  EXPECT_DOUBLE_EQ(s.f1(), 0.5);
  EXPECT_EQ(s.tokens, 3u);
  // Of the 13 character labels, B-PS and I-PS are right, B-LC is 0, O is 2 of 2 gold and 3 found (two of them the
  // sentence's ends), and the nine that never occur count as 1.
  EXPECT_DOUBLE_EQ(*s.character_macro_f1, (2 + 0 + 2 * 2.0 / (2 + 3) + 9) / 13);
}

TEST(EvaluateNer, FilesThatDoNotBelongTogether) {
  const auto message = [](const std::vector<Document>& gold, const std::vector<Document>& predicted) -> std::string {
    try {
      evaluate_ner(gold, predicted, {});
    } catch (const DataError& e) {
      return e.what();
    }
    return "";
  };
  const Document a = annotated("a", {}), b = annotated("b", {});
  EXPECT_NE(message({a, a}, {a, b}).find("sentence 2"), std::string::npos);
  EXPECT_NE(message({a, a}, {a}).find("gold has 2 sentences, the prediction has 1"), std::string::npos);
  EXPECT_NE(message({{.text = "a", .line = 7}}, {a}).find("gold line 7"), std::string::npos) << "not annotated";
}

Document labelled(std::vector<std::string> labels) {
  return {.text = "x", .labels = std::move(labels), .annotated = true};
}

TEST(EvaluateTc, OneClassADocument) {
  const std::vector<Document> gold = {labelled({"a"}), labelled({"a"}), labelled({"a"}), labelled({"b"})};
  const std::vector<Document> predicted = {labelled({"a"}), labelled({"a"}), labelled({"b"}), labelled({"c"})};
  const TcScores s = evaluate_tc(gold, predicted, {});
  EXPECT_FALSE(s.multi_label);
  EXPECT_DOUBLE_EQ(s.accuracy(), 0.5);
  EXPECT_DOUBLE_EQ(s.micro.f1(), 0.5) << "with one class a document, micro F1 is accuracy";
  EXPECT_DOUBLE_EQ(s.macro.f1, (2 * 2.0 / (3 + 2) + 0 + 0) / 3);
  EXPECT_EQ(s.confusion.counts, (std::vector<std::vector<std::size_t>>{{2, 1, 0}, {0, 0, 1}, {0, 0, 0}}));
  ASSERT_EQ(s.errors.size(), 2u);
  EXPECT_EQ(s.errors[1].document, 3u);
  ASSERT_TRUE(s.accuracy_interval);
  EXPECT_LE(s.accuracy_interval->low, 0.5);
  EXPECT_GE(s.accuracy_interval->high, 0.5);
}

TEST(EvaluateTc, AnyNumberOfClasses) {
  const std::vector<Document> gold = {labelled({"a", "b"}), labelled({}), labelled({"b"})};
  const std::vector<Document> predicted = {labelled({"b", "a"}), labelled({"a"}), labelled({})};
  const TcScores s = evaluate_tc(gold, predicted, {});
  EXPECT_TRUE(s.multi_label);
  EXPECT_DOUBLE_EQ(s.accuracy(), 1.0 / 3) << "subset accuracy";
  EXPECT_EQ(s.labels.at("a"), (Score{1, 2, 1}));
  EXPECT_EQ(s.labels.at("b"), (Score{2, 1, 1}));
  EXPECT_DOUBLE_EQ(s.micro.f1(), 2 * 2.0 / (3 + 3));
  EXPECT_TRUE(s.confusion.labels.empty());
}

TEST(EvaluateTc, UnlabelledGoldIsAnError) {
  EXPECT_THROW(evaluate_tc({{.text = "x", .line = 3}}, {labelled({"a"})}, {}), DataError);
  EXPECT_THROW(evaluate_tc({labelled({"a"})}, {}, {}), DataError);
}

}  // namespace
}  // namespace bib
