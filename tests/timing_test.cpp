// The statistics behind `bib bench`, the made-up corpus, the advice that --device auto reads. Nothing here is timed.
#include "train/timing.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "train/advice.h"
#include "train/machine.h"

namespace bib {
namespace {

TEST(Timing, MedianAndSpread) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({5}), 5);
  EXPECT_EQ(spread({10, 10, 10}), 0);
  EXPECT_DOUBLE_EQ(spread({8, 9, 10, 11, 100}), 0.1);  // one outlier is no spread
}

TEST(Timing, MannWhitneyIsExact) {
  // 2 / C(10,5) when all of one come before all of the other.
  EXPECT_NEAR(mann_whitney_p({1, 2, 3, 4, 5}, {6, 7, 8, 9, 10}), 2.0 / 252, 1e-12);
  EXPECT_NEAR(mann_whitney_p({6, 7, 8, 9, 10}, {1, 2, 3, 4, 5}), 2.0 / 252, 1e-12);
  // n = m = 3: U = 1 in one order, U = 0 in one, of 20.
  EXPECT_NEAR(mann_whitney_p({1, 2, 4}, {3, 5, 6}), 2 * 2.0 / 20, 1e-12);
  EXPECT_EQ(mann_whitney_p({1, 1, 1}, {1, 1, 1}), 1);
  EXPECT_EQ(mann_whitney_p({1}, {2}), 1);
}

TEST(Timing, MadeUpDocumentsAreWholeAndTheSameEveryTime) {
  const std::vector<Document> ner = made_up_documents(Task::ner, 50), tc = made_up_documents(Task::tc, 8);
  ASSERT_EQ(ner.size(), 50u);
  for (const Document& d : ner) {
    ASSERT_EQ(d.spans.size(), 1u);
    const std::string entity = d.text.substr(d.spans[0].begin, d.spans[0].end - d.spans[0].begin);
    EXPECT_GE(entity.size(), 9u) << d.text;  // three syllables
    EXPECT_EQ(entity.front() & 0xF0, 0xE0) << "begins inside a syllable";
  }
  for (const Document& d : tc) EXPECT_EQ(d.labels.size(), 1u);
  EXPECT_EQ(made_up_documents(Task::ner, 50)[49].text, ner[49].text);
}

class AdviceFile : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_ = std::filesystem::temp_directory_path() / ("bib_advice." + std::to_string(getpid()));
  std::string path_ = (folder_ / "bib" / "advice.json").string();
};

TEST_F(AdviceFile, IsKeptPerMachine) {
  EXPECT_FALSE(read_advice(path_, "a"));
  write_advice(path_, {.machine = "a", .many_texts = "cuda", .crossover = 16, .verdict = "v"});
  write_advice(path_, {.machine = "b", .verdict = "w"});
  const std::optional<Advice> a = read_advice(path_, "a"), b = read_advice(path_, "b");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->many_texts, "cuda");
  EXPECT_EQ(a->crossover, 16);
  EXPECT_EQ(b->many_texts, "cpu");
  EXPECT_FALSE(read_advice(path_, "c"));
}

TEST_F(AdviceFile, DamageIsNoAdvice) {
  std::filesystem::create_directories(folder_ / "bib");
  for (const char* damage : {"", "{", "[]", "{\"a\": 1}", "{\"a\": {\"one_text\": 3}}"}) {
    std::ofstream(path_) << damage;
    EXPECT_FALSE(read_advice(path_, "a")) << damage;
  }
  write_advice(path_, {.machine = "a", .verdict = "v"});
  EXPECT_TRUE(read_advice(path_, "a"));
}

TEST(Machine, IsTheSameAskedTwice) {
  EXPECT_EQ(fingerprint(this_machine()), fingerprint(this_machine()));
  EXPECT_FALSE(this_machine().cpu.empty());
  EXPECT_GT(process_memory().now, 0u);
  EXPECT_GE(process_memory().peak, process_memory().now);
}

}  // namespace
}  // namespace bib
