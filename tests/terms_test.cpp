// Terms in texts: what counts as equal, where a term may stand, and the trie against a search of all places.
#include "models/terms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bib/random.h"
#include "models/text.h"
#include "tests/maker.h"

namespace bib {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// Units as a syllable model has them, or words between spaces.
std::vector<ByteRange> units_of(const Config& config, const std::string& text) {
  if (config.unit == Unit::word) return words(text);
  std::vector<ByteRange> units;
  for (const CodePoint& c : characters(text))
    if (!is_space(c.value)) units.push_back(c.bytes);
  return units;
}

/// The terms of a text, as the bytes that they cover.
std::vector<std::string> found(const std::vector<std::string>& terms, const std::string& text,
                               const Config& config = default_config(Task::ner)) {
  TermTrie trie;
  for (const std::string& term : terms) trie.add(term_units(config, term, units_of(config, term)));
  const std::vector<ByteRange> units = units_of(config, text);
  std::vector<std::string> out;
  for (const TermMatch& m : trie.find(term_units(config, text, units))) {
    const std::size_t begin = units[static_cast<std::size_t>(m.begin)].begin;
    out.push_back(text.substr(begin, units[static_cast<std::size_t>(m.end) - 1].end - begin));
  }
  return out;
}

TEST(Terms, StandWithinAWord) {
  EXPECT_THAT(found({"서울", "김민수"}, "서울에 사는 김민수는"), ElementsAre("서울", "김민수"));
  EXPECT_THAT(found({"3월"}, "13월 3월에"), ElementsAre("3월")) << "a number is whole";
  EXPECT_THAT(found({"ai", "Ai"}, "said ai AI Air 한ai는"), ElementsAre("ai", "ai")) << "and so is a word";
  EXPECT_THAT(found({"но"}, "окно но"), ElementsAre("но"));
  EXPECT_THAT(found({"C++"}, "C++17 C++"), ElementsAre("C++", "C++")) << "a plus holds nothing together";
}

TEST(Terms, TheLongestOfThoseThatBeginFirst) {
  EXPECT_THAT(found({"서울", "서울대", "대학교", "서울대학교"}, "서울대학교"), ElementsAre("서울대학교"));
  EXPECT_THAT(found({"서울대", "대학교"}, "서울대학교"), ElementsAre("서울대"));
  EXPECT_THAT(found({"서울", "서울대학교"}, "서울대학생"), ElementsAre("서울"));
  EXPECT_THAT(found({"가"}, "가가가"), ElementsAre("가", "가", "가"));
}

TEST(Terms, WhiteSpaceIsPartOfTheTerm) {
  EXPECT_THAT(found({"이서"}, "나이 서울 이서"), ElementsAre("이서"));
  EXPECT_THAT(found({"서울 시청"}, "서울시청 서울 시청 서울\t\n시청"), ElementsAre("서울 시청", "서울\t\n시청"));
}

TEST(Terms, SpellingsOfTheSameTextAreEqual) {
  const std::string nfd = "\u1109\u1165\u110B\u116E\u11AF", accent = "Cafe\u0301";
  EXPECT_THAT(found({"서울"}, nfd + "에"), ElementsAre(nfd));
  EXPECT_THAT(found({nfd}, "서울에"), ElementsAre("서울"));
  EXPECT_THAT(found({"Café"}, accent), ElementsAre(accent));
  EXPECT_THAT(found({"कि"}, "का"), IsEmpty()) << "other marks are another text";
  EXPECT_THAT(found({"👍🏽"}, "좋다👍🏽!"), ElementsAre("👍🏽"));
}

TEST(Terms, BytesThatAreNoTextAreEqualToThemselves) {
  EXPECT_THAT(found({"서울"}, "\xFF서울\xED\xA0"), ElementsAre("서울"));
  EXPECT_THAT(found({"\xFF"}, "\xFE\xFF"), ElementsAre("\xFF"));
}

TEST(Terms, OfWordsAreWholeWords) {
  Config config = default_config(Task::ner, Unit::word);
  EXPECT_THAT(found({"New York"}, "New York New Yorker new york", config), ElementsAre("New York"));
  config.lowercase = true;
  EXPECT_THAT(found({"New York"}, "NEW  york", config), ElementsAre("NEW  york"));
}

TEST(Terms, EqualOnesHaveOneNumber) {
  TermTrie trie;
  const Config config = default_config(Task::ner);
  const auto add = [&](const std::string& term) { return trie.add(term_units(config, term, units_of(config, term))); };
  EXPECT_EQ(add("서울"), 0);
  EXPECT_EQ(add("서울시"), 1);
  EXPECT_EQ(add("\u1109\u1165\u110B\u116E\u11AF"), 0);
  EXPECT_EQ(add("서 울"), 2);
  EXPECT_EQ(trie.size(), 3);
}

/// Random terms and texts over a few units, against looking for every term at every place.
TEST(Terms, AsASearchOfAllPlaces) {
  std::uint64_t draws = 0;
  const RandomKey key{.seed = test::test_seed()};
  const auto below = [&](int n) { return static_cast<int>(random_word(key, draws++) % static_cast<unsigned>(n)); };
  const auto units = [&](int n) {
    std::vector<TermUnit> out;
    for (int i = 0; i < n; ++i) {
      const bool spaced = i > 0 && below(6) == 0;
      out.push_back({std::string(1, static_cast<char>('a' + below(3))), spaced, i > 0 && !spaced && below(4) == 0});
    }
    return out;
  };
  for (int round = 0; round < 300; ++round) {
    TermTrie trie;
    std::vector<std::vector<TermUnit>> terms;
    for (int i = below(2000); i >= 0; --i) {
      const std::vector<TermUnit> term = units(1 + below(7));
      if (trie.add(term) == static_cast<int>(terms.size())) terms.push_back(term);
    }
    const std::vector<TermUnit> text = units(below(40));
    std::vector<TermMatch> expected;
    const int n = static_cast<int>(text.size());
    const auto stands = [&](const std::vector<TermUnit>& term, int at) {
      const int end = at + static_cast<int>(term.size());
      if (end > n || text[static_cast<std::size_t>(at)].joined) return false;
      if (end < n && text[static_cast<std::size_t>(end)].joined) return false;
      for (std::size_t i = 0; i < term.size(); ++i) {
        const TermUnit& unit = text[static_cast<std::size_t>(at) + i];
        if (unit.key != term[i].key || (i > 0 && unit.spaced != term[i].spaced)) return false;
      }
      return true;
    };
    for (int at = 0; at < n;) {
      TermMatch best{at, at, -1};
      for (std::size_t i = 0; i < terms.size(); ++i) {
        const int end = at + static_cast<int>(terms[i].size());
        if (end > best.end && stands(terms[i], at)) best = {at, end, static_cast<int>(i)};
      }
      if (best.term >= 0) expected.push_back(best);
      at = std::max(at + 1, best.end);
    }
    ASSERT_EQ(trie.find(text), expected) << "round " << round;
  }
}

}  // namespace
}  // namespace bib
