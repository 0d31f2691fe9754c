// Scores that others published, computed again from their own output files.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "train/corpus.h"
#include "train/metrics.h"

namespace bib {
namespace {

class PublishedScores : public testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("BIB_DATA");
    if (folder == nullptr) GTEST_SKIP() << "BIB_DATA names no folder of corpora";
    data_ = folder;
  }

  std::vector<Document> read(const std::string& path, const std::string& tag_column) const {
    return read_corpus((data_ / path).string(), {.format = "conll", .task = Task::ner, .tag_column = tag_column})
        .documents;
  }

  static std::string percent(double fraction) {
    char text[16];
    std::snprintf(text, sizeof text, "%.2f", 100 * fraction);
    return text;
  }

  std::filesystem::path data_;
};

TEST_F(PublishedScores, Wnut17Submissions) {
  const auto gold = read("wnut17/emerging.test.annotated", "last");
  const std::pair<const char*, const char*> published[] = {
      {"uh_ritual", "41.86"}, {"spinningbytes.txt", "40.78"}, {"sjtu_adapt.txt", "40.42"}, {"arcada", "39.98"},
      {"flytxt", "38.35"},    {"mic-cis.txt", "37.06"},       {"drexel_cci", "26.30"}};
  for (const auto& [file, f1] : published) {
    const auto predicted = read(std::string("wnut17/submissions/") + file, "last");
    EXPECT_EQ(percent(evaluate_ner(gold, predicted, {.bootstrap = {.resamples = 0}}).f1()), f1) << file;
  }
}

TEST_F(PublishedScores, KoreanResultFilesWithUnderscoreTags) {
  const std::pair<const char*, const char*> published[] = {{"jaso_lstm_chars_lstm_lstm_crf_word_dense", "84.33"},
                                                           {"jaso_lstm_lstm_crf_W2V", "86.95"},
                                                           {"jaso_lstm_lstm_crf_fasttext", "87.29"}};
  for (const auto& [file, f1] : published) {
    const std::string path = std::string("kmou-ner/ETRI_results/") + file + ".results.txt";
    const auto gold = read(path, "-2"), predicted = read(path, "-1");
    EXPECT_EQ(percent(evaluate_ner(gold, predicted, {.bootstrap = {.resamples = 0}}).f1()), f1) << file;
  }
}

}  // namespace
}  // namespace bib
