// How sure a model is: of a whole reading, of what it read where something was annotated, of a class. By summing over
// all readings of short texts.
// Built against any library; with a GPU, or the emulator, everything is done there, too.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "bib/ner.h"
#include "bib/tc.h"
#include "bib/train.h"
#include "models/model_parts.h"
#include "tests/cuda_at_hand.h"

namespace bib::test {
namespace {

constexpr double tolerance = 1e-4;

class Confidence : public testing::Test {
 protected:
  Context ctx_{{.device = cuda_at_hand() ? Device::cuda : Device::cpu, .threads = 1}};

  static Config small(Task task) {
    Config config = default_config(task);
    config.epochs = 1, config.hidden = 4, config.filters = 4, config.train_rate = 1;
    return config;
  }
  /// Hardly trained: every reading has some probability.
  std::shared_ptr<const ModelFile> trained(const Config& config, const std::vector<Document>& documents) {
    Context cpu({.threads = 1});
    train(cpu, config, documents, {}, {.memory = &bytes_});
    return std::make_shared<const ModelFile>(parse_model(bytes_, "in memory"));
  }
  NerModel ner() {
    const Document document{.text = "서울 김민수 삼성 간다", .spans = {{{0, 6}, "LC"}, {{7, 16}, "PS"}}};
    return load_ner(ctx_, trained(small(Task::ner), std::vector(4, document)));
  }
  TcModel tc(bool multilabel) {
    Config config = small(Task::tc);
    config.multilabel = multilabel;
    const std::vector<Document> documents{{.text = "배송이 늦다", .labels = {"배송"}},
                                          {.text = "값이 싸다", .labels = {"값"}},
                                          {.text = "맛이 좋다", .labels = {"맛"}}};
    return load_tc(ctx_, trained(config, documents));
  }

  std::vector<std::byte> bytes_;
};

bool touches(const Entity& entity, const ByteRange& range) {
  return entity.begin < range.end && range.begin < entity.end;
}

TEST_F(Confidence, OfAReadingIsItsProbabilityPerUnit) {
  const NerModel model = ner();
  for (const std::string text : {"김", "서울 김민수", "간다 서울"}) {
    const NerPrediction p = model.predict(ctx_, text, {.confidence = true, .nbest = 1});
    double units = 0;
    for (const char c : text) units += (c & 0xC0) != 0x80 && c != ' ';
    ASSERT_TRUE(p.confidence) << text;
    EXPECT_NEAR(std::pow(*p.confidence, units), p.alternatives.at(0).probability, tolerance) << text;
    EXPECT_LT(*p.confidence, 1) << text;
  }
  EXPECT_EQ(model.predict(ctx_, "", {.confidence = true}).confidence, 1);
  EXPECT_FALSE(model.predict(ctx_, "서울").confidence);
}

TEST_F(Confidence, OfALongTextIsThatOfItsWindows) {
  const NerModel model = ner();
  const auto surprise_of = [&](const std::string& text) {
    return -std::log(*model.predict(ctx_, text, {.confidence = true}).confidence);
  };
  std::string one, other;  // 1,000 units each, of one window
  for (int i = 0; i < 200; ++i) one += "서울김민수", other += "!!!!!";
  const double first = surprise_of(one.substr(0, one.size() / 4)), second = surprise_of(other.substr(0, 250));
  ASSERT_GT(std::abs(first - second), 0.1) << "else one window says as much as all";
  EXPECT_NEAR(surprise_of(one + other), (first + second) / 2, 0.02);
}

TEST_F(Confidence, OfASpanIsThatOfAllReadingsWithTheSameThere) {
  const NerModel model = ner();
  const std::string text = "김민수 간다";
  Document document{.text = text, .spans = {{{0, 9}, "PS"}, {{3, 6}, "LC"}, {{10, 16}, "없다"}, {{9, 10}, "PS"}}};
  const NerPrediction p = model.predict(ctx_, std::span(&document, 1), {.span_scores = true, .nbest = 10'000}).front();
  ASSERT_EQ(p.span_scores.size(), document.spans.size());
  EXPECT_EQ(p.span_scores.back(), 0) << "a space is no unit";
  int without = 0;
  for (std::size_t s = 0; s + 1 < document.spans.size(); ++s) {
    const ByteRange range = document.spans[s];
    const auto read = [&](const std::vector<Entity>& entities) {
      return std::any_of(entities.begin(), entities.end(), [&](const Entity& e) { return touches(e, range); });
    };
    if (read(p.entities)) continue;
    ++without;
    double sum = 0;
    for (const NerAlternative& a : p.alternatives) sum += read(a.entities) ? 0 : a.probability;
    EXPECT_NEAR(p.span_scores[s], sum, tolerance) << range.begin << ".." << range.end;
  }
  EXPECT_GT(without, 0) << "nothing is tested where everything is read as an entity";
}

TEST_F(Confidence, OfASpanThatIsAnEntityIsItsScore) {
  const NerModel model = ner();
  std::string long_text;
  for (int i = 0; i < 300; ++i) long_text += "간다 서울에서 김민수가 ";  // entities in every window
  int compared = 0;
  for (const std::string& text : {std::string("서울 김민수 삼성"), long_text}) {
    Document document{.text = text};
    const auto answer = [&] { return model.predict(ctx_, std::span(&document, 1), {.span_scores = true}).front(); };
    const std::vector<Entity> entities = answer().entities;
    document.spans.assign(entities.begin(), entities.end());
    const std::vector<double> scores = answer().span_scores;
    ASSERT_EQ(scores.size(), entities.size());
    for (std::size_t i = 0; i < scores.size(); ++i, ++compared) EXPECT_NEAR(scores[i], *entities[i].score, tolerance);
  }
  EXPECT_GT(compared, 0) << "the model finds nothing to compare";
}

TEST_F(Confidence, OfAClassIsItsProbabilityAndOfManyTheLeastOfAllDecisions) {
  for (const bool multilabel : {false, true}) {
    const TcModel model = tc(multilabel);
    const TcPrediction p = model.predict(ctx_, "배송이 싸다", {.top_k = 0});
    ASSERT_EQ(p.classes.size(), 3u);
    double expected = p.classes.front().score;
    if (multilabel) {
      expected = 1;
      for (const ClassScore& c : p.classes) expected = std::min(expected, std::max(c.score, 1 - c.score));
    }
    EXPECT_DOUBLE_EQ(p.confidence, expected);
    EXPECT_EQ(p.confidence, model.predict(ctx_, "배송이 싸다").confidence) << "whatever is listed";
  }
}

}  // namespace
}  // namespace bib::test
