// The library in a program of another locale: what it writes and reads is the same.
#include <gtest/gtest.h>

#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <locale>

#include "bib/context.h"
#include "bib/train.h"
#include "models/number.h"

/// setlocale() of glibc 2.36 loses the parts of LOCPATH.
extern "C" __attribute__((visibility("default"))) const char* __lsan_default_suppressions() {
  return "leak:__argz_add_sep\n";
}

namespace bib {
namespace {

TEST(Number, ReadsBackExactly) {
  for (const double x : {0.0, 1.0, -2.5, 0.1, 1e-300, 12345678.9, 1.0 / 3}) {
    const std::string text = exact_text(x) + " 7";
    std::string_view rest = text;
    double again = -1;
    EXPECT_TRUE(take_number(rest, again)) << text;
    EXPECT_EQ(again, x);
    EXPECT_EQ(rest, " 7");
  }
  std::string_view hex = "0x1.8p+3 7";  // %a, as checkpoints of 0.1.0 hold it
  double x = 0;
  EXPECT_TRUE(take_number(hex, x));
  EXPECT_EQ(x, 12);
  EXPECT_EQ(hex, " 7");
  std::string_view none = "x";
  EXPECT_FALSE(take_number(none, x));
  EXPECT_EQ(fixed_text(0.93353549, 6), "0.933535");
}

class Comma : public testing::Test {
 protected:
  /// A locale with a decimal comma, made where none is installed.
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("bib_locale_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    const std::string made = (folder_ / "de_DE.UTF-8").string();
    (void)!std::system(("localedef -i de_DE -f UTF-8 " + made + " > /dev/null 2>&1").c_str());
    setenv("LOCPATH", folder_.c_str(), 1);
    if (!std::setlocale(LC_ALL, "de_DE.UTF-8") || std::localeconv()->decimal_point[0] != ',')
      GTEST_SKIP() << "no locale with a decimal comma, and localedef makes none";
    std::setlocale(LC_ALL, "C");
  }
  void TearDown() override {
    change("C");
    std::filesystem::remove_all(folder_);
  }

  static void change(const char* name) {
    ASSERT_NE(std::setlocale(LC_ALL, name), nullptr);
    std::locale::global(std::locale(name));
  }

  /// Trains and returns the model's bytes; stops after the step given.
  std::string train(const std::string& name, int stop = 0, bool resume = false) {
    Config config = default_config(Task::tc);
    config.epochs = 4, config.batch = 2, config.train_rate = 0.5f, config.filters = 8;
    std::vector<Document> documents;
    for (int i = 0; i < 8; ++i) {
      documents.push_back({.text = "정말 좋아요", .labels = {"긍정"}, .weight = 0.25f});
      documents.push_back({.text = "정말 싫어요", .labels = {"부정"}});  // labels say that it is annotated
    }
    const std::string output = (folder_ / name).string();
    Context ctx({.threads = 1});
    const auto progress = [&](const TrainProgress& p) { return p.step != stop; };
    bib::train(ctx, config, documents, {}, {.output = output, .resume = resume, .progress = progress});
    std::ifstream file(output, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::filesystem::path folder_;
};

TEST_F(Comma, ModelsHaveTheSameBytes) {
  const std::string expected = train("point.bib");
  change("de_DE.UTF-8");
  EXPECT_TRUE(train("comma.bib") == expected);
  EXPECT_EQ(to_toml(from_toml("[train]\nlr = 0.0125\n", "t", default_config(Task::tc))).find("0,0125"),
            std::string::npos);
}

TEST_F(Comma, ACheckpointGoesOnInAnotherLocale) {
  const std::string expected = train("whole.bib");
  change("de_DE.UTF-8");
  train("parts.bib", 7);
  change("C");
  EXPECT_TRUE(train("parts.bib", 0, true) == expected);
}

}  // namespace
}  // namespace bib
