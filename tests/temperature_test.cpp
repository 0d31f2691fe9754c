// The temperature that brings probabilities together with what came true: found, and divided into the model.
#include "train/temperature.h"

#include <gtest/gtest.h>

#include <cmath>

#include "bib/ops.h"
#include "bib/random.h"
#include "bib/train.h"
#include "models/model_parts.h"

namespace bib {
namespace {

constexpr std::size_t plenty = 1000000;

TEST(Temperature, FindsTheMinimum) {
  for (const double at : {0.4, 1.0, 1.7, 3.5}) {
    const Temperature t =
        best_temperature([&](double inverse) { return std::pow(std::log(inverse * at), 2) + 0.5; }, plenty);
    EXPECT_NEAR(t.value, at, 4e-3 * at);
    EXPECT_NEAR(t.after, 0.5, 1e-4);
    EXPECT_NEAR(t.before, 0.5 + std::pow(std::log(at), 2), 1e-12);
  }
  EXPECT_EQ(best_temperature([](double) { return 2.0; }, plenty).value, 1) << "where nothing is gained nothing is done";
}

/// The more of them there are, the surer a model may become.
TEST(Temperature, AFewExamplesWithoutAMistakeProveLittle) {
  const auto at_95_percent = [](double inverse) { return std::log1p(std::exp(-3 * inverse)); };
  const double few = best_temperature(at_95_percent, 10).value, more = best_temperature(at_95_percent, 100).value;
  EXPECT_GT(few, 0.7);
  EXPECT_LT(few, 1);
  EXPECT_LT(more, few);
  EXPECT_NEAR(best_temperature(at_95_percent, plenty).value, 0.25, 2e-3) << "and this is the limit";
}

TEST(Temperature, IsFoundByPartOfALargeDevSetFromAllOfIt) {
  EXPECT_EQ(temperature_sample(std::vector<Document>(2000)).size(), 2000u);
  std::vector<Document> large(5001);
  large[4998].id = "late";
  const std::vector<Document> sample = temperature_sample(large);
  EXPECT_EQ(sample.size(), 1667u);
  EXPECT_EQ(sample[1666].id, "late");
}

/// Labels are drawn with the probabilities of some scores; a model whose scores are three times those is too sure.
TEST(Temperature, RecoversTheScaleOfScores) {
  const int B = 50, K = 4, batches = 60;
  Context ctx{{.threads = 2}};
  std::vector<std::vector<real>> scores(batches);
  std::vector<std::vector<int>> labels(batches);
  const RandomKey key{.seed = 5};
  std::uint64_t draw = 0;
  const auto uniform = [&] { return (static_cast<double>(random_word(key, draw++)) + 0.5) / 4294967296.0; };
  for (int g = 0; g < batches; ++g) {
    for (int b = 0; b < B; ++b) {
      std::vector<double> weight;
      double sum = 0;
      for (int k = 0; k < K; ++k) {
        const double s = 4 * uniform() - 2;
        scores[static_cast<std::size_t>(g)].push_back(static_cast<real>(3 * s));
        weight.push_back(std::exp(s)), sum += weight.back();
      }
      double at = uniform() * sum;
      int label = 0;
      while (label < K - 1 && (at -= weight[static_cast<std::size_t>(label)]) > 0) ++label;
      labels[static_cast<std::size_t>(g)].push_back(label);
    }
  }
  ScoredBatches data{.examples = static_cast<std::size_t>(B) * batches, .batches = batches};
  data.scores = [&](Context&, int g) { return scores[static_cast<std::size_t>(g)]; };
  data.loss = [&](Context& one, int g, const std::vector<real>& s, real factor) {
    const View<real, 1> loss = one.arena().make<real, 1>({B});
    run(one, SoftmaxLoss{.scores = times(one, s, factor).reshaped<2>({B, K}),
                         .labels = upload<int, 1>(one, labels[static_cast<std::size_t>(g)], {B}),
                         .weight = upload<real, 1>(one, std::vector<real>(B, 1), {B}),
                         .loss = loss});
    return loss;
  };
  const Temperature t = best_temperature(ctx, data);
  EXPECT_NEAR(t.value, 3, 0.2);
  EXPECT_LT(t.after, t.before);
  Context single{{.threads = 1}};
  EXPECT_EQ(best_temperature(single, data).value, t.value) << "to the bit, for any number of threads";
}

/// A dev set that says otherwise than the training data: what the model makes of these is not what comes true there.
class Calibrated : public testing::Test {
 protected:
  static Config small(Task task) {
    Config c = default_config(task);
    c.epochs = 40, c.hidden = 8, c.filters = 8, c.batch = 4, c.lr = 1e-2f;
    c.syllable = c.bigram = 8, c.jamo = c.shape = 4;
    return c;
  }
  /// Returns its path.
  std::string train_model(Config config, const std::vector<Document>& documents, const std::vector<Document>& dev) {
    const std::string path = testing::TempDir() + "calibrated_" +
                             testing::UnitTest::GetInstance()->current_test_info()->name() +
                             std::to_string(config.calibrate);
    train(ctx_, config, documents, dev,
          {.output = path, .note = [&](const std::string& text) { notes_ += text + "\n"; }});
    return path;
  }
  std::string temperature_in(const std::string& path) {
    const ModelFile file = read_model(path);
    const auto found = file.metadata.find("bib.temperature");
    return found == file.metadata.end() ? "none" : found->second;
  }
  Context ctx_{{.threads = 1}};
  std::string notes_;
};

TEST_F(Calibrated, EntitiesGetOtherProbabilitiesAndTheSameLabels) {
  std::vector<Document> documents, dev;
  for (int i = 0; i < 8; ++i)
    for (const char* name : {"김민수", "이영희", "박철수"}) {
      documents.push_back({.text = std::string(name) + "가 왔다", .spans = {{{0, 9}, i % 4 ? "PS" : "OG"}}});
      dev.push_back({.text = std::string(name) + "가 왔다", .spans = {{{0, 9}, i % 2 ? "PS" : "OG"}}});
    }
  Config config = small(Task::ner);
  const std::string hot = train_model(config, documents, dev);
  const double t = std::stod(temperature_in(hot));
  EXPECT_GT(std::abs(std::log(t)), 0.2) << "there is something to find";
  EXPECT_NE(notes_.find("probabilities: temperature "), std::string::npos) << notes_;
  config.calibrate = false;
  const std::string cold = train_model(config, documents, dev);
  EXPECT_EQ(temperature_in(cold), "none");

  const NerModel scaled = NerModel::load(hot, ctx_), plain = NerModel::load(cold, ctx_);
  const NerPrediction a = scaled.predict(ctx_, "김민수가 왔다", {.nbest = 2}),
                      b = plain.predict(ctx_, "김민수가 왔다", {.nbest = 2});
  ASSERT_EQ(a.entities.size(), 1u);
  EXPECT_EQ(static_cast<const Span&>(a.entities[0]), static_cast<const Span&>(b.entities[0]));
  const auto log_odds = [](const NerPrediction& p) {
    return std::log(p.alternatives[0].probability / p.alternatives[1].probability);
  };
  EXPECT_NEAR(log_odds(a), log_odds(b) / t, 1e-3)
      << "every reading's score is divided: emissions, transitions and ends";
}

TEST_F(Calibrated, ClassesToo) {
  for (const bool multilabel : {false, true}) {
    std::vector<Document> documents, dev;
    for (int i = 0; i < 200; ++i)
      for (const char* text : {"배송이 빨라요", "빨라요 배송"}) {
        if (i < 12) documents.push_back({.text = text, .labels = {i % 4 ? "좋음" : "나쁨"}});
        dev.push_back({.text = text, .labels = {i % 2 ? "좋음" : "나쁨"}});
      }
    dev.push_back({.text = "배송", .labels = {"모름"}});  // which has no probability
    Config config = small(Task::tc);
    config.multilabel = multilabel;
    const TcModel scaled = TcModel::load(train_model(config, documents, dev), ctx_);
    config.calibrate = false;
    const TcModel plain = TcModel::load(train_model(config, documents, dev), ctx_);
    const TcPrediction a = scaled.predict(ctx_, "배송이 빨라요", {.top_k = 0}),
                       b = plain.predict(ctx_, "배송이 빨라요", {.top_k = 0});
    EXPECT_EQ(a.labels, b.labels);
    EXPECT_LT(a.classes[0].score, b.classes[0].score);
    EXPECT_GT(a.classes[0].score, 0.5) << "where no label's answer may change";
    EXPECT_LT(a.classes[0].score, 0.62) << "half of the dev set agrees, not three of four";
  }
}

TEST_F(Calibrated, WithoutADevSetNothingIsDoneNorWithOneOfUnknownClasses) {
  std::vector<Document> documents;
  for (int i = 0; i < 8; ++i) documents.push_back({.text = "빨라요 배송", .labels = {i % 4 ? "좋음" : "나쁨"}});
  Config config = small(Task::tc);
  config.epochs = 2, config.train_rate = 1;
  EXPECT_EQ(temperature_in(train_model(config, documents, {})), "none");
  EXPECT_EQ(temperature_in(train_model(config, documents, {{.text = "배송", .labels = {"모름"}}})), "none");
  EXPECT_EQ(notes_.find("probabilities"), std::string::npos) << notes_;
}

}  // namespace
}  // namespace bib
