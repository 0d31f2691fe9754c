// What a model sees of a text: units, and an id per channel; what is hidden while training.
#include "models/features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/batch.h"

namespace bib {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

Config only(Unit unit) {
  Config c = default_config(Task::ner, unit);
  c.syllable = c.bigram = c.trigram = c.word = c.jamo = c.shape = c.affix = c.characters = 0;
  return c;
}

std::vector<Document> documents(std::initializer_list<const char*> texts) {
  std::vector<Document> list;
  for (const char* text : texts) list.push_back({.text = text});
  return list;
}

std::vector<std::string> units(const Features& features, const std::string& text) {
  std::vector<std::string> found;
  for (const ByteRange r : features.encode({.text = text}).units)
    found.push_back(text.substr(r.begin, r.end - r.begin));
  return found;
}

/// The keys of an open channel, unit by unit; "?" for an unknown one.
std::vector<std::string> keys(const Features& features, int channel, const std::string& text) {
  const EncodedText e = features.encode({.text = text});
  std::vector<std::string> found;
  for (std::size_t i = 0; i < e.units.size(); ++i) {
    const int id = e.ids[static_cast<std::size_t>(channel) * e.units.size() + i];
    found.push_back(id == 0 ? "?" : std::string(features.vocabulary(channel)[id]));
  }
  return found;
}

std::vector<int> ids(const Features& features, const std::string& text) { return features.encode({.text = text}).ids; }

TEST(SyllableFeatures, ANeighbourMayBeASpaceWhichIsNoUnit) {
  Config c = only(Unit::syllable);
  c.syllable = c.bigram = c.trigram = c.word = 1;
  const Features f = Features::build(c, documents({"서울 시"}));
  ASSERT_EQ(f.channels().size(), 4u);
  EXPECT_THAT(units(f, " 서울\t시 "), ElementsAre("서", "울", "시"));
  EXPECT_THAT(keys(f, 0, "서시강"), ElementsAre("서", "시", "?"));
  EXPECT_THAT(keys(f, 1, "서울 시"), ElementsAre("서울", "울 ", "시 "));
  EXPECT_THAT(keys(f, 2, "서울 시"), ElementsAre(" 서울", "서울 ", " 시 "));
  EXPECT_THAT(keys(f, 3, "서울 시"), ElementsAre("서울", "서울", "시"));
  EXPECT_THAT(keys(f, 1, "울서"), ElementsAre("?", "?")) << "another neighbour is another entry";
  EXPECT_THAT(units(f, ""), IsEmpty());
}

TEST(SyllableFeatures, DecomposedHangulLooksLikeComposed) {
  Config c = only(Unit::syllable);
  c.syllable = c.bigram = c.trigram = c.jamo = c.shape = 1;
  const Features f = Features::build(c, documents({"서울 ab1."}));
  const std::string apart = "\xE1\x84\x89\xE1\x85\xA5\xE1\x84\x8B\xE1\x85\xAE\xE1\x86\xAF";
  EXPECT_EQ(ids(f, apart), ids(f, "서울"));
  EXPECT_EQ(units(f, apart).size(), 2u);
}

TEST(SyllableFeatures, JamoAndShape) {
  Config c = only(Unit::syllable);
  c.jamo = 1;
  Features f = Features::build(c, documents({"a"}));
  EXPECT_THAT(ids(f, "각a"), ElementsAre(1, 0, 1, 0, 2, 0)) << "lead, vowel, tail; 0 for what is no Hangul syllable";
  EXPECT_EQ(f.channels()[2].size, 29);
  c.jamo = 0, c.shape = 1;
  f = Features::build(c, documents({"a"}));
  const std::vector<int> shapes = ids(f, "가 나다라 a");
  EXPECT_EQ(shapes[0] % 4, 3) << "a space on both sides";
  EXPECT_EQ(shapes[1] % 4, 2) << "a word begins";
  EXPECT_EQ(shapes[2] % 4, 0);
  EXPECT_EQ(shapes[3] % 4, 1) << "and ends";
  EXPECT_NE(shapes[0] / 4, shapes[4] / 4) << "Hangul and Latin";
}

TEST(SyllableFeatures, DigitsMayLookAlikeAndRareOnesBeUnknown) {
  Config c = only(Unit::syllable);
  c.syllable = 1, c.zero_digits = true;
  EXPECT_THAT(keys(Features::build(c, documents({"7"})), 0, "12"), ElementsAre("0", "0"));
  c.zero_digits = false, c.min_count = 2;
  EXPECT_THAT(keys(Features::build(c, documents({"가나", "가"})), 0, "가나"), ElementsAre("가", "?"));
}

TEST(WordFeatures, PunctuationIsSplitOffAndTokensOfTheFileAreKept) {
  Config c = only(Unit::word);
  c.word = 1;
  const Features f = Features::build(c, documents({"Kim"}));
  EXPECT_THAT(units(f, "\"Kim's\" (U.S.), 3.5%"),
              ElementsAre("\"", "Kim's", "\"", "(", "U.S", ".", ")", ",", "3.5", "%"));
  const Document given{.text = "a.b c", .tokens = {{0, 1}, {1, 3}, {4, 5}}};
  EXPECT_THAT(f.units(given), ElementsAre(ByteRange{0, 1}, ByteRange{1, 3}, ByteRange{4, 5}));
}

TEST(WordFeatures, LowerCaseHidesCapitalsFromTheWordButNotFromTheShape) {
  Config c = only(Unit::word);
  c.word = c.shape = 1, c.lowercase = true, c.zero_digits = true;
  const Features f = Features::build(c, documents({"Kim 1st"}));
  EXPECT_THAT(keys(f, 0, "KIM kim 9st"), ElementsAre("kim", "kim", "0st"));
  const std::vector<int> found = ids(f, "KIM Kim kim");
  EXPECT_NE(found[3], found[4]);
  EXPECT_NE(found[4], found[5]);
}

TEST(WordFeatures, AffixesAndLettersAreCharactersNotBytes) {
  Config c = only(Unit::word);
  c.affix = 1, c.characters = 2;
  const Features f = Features::build(c, documents({"서울시청 ab"}));
  ASSERT_EQ(f.channels().size(), 6u);
  EXPECT_THAT(keys(f, 1, "서울시청"), ElementsAre("서울"));
  EXPECT_THAT(keys(f, 5, "서울시청"), ElementsAre("울시청"));
  EXPECT_THAT(keys(f, 2, "ab"), ElementsAre("ab")) << "a word shorter than the affix is the affix";
  EXPECT_EQ(f.spell("울서x").size(), 3u);
  EXPECT_EQ(f.spell("x"), std::vector<int>{0});
  EXPECT_NE(f.spell("a"), f.spell("b"));
}

TEST(UnknownDropout, HidesEntriesOfOpenChannelsAtItsRate) {
  Config c = only(Unit::syllable);
  c.syllable = 1, c.shape = 1;
  std::string text;
  for (int i = 0; i < 500; ++i) text += "가나";
  const Features f = Features::build(c, documents({text.c_str()}));
  const EncodedText whole = f.encode({.text = text}), none = f.encode({.text = "가"});
  const std::vector<const EncodedText*> texts{&whole, &none};
  const auto batch = [&](float rate, std::uint32_t step) {
    return make_batch(f, texts, true, {.rate = rate, .key = {.seed = 1, .step = step}});
  };
  const Batch plain = batch(0, 0), half = batch(0.5f, 0);
  int hidden = 0;
  for (std::size_t i = 0; i < plain.ids[0].size(); ++i) {
    const bool changed = half.ids[0][i] != plain.ids[0][i];
    hidden += changed;
    if (changed) {
      EXPECT_EQ(half.ids[0][i], 0) << "what is hidden looks unknown";
      EXPECT_GT(plain.ids[0][i], 0) << "padding stays padding";
    }
  }
  EXPECT_NEAR(hidden, 500, 80) << "of 1,001";
  EXPECT_EQ(half.ids[1], plain.ids[1]) << "a shape is never unknown";
  EXPECT_EQ(batch(0.5f, 0).ids[0], half.ids[0]);
  EXPECT_NE(batch(0.5f, 1).ids[0], half.ids[0]) << "another step hides others";
  EXPECT_THAT(batch(1, 0).rows[0].rows, ElementsAre(0)) << "and the unknown row is what is trained";
}

}  // namespace
}  // namespace bib
