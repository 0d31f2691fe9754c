// Result files in columns, as written by many tools.
#include "train/tag_columns.h"

#include <gtest/gtest.h>

#include "bib/error.h"

namespace bib {
namespace {

std::string error_of(std::string_view content, std::size_t from_end = 0) {
  try {
    read_tag_columns(content, "f.txt", from_end);
  } catch (const DataError& e) {
    return e.what();
  }
  return "";
}

TEST(TagColumns, BlankAndDocstartLinesSeparate) {
  const auto documents = read_tag_columns("-DOCSTART- -X- O\n\nSeoul B-LC\nis O\n\n\n \nJim B-PS", "f.txt");
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].text, "Seoul is");
  EXPECT_EQ(documents[0].tokens, (std::vector<ByteRange>{{0, 5}, {6, 8}}));
  EXPECT_EQ(documents[0].tags, (std::vector<std::string>{"B-LC", "O"}));
  EXPECT_EQ(documents[0].line, 3u);
  EXPECT_EQ(documents[1].line, 8u);
  EXPECT_TRUE(documents[1].annotated);
}

TEST(TagColumns, CrlfTabsAndByteOrderMark) {
  const auto documents = read_tag_columns("\xEF\xBB\xBFSeoul\tB-LC\r\nis\tO\r\n\r\n", "f.txt");
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].text, "Seoul is");
  EXPECT_EQ(documents[0].tags.back(), "O");
}

TEST(TagColumns, ABlankCanBeAToken) {
  const auto documents = read_tag_columns("서\tB-LC\n울\tI-LC\n \tO\n길\tO\n", "f.txt");
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].text, "서울 길");
  EXPECT_EQ(documents[0].tokens.size(), 4u);
}

TEST(TagColumns, GoldAndPredictedInOneFile) {
  const std::string_view file = "Seoul NNP B-LC O\nis VBZ O B-PS\n";
  EXPECT_EQ(count_tag_columns(file), 4u);
  EXPECT_EQ(read_tag_columns(file, "f.txt", 1)[0].tags, (std::vector<std::string>{"B-LC", "O"}));
  EXPECT_EQ(read_tag_columns(file, "f.txt", 0)[0].tags, (std::vector<std::string>{"O", "B-PS"}));
}

TEST(TagColumns, WrongLinesAreNamed) {
  EXPECT_EQ(error_of("a O\nb\n"), "f.txt:2: 1 column, expected at least 2 (a token and its tags)");
  EXPECT_EQ(error_of("a O\n\nb X O\n"), "f.txt:3: 3 columns, expected 2 as in line 1");
  EXPECT_EQ(count_tag_columns("\n\n"), 0u);
  EXPECT_TRUE(read_tag_columns("", "f.txt").empty());
}

}  // namespace
}  // namespace bib
