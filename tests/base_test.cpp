// Going on from a model: what it knew stays where it was, what the data add stands behind it.
#include "train/base.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "models/model_parts.h"

namespace bib {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Base : public testing::Test {
 protected:
  const std::string stem_ =
      testing::TempDir() + "base_" + testing::UnitTest::GetInstance()->current_test_info()->name() + "_";
  Context ctx_{{.threads = 1}};

  static Config small(Task task) {
    Config c = default_config(task);
    c.epochs = 30, c.hidden = 8, c.filters = 8, c.batch = 4, c.lr = 1e-2f, c.train_rate = 1;
    c.syllable = c.bigram = 8, c.jamo = c.shape = 4;
    return c;
  }
  std::string path(const std::string& name) const { return stem_ + name; }

  static Document entity(const std::string& before, const std::string& text, const std::string& label,
                         const std::string& after) {
    return {.text = before + text + after, .spans = {{{before.size(), before.size() + text.size()}, label}}};
  }
  static std::vector<Document> people() {
    std::vector<Document> documents;
    for (int i = 0; i < 4; ++i)
      for (const char* name : {"김민수", "이영희", "박철수"})
        documents.push_back(entity("오늘 ", name, "PS", "가 왔다"));
    return documents;
  }
  /// With a label of its own that sorts before PS, and syllables that people() lacks.
  static std::vector<Document> people_and_dishes() {
    std::vector<Document> documents = people();
    for (int i = 0; i < 4; ++i)
      for (const char* dish : {"냉면", "비빔밥", "된장찌개"})
        documents.push_back(entity("점심은 ", dish, "FD", "이다"));
    return documents;
  }
  static std::vector<Document> classes(std::initializer_list<std::pair<const char*, const char*>> rows) {
    std::vector<Document> documents;
    for (int i = 0; i < 6; ++i)
      for (const auto& [text, label] : rows) documents.push_back({.text = text, .labels = {label}});
    return documents;
  }

  std::string error(const Config& config, const TrainOptions& options) {
    try {
      train(ctx_, config, people(), {}, options);
    } catch (const std::exception& e) {
      return e.what();
    }
    return "no error";
  }
  std::string label_in(const std::string& model, const std::string& text) {
    const auto found = NerModel::load(model, ctx_).predict(ctx_, text).entities;
    return found.size() == 1 ? found[0].label : std::to_string(found.size()) + " entities";
  }
};

TEST_F(Base, RowsAndLabelsKeepTheirPlaceAndWeights) {
  for (const Scheme scheme : {Scheme::iob2, Scheme::bioes}) {
    Config config = small(Task::ner);
    config.scheme = scheme;
    train(ctx_, config, people(), {}, {.output = path("old")});
    config = continued(config);
    EXPECT_EQ(config.scheme, scheme);
    // So small a step moves no weight: Adam's is lr, below the spacing of floats of the size of the weights.
    config.lr = 1e-30f, config.epochs = 1, config.train_rate = 1;
    train(ctx_, config, people_and_dishes(), {}, {.output = path("new"), .base = path("old")});

    const auto old = open_ner(ctx_, read_base(Task::ner, path("old")));
    const auto now = open_ner(ctx_, read_base(Task::ner, path("new")));
    EXPECT_THAT(old->tags.labels(), ElementsAre("PS"));
    EXPECT_THAT(now->tags.labels(), ElementsAre("PS", "FD"));
    EXPECT_GT(now->features.entries(), old->features.entries());
    for (int c = 0; c < static_cast<int>(old->features.channels().size()); ++c) {
      if (!old->features.channels()[static_cast<std::size_t>(c)].open) continue;
      const Vocabulary &before = old->features.vocabulary(c), &after = now->features.vocabulary(c);
      for (int id = 0; id < before.size(); ++id) EXPECT_EQ(after[id], before[id]);
    }
    const auto corner = [&](const char* name, int rows, int columns) {
      const std::vector<real> before = old->parameters.get(ctx_, name), after = now->parameters.get(ctx_, name);
      const std::size_t width = static_cast<std::size_t>(now->parameters.find(name)->shape[1]);
      for (int r = 0; r < rows; ++r)
        for (int k = 0; k < columns; ++k)
          EXPECT_EQ(after[static_cast<std::size_t>(r) * width + static_cast<std::size_t>(k)],
                    before[static_cast<std::size_t>(r * columns + k)])
              << name << ' ' << r << ' ' << k;
    };
    const int K = old->tags.size();
    corner("embedding.syllable", old->features.vocabulary(0).size(), config.syllable);
    corner("project.w", K, 2 * config.hidden);
    corner("crf.transition", K, K);
    EXPECT_EQ(old->parameters.get(ctx_, "lstm.0.w_h"), now->parameters.get(ctx_, "lstm.0.w_h"));
    const std::vector<real> transition = now->parameters.get(ctx_, "crf.transition");
    for (int i = 0; i < static_cast<int>(transition.size()); ++i)
      EXPECT_EQ(std::isinf(transition[static_cast<std::size_t>(i)]),
                !now->tags.may_follow(i / now->tags.size(), i % now->tags.size()));
    // What is new begins as it would in a new model: row V of a table is not zero, and as the seed gives it.
    const ParamInfo& table = *now->parameters.find("embedding.syllable");
    const std::vector<real> drawn = initial_values(table, config.seed), values = now->parameters.get(ctx_, table.name);
    const auto at = static_cast<std::size_t>(old->features.vocabulary(0).size() * config.syllable);
    EXPECT_EQ(std::vector<real>(values.begin() + static_cast<std::ptrdiff_t>(at), values.end()),
              std::vector<real>(drawn.begin() + static_cast<std::ptrdiff_t>(at), drawn.end()));
  }
}

TEST_F(Base, WithoutStepsScoresAndAnswersAsItDid) {
  const Config config = small(Task::ner);
  train(ctx_, config, people(), people(), {.output = path("old")});
  Config more = continued(config);
  more.lr = 1e-30f, more.epochs = 1, more.calibrate = false;  // the base has its temperature
  const TrainResult result = train(ctx_, more, people(), people(), {.output = path("new"), .base = path("old")});
  ASSERT_TRUE(result.base_score && result.best_score);
  EXPECT_EQ(*result.base_score, *result.best_score);
  const NerModel before = NerModel::load(path("old"), ctx_), after = NerModel::load(path("new"), ctx_);
  for (const Document& d : people()) {
    const auto a = before.predict(ctx_, d.text).entities, b = after.predict(ctx_, d.text).entities;
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(*a[i].score, *b[i].score);
  }
}

TEST_F(Base, LearnsNewWordsAndLabelsAndSaysWhatIsNew) {
  const Config config = small(Task::ner);
  train(ctx_, config, people(), {}, {.output = path("old")});
  Config more = continued(config);
  more.epochs = 30, more.batch = 4, more.train_rate = 1;
  std::string notes, warnings;
  TrainOptions options{.output = path("new"), .base = path("old")};
  options.note = [&](const std::string& text) { notes += text + "\n"; };
  options.warn = [&](const std::string& text) { warnings += text + "\n"; };
  train(ctx_, more, people_and_dishes(), {}, options);
  EXPECT_THAT(notes, HasSubstr(" entries and 1 label; new: "));
  EXPECT_THAT(notes, HasSubstr(" entries and 1 label (FD)\n"));
  EXPECT_EQ(warnings, "");
  EXPECT_EQ(label_in(path("new"), "점심은 비빔밥이다"), "FD");
  EXPECT_EQ(label_in(path("new"), "오늘 김민수가 왔다"), "PS");

  options.base = path("new"), options.output = path("third");
  train(ctx_, more, people(), {}, options);
  EXPECT_THAT(warnings, HasSubstr("the base knows 1 label (FD) that the training data lack"));
  EXPECT_THAT(NerModel::load(path("third"), ctx_).labels(), ElementsAre("PS", "FD"));
  EXPECT_EQ(read_model(path("third")).text("bib.base"), read_model(path("new")).text("bib.checksum"));
}

TEST_F(Base, ClassesMayBeOfOneKindWhereTheBaseHasOthers) {
  Config config = small(Task::tc);
  config.balanced = true;
  train(ctx_, config, classes({{"배송이 늦다", "배송"}, {"값이 싸다", "값"}}), {}, {.output = path("old")});
  Config more = continued(config);
  more.epochs = 20, more.train_rate = 1, more.balanced = true;
  const std::vector<Document> taste = classes({{"정말 맛있다", "맛"}});
  EXPECT_THROW(train(ctx_, more, taste, {}, {.output = path("alone")}), DataError);
  train(ctx_, more, taste, {}, {.output = path("new"), .base = path("old")});
  const TcModel model = TcModel::load(path("new"), ctx_);
  EXPECT_THAT(model.labels(), ElementsAre("값", "배송", "맛"));
  EXPECT_THAT(model.predict(ctx_, "정말 맛있다").labels, ElementsAre("맛"));
}

TEST_F(Base, ResumesToTheSameBytesAndFromNoOther) {
  const Config config = small(Task::ner);
  train(ctx_, config, people(), {}, {.output = path("old")});
  Config more = continued(config);
  more.epochs = 4, more.batch = 4;
  train(ctx_, more, people_and_dishes(), {}, {.output = path("whole"), .base = path("old")});
  TrainOptions options{.output = path("parts"), .base = path("old")};
  options.progress = [](const TrainProgress& p) { return p.step < 7; };
  EXPECT_TRUE(train(ctx_, more, people_and_dishes(), {}, options).interrupted);
  options.progress = {}, options.resume = true;

  const auto resumed = [&](const std::string& base) -> std::string {
    options.base = base;
    try {
      train(ctx_, more, people_and_dishes(), {}, options);
    } catch (const DataError& e) {
      return e.what();
    }
    return "resumed";
  };
  EXPECT_THAT(resumed(path("whole")), HasSubstr("it was made from another base"));
  EXPECT_THAT(resumed(""), HasSubstr("it was made with a base"));
  EXPECT_EQ(resumed(path("old")), "resumed");
  EXPECT_EQ(read_model(path("parts")).text("bib.checksum"), read_model(path("whole")).text("bib.checksum"));
}

TEST_F(Base, LimitsApplyToWhatIsNew) {
  const Config config = small(Task::ner);
  train(ctx_, config, people(), {}, {.output = path("old")});
  const auto entries = [&](const std::string& name) {
    return open_ner(ctx_, read_base(Task::ner, path(name)))->features.entries();
  };
  Config more = continued(config);
  more.epochs = 1;
  more.min_count = 100;
  train(ctx_, more, people_and_dishes(), {}, {.output = path("rare"), .base = path("old")});
  EXPECT_EQ(entries("rare"), entries("old"));
  more.min_count = 1, more.max_entries = 1;
  train(ctx_, more, people_and_dishes(), {}, {.output = path("full"), .base = path("old")});
  EXPECT_EQ(entries("full"), entries("old"));
}

TEST_F(Base, WhatItCannotChangeIsRefusedByName) {
  const Config config = small(Task::ner);
  train(ctx_, config, people(), {}, {.output = path("old")});
  const TrainOptions options{.output = path("new"), .base = path("old")};
  Config other = continued(config);
  other.hidden = 9, other.scheme = Scheme::bilou;
  EXPECT_THAT(error(other, options), HasSubstr("has model.hidden = 8, not 9; model.scheme = \"iob2\", not \"bilou\";"));
  other = continued(config);
  other.vectors = "some.vec";
  EXPECT_THAT(error(other, options), HasSubstr("features.vectors = '', not 'some.vec'; leave that out, or train a "
                                               "new model (vectors begin a new model"));
  EXPECT_THAT(error(default_config(Task::tc), options), HasSubstr("is an NER model, not a text classification model"));
  EXPECT_THAT(error(continued(config), {.output = path("old"), .base = path("old")}), HasSubstr("is also the base"));
  EXPECT_THAT(error(continued(config), {.output = path("new"), .base = path("none")}), HasSubstr("none"));

  TrainOptions stopped{.output = path("stopped")};
  stopped.progress = [](const TrainProgress&) { return false; };
  train(ctx_, config, people(), {}, stopped);
  EXPECT_THAT(error(continued(config), {.output = path("new"), .base = path("stopped.checkpoint")}),
              HasSubstr("is the checkpoint of a training"));
  EXPECT_FALSE(std::filesystem::exists(path("new")));
}

TEST(Continued, TakesTrainsDefaultsButWhatWasLearned) {
  Config base = default_config(Task::ner, Unit::word);
  base.word = 50, base.layers = 2, base.nested = "innermost", base.epochs = 99, base.lr = 1, base.min_count = 3;
  const Config c = continued(base), usual = default_config(Task::ner, Unit::word);
  EXPECT_EQ(c.word, 50);
  EXPECT_EQ(c.layers, 2);
  EXPECT_EQ(c.nested, "innermost");
  EXPECT_EQ(c.min_count, 3);
  EXPECT_EQ(c.epochs, usual.epochs);
  EXPECT_EQ(c.lr, usual.lr);
  EXPECT_EQ(differences(c, base), "");
  EXPECT_THAT(differences(default_config(Task::tc), base), HasSubstr("task = \"ner\", not \"tc\""));
}

}  // namespace
}  // namespace bib
