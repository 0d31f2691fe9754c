// Which fold a text is in, and models that stay in memory: what cross-validation is made of.
#include "train/folds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <set>

#include "bib/error.h"
#include "bib/train.h"
#include "models/model_file.h"

namespace bib {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Config seeded(std::uint64_t seed) {
  Config config = default_config(Task::tc);
  config.seed = seed;
  return config;
}

std::vector<Document> numbered(int count) {
  std::vector<Document> documents;
  for (int i = 0; i < count; ++i) documents.push_back({.text = "글 " + std::to_string(i)});
  return documents;
}

std::map<int, int> sizes(const Folds& folds) {
  std::map<int, int> count;
  for (const int fold : folds.of_document) ++count[fold];
  return count;
}

TEST(Folds, AreOfOneSizeAndDependOnTheSeedAlone) {
  const std::vector<Document> documents = numbered(103);
  const Folds one = draw_folds(documents, 5, seeded(1)), other = draw_folds(documents, 5, seeded(2));
  for (const auto& [fold, count] : sizes(one)) EXPECT_TRUE(count == 20 || count == 21) << fold << ": " << count;
  EXPECT_EQ(sizes(one).size(), 5u);
  EXPECT_EQ(one.of_document, draw_folds(documents, 5, seeded(1)).of_document);
  EXPECT_NE(one.of_document, other.of_document);
  Config by_split = seeded(1);
  by_split.split_seed = 2;
  EXPECT_EQ(draw_folds(documents, 5, by_split).of_document, other.of_document);
}

TEST(Folds, EqualTextsShareOneHoweverTheyAreAnnotated) {
  std::vector<Document> documents = numbered(40), more = numbered(40);
  for (Document& d : more) d.labels = {"값"};
  documents.insert(documents.end(), more.begin(), more.end());
  const Folds folds = draw_folds(documents, 4, seeded(1));
  for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ(folds.of_document[i], folds.of_document[i + 40]) << i;
  for (const auto& [fold, count] : sizes(folds)) EXPECT_EQ(count, 20) << fold;
}

TEST(Folds, LabelsAreSpreadAndThoseOfOneTextAreTold) {
  std::vector<Document> documents = numbered(200);
  for (std::size_t i = 0; i < 50; ++i) documents[i].labels = {"흔함"};
  for (std::size_t i = 40; i < 45; ++i) documents[i].spans = {{{0, 3}, "드묾"}};  // among the frequent ones
  documents[60].labels = documents[61].labels = {"둘"};
  documents[70].labels = {"하나"};
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Folds folds = draw_folds(documents, 5, seeded(seed));
    std::map<std::string, std::map<int, int>> in_fold;
    for (std::size_t i = 0; i < documents.size(); ++i) {
      for (const std::string& label : documents[i].labels) ++in_fold[label][folds.of_document[i]];
      for (const Span& span : documents[i].spans) ++in_fold[span.label][folds.of_document[i]];
    }
    for (const auto& [fold, count] : in_fold["흔함"]) EXPECT_EQ(count, 10) << seed;
    for (const auto& [fold, count] : in_fold["드묾"]) EXPECT_EQ(count, 1) << seed;
    EXPECT_EQ(in_fold["둘"].size(), 2u) << seed;
    EXPECT_THAT(folds.unseen, ElementsAre("하나"));
    for (const auto& [fold, count] : sizes(folds)) EXPECT_EQ(count, 40) << seed;
  }
}

TEST(Folds, ALabelOfSeveralTextsInOneFoldIsToldToo) {
  std::vector<Document> documents = numbered(20);
  for (Document& d : documents) d.labels = {"하나뿐인 " + d.text};  // by which the folds are drawn
  const Folds before = draw_folds(documents, 5, seeded(1));
  std::size_t other = 1;
  while (before.of_document[other] != before.of_document[0]) ++other;
  documents[0].labels.push_back("둘");
  documents[other].labels.push_back("둘");
  const Folds folds = draw_folds(documents, 5, seeded(1));
  ASSERT_EQ(folds.of_document, before.of_document) << "else nothing is tested";
  EXPECT_THAT(folds.unseen, testing::Contains("둘"));
}

TEST(Folds, NoneIsEmptyAndFewerTextsThanFoldsAreRefused) {
  std::vector<Document> documents = numbered(7);
  documents.insert(documents.end(), 20, documents[0]);
  EXPECT_EQ(sizes(draw_folds(documents, 7, seeded(1))).size(), 7u);
  try {
    draw_folds(documents, 8, seeded(1));
    FAIL() << "27 documents of 7 texts in 8 folds";
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), HasSubstr("7 different texts are too few for 8 folds"));
  }
}

TEST(Folds, AModelInMemoryIsTheFileAndLeavesNothing) {
  const std::filesystem::path folder = testing::TempDir() + "folds_" + std::to_string(getpid());
  std::filesystem::create_directories(folder);
  std::vector<Document> documents = numbered(20);
  for (std::size_t i = 0; i < documents.size(); ++i) documents[i].labels = {i % 2 ? "홀" : "짝"};
  Config config = seeded(1);
  config.epochs = 2, config.filters = 4;
  Context ctx({.threads = 1});
  const std::string path = folder / "model";
  train(ctx, config, documents, {}, {.output = path});
  std::vector<std::byte> memory, of_file(std::filesystem::file_size(path));
  std::FILE* file = std::fopen(path.c_str(), "rb");
  ASSERT_EQ(std::fread(of_file.data(), 1, of_file.size(), file), of_file.size());
  std::fclose(file);
  std::filesystem::remove(path);
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder);
  std::FILE* other = std::fopen(".checkpoint", "wb");  // somebody else's
  std::fclose(other);
  int told = 0;
  TrainOptions options{.memory = &memory, .checkpoint_seconds = 0, .warn = [&](const std::string&) { ++told; }};
  train(ctx, config, documents, {}, options);
  EXPECT_EQ(memory, of_file);
  options.progress = [](const TrainProgress&) { return false; };
  EXPECT_TRUE(train(ctx, config, documents, {}, options).interrupted);
  std::set<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) left.insert(entry.path().filename());
  EXPECT_THAT(left, ElementsAre(".checkpoint"));
  EXPECT_EQ(told, 0);
  EXPECT_THROW(train(ctx, config, documents, {}, {.output = path, .memory = &memory}), std::invalid_argument);
  std::filesystem::current_path(before);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace bib
