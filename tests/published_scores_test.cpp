// Scores that others published, computed again from their own output files.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "train/metrics.h"
#include "train/tag_columns.h"

namespace bib {
namespace {

class PublishedScores : public testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("BIB_DATA");
    if (folder == nullptr) GTEST_SKIP() << "BIB_DATA names no folder of corpora";
    data_ = folder;
  }

  std::string read(const std::string& path) const {
    std::ifstream in(data_ / path, std::ios::binary);
    if (!in) ADD_FAILURE() << "cannot read " << data_ / path;
    std::ostringstream content;
    content << in.rdbuf();
    return content.str();
  }

  static std::string percent(double fraction) {
    char text[16];
    std::snprintf(text, sizeof text, "%.2f", 100 * fraction);
    return text;
  }

  std::filesystem::path data_;
};

TEST_F(PublishedScores, Wnut17Submissions) {
  const auto gold = read_tag_columns(read("wnut17/emerging.test.annotated"), "gold");
  const std::pair<const char*, const char*> published[] = {
      {"uh_ritual", "41.86"}, {"spinningbytes.txt", "40.78"}, {"sjtu_adapt.txt", "40.42"}, {"arcada", "39.98"},
      {"flytxt", "38.35"},    {"mic-cis.txt", "37.06"},       {"drexel_cci", "26.30"}};
  for (const auto& [file, f1] : published) {
    const auto predicted = read_tag_columns(read(std::string("wnut17/submissions/") + file), file);
    EXPECT_EQ(percent(evaluate_ner(gold, predicted, {.bootstrap = {.resamples = 0}}).f1()), f1) << file;
  }
}

TEST_F(PublishedScores, KoreanResultFilesWithUnderscoreTags) {
  const std::pair<const char*, const char*> published[] = {{"jaso_lstm_chars_lstm_lstm_crf_word_dense", "84.33"},
                                                           {"jaso_lstm_lstm_crf_W2V", "86.95"},
                                                           {"jaso_lstm_lstm_crf_fasttext", "87.29"}};
  for (const auto& [file, f1] : published) {
    const std::string content = read(std::string("kmou-ner/ETRI_results/") + file + ".results.txt");
    const auto gold = read_tag_columns(content, file, 1), predicted = read_tag_columns(content, file);
    EXPECT_EQ(percent(evaluate_ner(gold, predicted, {.bootstrap = {.resamples = 0}}).f1()), f1) << file;
  }
}

}  // namespace
}  // namespace bib
