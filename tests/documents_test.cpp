// Documents that a program makes, right and wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "bib/error.h"
#include "bib/ner.h"
#include "bib/tc.h"
#include "bib/train.h"

namespace bib {
namespace {

using testing::HasSubstr;

class Documents : public testing::Test {
 protected:
  const std::string output_ =  // tests run beside each other
      testing::TempDir() + "documents_" + testing::UnitTest::GetInstance()->current_test_info()->name() + ".bib";
  Context ctx_{{.threads = 1}};

  static Config config(Task task) {
    Config c = default_config(task, task == Task::ner ? Unit::word : Unit::syllable);
    c.epochs = 1, c.hidden = 4, c.filters = 4, c.train_rate = task == Task::ner ? 1 : 0.5f;
    return c;
  }
  static std::vector<Document> entities() {
    std::vector<Document> documents;
    for (int i = 0; i < 3; ++i)
      documents.push_back({.text = "서울 에 간다", .spans = {{{0, 6}, "LC"}}, .tokens = {{0, 6}, {7, 10}, {11, 17}}});
    return documents;
  }
  /// What is said when the second document is changed.
  template <class F>
  std::string error(F&& change) {
    std::vector<Document> documents = entities();
    change(documents[1]);
    try {
      train(ctx_, config(Task::ner), documents, {}, {.output = output_});
    } catch (const DataError& e) {
      return e.what();
    }
    return "no error";
  }
};

TEST_F(Documents, WithSpansOrLabelsAreAnnotated) {
  EXPECT_NO_THROW(train(ctx_, config(Task::ner), entities(), {}, {.output = output_}));
  std::vector<Document> classes;
  for (int i = 0; i < 4; ++i)
    classes.insert(classes.end(), {{.text = "a", .labels = {"x"}}, {.text = "b", .labels = {"y"}}});
  EXPECT_NO_THROW(train(ctx_, config(Task::tc), classes, {}, {.output = output_}));
}

TEST_F(Documents, WrongOnesAreRefusedByTheirNumber) {
  EXPECT_THAT(error([](Document& d) { d.spans.clear(); }), HasSubstr("document 2 is raw text without annotation"));
  EXPECT_THAT(error([](Document& d) { d.spans.clear(), d.line = 7; }), HasSubstr("line 7 is raw text"));
  EXPECT_THAT(error([](Document& d) { d.spans[0].end = 18; }),
              HasSubstr("document 2 has a span 0..18, which is no range of its text of 17 bytes"));
  EXPECT_THAT(error([](Document& d) { d.spans[0].begin = 6; }), HasSubstr("has a span 6..6"));
  EXPECT_THAT(error([](Document& d) { d.spans[0].label = ""; }), HasSubstr("has a span without a label"));
  EXPECT_THAT(error([](Document& d) { d.tokens[2] = {700, 701}; }), HasSubstr("has a token 700..701"));
  EXPECT_THAT(error([](Document& d) { d.weight = -1; }), HasSubstr("has a weight"));
  EXPECT_THAT(error([](Document& d) { d.weight = std::numeric_limits<float>::quiet_NaN(); }), HasSubstr("weight"));
  EXPECT_THAT(error([](Document& d) { d.labels = {""}; }), HasSubstr("has a class without a name"));
  EXPECT_THAT(error([](Document& d) { d.labels = {"\xff"}; }), HasSubstr("document 2 has a label that is no UTF-8"));
  EXPECT_THAT(error([](Document& d) { d.spans[0].label = "\xed\xa0\x80"; }), HasSubstr("has a label that is no UTF-8"));
}

TEST_F(Documents, TokensMustLieInTheText) {
  train(ctx_, config(Task::ner), entities(), {}, {.output = output_});
  const NerModel model = NerModel::load(output_, ctx_);
  for (const ByteRange token : {ByteRange{0, 18}, ByteRange{700, 701}, ByteRange{6, 0}}) {
    const Document document{.text = "서울 에 간다", .tokens = {token}};
    EXPECT_THROW(model.predict(ctx_, std::span(&document, 1)), std::invalid_argument);
  }
}

TEST_F(Documents, EverySeedThatTrainsMakesAModelThatLoads) {
  for (const std::uint64_t seed : {std::uint64_t{3000000000}, std::uint64_t{1} << 62}) {
    Config c = config(Task::ner);
    c.seed = seed;
    train(ctx_, c, entities(), {}, {.output = output_});
    EXPECT_EQ(NerModel::load(output_, ctx_).config().seed, seed);
  }
}

TEST_F(Documents, SettingsThatAModelCouldNotHoldAreRefused) {
  const auto error = [&](auto change) -> std::string {
    Config c = config(Task::ner);
    change(c);
    try {
      train(ctx_, c, entities(), {}, {.output = output_, .progress = [](const TrainProgress&) { return false; }});
    } catch (const DataError& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_THAT(error([](Config& c) { c.seed = std::uint64_t{1} << 63; }), HasSubstr("seed is 9223372036854775808"));
  EXPECT_THAT(error([](Config& c) { c.patience = -1; }), HasSubstr("patience is -1"));
  EXPECT_THAT(error([](Config& c) { c.clip = std::numeric_limits<float>::infinity(); }),
              HasSubstr("clip is no number"));
  EXPECT_THAT(error([](Config& c) { c.epochs = -1; }), HasSubstr("epochs is -1; it must be 0 to 2147483647"));
  EXPECT_THAT(error([](Config& c) { c.epochs = std::numeric_limits<int>::max(), c.batch = 2; }),
              HasSubstr("epochs is 2147483647; with 2 steps each"));
  EXPECT_THAT(error([](Config& c) { c.character_filters = std::numeric_limits<int>::max(); }),
              HasSubstr("character_filters must be 1 to 65536"));
  EXPECT_THAT(error([](Config& c) { c.vectors = "caf\xe9.vec"; }), HasSubstr("vectors is no UTF-8"));
  Config c;
  EXPECT_THROW(set_field(c, "lr=1e40"), DataError);
}

// What could not be written in the end, or when training is stopped, is refused before it begins.
TEST_F(Documents, AModelThatCouldNotBeWrittenIsNotTrained) {
  const auto error = [&](const std::string& output) -> std::string {
    bool began = false;
    const auto progress = [&](const TrainProgress&) { return began = true; };
    try {
      train(ctx_, config(Task::ner), entities(), {}, {.output = output, .progress = progress});
    } catch (const std::exception& e) {
      return began ? "training began" : e.what();
    }
    return "no error";
  };
  EXPECT_THAT(error(testing::TempDir() + std::string(252, 'm')), HasSubstr("choose a shorter name"));
  EXPECT_THAT(error(testing::TempDir() + std::string(300, 'm')), HasSubstr("File name too long"));
  std::filesystem::create_directories(output_ + ".checkpoint/x");
  EXPECT_THAT(error(output_), HasSubstr(".checkpoint: not a regular file: Is a directory"));
  std::filesystem::remove_all(output_ + ".checkpoint");
}

TEST_F(Documents, EmptyTextsHaveAnswers) {
  train(ctx_, config(Task::ner), entities(), {}, {.output = output_});
  const NerModel model = NerModel::load(output_, ctx_);
  EXPECT_TRUE(model.predict(ctx_, "").entities.empty());
  EXPECT_NO_THROW(model.predict(ctx_, "", {.nbest = 10000}));
  EXPECT_THROW(model.predict(ctx_, "", {.nbest = 10001}), std::invalid_argument);
}

}  // namespace
}  // namespace bib
