// Word vectors: every format, and every way in which a file can be wrong.
#include "models/vectors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>

namespace bib {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string file_of(const std::string& content) {
  const std::string path =
      testing::TempDir() + "vectors_" + testing::UnitTest::GetInstance()->current_test_info()->name() + ".vec";
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

PretrainedVectors read(const std::string& content, const std::vector<std::string>& words, int dimension = 0) {
  return read_vectors(file_of(content), words, dimension);
}

std::string message_of(const std::string& content, const std::vector<std::string>& words, int dimension = 0) {
  try {
    read(content, words, dimension);
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

std::string binary_row(const std::string& word, std::vector<float> values) {
  std::string row = word + " ";
  row.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return row;
}

TEST(Vectors, TextWithAndWithoutHeaderGivesTheSame) {
  const std::string rows = "서울 1 -2.5 3e-1\nthe 0 0 1 \r\n\n부산 4 5 6";
  for (const std::string& content : {rows, "3 3\n" + rows,
                                     "\xEF\xBB\xBF"
                                     "3 3\r\n" +
                                         rows + "\n"}) {
    const PretrainedVectors v = read(content, {"", "부산", "서울", "대구"});
    EXPECT_EQ(v.dimension, 3);
    EXPECT_EQ(v.rows_in_file, 3);
    EXPECT_THAT(v.values, ElementsAre(0, 0, 0, 4, 5, 6, 1, -2.5f, 0.3f, 0, 0, 0));
    EXPECT_THAT(v.found, ElementsAre(0, 1, 1, 0));
  }
}

TEST(Vectors, Word2vecBinaryWithAndWithoutLineEnds) {
  for (const char* end : {"", "\n"}) {
    const PretrainedVectors v =
        read("2 2\n" + binary_row("나", {1, 2}) + end + binary_row("가", {-3, 4}) + end, {"가"});
    EXPECT_EQ(v.rows_in_file, 2);
    EXPECT_THAT(v.values, ElementsAre(-3, 4));
  }
}

TEST(Vectors, CoverageByWordAndByOccurrence) {
  const PretrainedVectors v = read("a 1\nb 2\n", {"", "a", "b", "c", "d"});
  EXPECT_DOUBLE_EQ(v.missing(), 0.5);
  const std::vector<std::int32_t> counts{1000, 6, 3, 1, 0};
  EXPECT_DOUBLE_EQ(v.missing(counts), 0.1);
  EXPECT_DOUBLE_EQ(read("x 1\n", {"a"}).missing(), 1);
  EXPECT_DOUBLE_EQ(read("x 1\n", {""}).missing(), 0);
}

TEST(Vectors, LowerCaseStandsInUntilTheWordItselfComes) {
  const std::vector<std::string> words{"Apple", "APPLE", "ÉTÉ"};
  const PretrainedVectors v = read("apple 1\nété 2\nApple 3\n", words);
  EXPECT_THAT(v.values, ElementsAre(3, 1, 2));
  EXPECT_THAT(v.found, ElementsAre(1, 2, 2));
  EXPECT_THAT(read("Apple 3\napple 1\n", words).values, ElementsAre(3, 1, 0));
}

TEST(Vectors, ExtraWordsFollowInTheOrderOfTheFile) {
  const std::string path = file_of("c 3\na 1\nX 9\nc 4\nb 2\nd 5\n");
  const std::vector<std::string> words{"", "a"};
  const PretrainedVectors v =
      read_vectors(path, words, 0, {.limit = 2, .wanted = [](std::string_view w) { return w != "X"; }});
  EXPECT_THAT(v.extra, ElementsAre("c", "b"));
  EXPECT_THAT(v.values, ElementsAre(0, 1, 3, 2));
  EXPECT_THAT(v.found, ElementsAre(0, 1));
  EXPECT_THAT(read_vectors(path, words).extra, testing::IsEmpty());
}

TEST(Vectors, TheFirstOfRepeatedWordsCounts) { EXPECT_THAT(read("a 1\na 2\n", {"a"}).values, ElementsAre(1)); }

TEST(Vectors, WordsMayHoldSpaces) {
  const PretrainedVectors v = read("the 1 2\n. . . 3 4\nat a@b.c 5 6\n", {". . .", "at a@b.c"});
  EXPECT_THAT(v.values, ElementsAre(3, 4, 5, 6));
}

TEST(Vectors, WrongNumbersAreNamedWithTheirLine) {
  EXPECT_THAT(message_of("a 1 2\nb nan 2\n", {"b"}), HasSubstr(".vec:2: 'nan' at number 1 of 'b' is not a finite"));
  EXPECT_THAT(message_of("a 1 2\nb 1 inf\n", {"b"}), HasSubstr(".vec:2: 'inf' at number 2"));
  EXPECT_THAT(message_of("a 1 2\nb 1 1e99\n", {"b"}), HasSubstr("1e99"));
  EXPECT_THAT(message_of("a 1 2\nb 1 x\n", {"b"}), HasSubstr("'x' at number 2"));
  EXPECT_EQ(message_of("a 1 2\nb nan 2\n", {"a"}), "accepted") << "rows that are not kept are not parsed";
}

TEST(Vectors, WrongDimensionIsNamedWithItsLine) {
  EXPECT_THAT(message_of("a 1 2\nb 1\n", {}), HasSubstr(".vec:2: a word and 1 numbers, expected 2 numbers"));
  EXPECT_THAT(message_of("a 1 2\nb 1 2 3\n", {}), HasSubstr(".vec:2: more than the 2 numbers"));
  EXPECT_THAT(message_of("2 3\na 1 2 3\nb 1 2\n", {}), HasSubstr(".vec:3: a word and 2 numbers"));
  EXPECT_THAT(message_of("a 1 2\n", {}, 300), HasSubstr("dimension 2, expected 300"));
}

TEST(Vectors, WrongRowCountIsNamed) {
  EXPECT_THAT(message_of("3 1\na 1\nb 2\n", {}), HasSubstr("promises 3 rows, it has 2"));
  EXPECT_THAT(message_of("1 1\na 1\nb 2\n", {}), HasSubstr("promises 1 rows, it has 2"));
  const std::string binary = "3 2\n" + binary_row("나", {1, 2}) + binary_row("가", {-3, 4});
  EXPECT_THAT(message_of(binary, {}), HasSubstr("ends inside row 3 of 3"));
  EXPECT_THAT(message_of(binary.substr(0, binary.size() - 1), {}), HasSubstr("ends inside row 2 of 3"));
  EXPECT_THAT(message_of("1" + binary.substr(1), {}), HasSubstr("more bytes than the 1 rows"));
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_THAT(message_of("1 2\n" + binary_row("가", {0, infinity}), {"가"}), HasSubstr("row 1 ('가') holds"));
}

TEST(Vectors, OtherFilesAreTold) {
  EXPECT_THAT(message_of("", {}), HasSubstr("the file is empty"));
  EXPECT_THAT(message_of("\n", {}), HasSubstr("no file of word vectors"));
  EXPECT_THAT(message_of("word\n", {}), HasSubstr("no file of word vectors"));
  EXPECT_THAT(message_of("5 0\n", {}), HasSubstr("no file of word vectors"));
  EXPECT_THAT(message_of("\xBA\x16\x4F\x2F rest", {}), HasSubstr("give the .vec file"));
  EXPECT_THAT(message_of("\x1F\x8B\x08\x08 rest", {}), HasSubstr("gunzip"));
  EXPECT_THAT(message_of("PK\x03\x04 rest", {}), HasSubstr("unzip"));
  EXPECT_THROW(read_vectors("/nonexistent/x.vec", std::vector<std::string>{}), DataError);
}

}  // namespace
}  // namespace bib
