// Text units: whatever the bytes, ranges tile the text and every offset unit finds the same substring.
#include "models/text.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>
#include <random>

namespace bib {
namespace {

const std::string astronaut = "\U0001F469\u200D\U0001F680", nfd_han = "\u1112\u1161\u11AB", nfd_e = "e\u0301";

/// Texts that break naive code, and 300 random mixtures of them.
std::vector<std::string> hostile_texts() {
  const std::vector<std::string> parts{"",
                                       "a",
                                       "서울",
                                       "한국어 처리",
                                       nfd_han + "\u1100\u1173\u11AF",
                                       astronaut,
                                       "\U0001F600",
                                       nfd_e,
                                       "\r\n",
                                       "\n",
                                       "\xEF\xBB\xBF",
                                       "\xFF",
                                       "\xC3",
                                       "\xED\xA0\x80",
                                       "\xF4\x90\x80\x80",
                                       "\xC0\x80",
                                       "\xE2\x82",
                                       std::string(1, '\0'),
                                       "\u3000",
                                       "\u00A0",
                                       "\u0301",
                                       " \u0301",
                                       "\uAC00\u11A8",
                                       "\u1100\u1100\u1161",
                                       "\uF914",
                                       "\u212B",
                                       "ﷺ",
                                       "漢字"};
  std::vector<std::string> texts = parts;
  std::mt19937 random(7);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (int n = 0; n < 8; ++n) text += parts[random() % parts.size()];
    texts.push_back(text);
  }
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (int n = 0; n < 40; ++n) text.push_back(static_cast<char>(random() % 256));
    texts.push_back(text);
  }
  return texts;
}

void expect_tiles(const std::vector<CodePoint>& units, std::size_t size) {
  std::size_t at = 0;
  for (const CodePoint& unit : units) {
    ASSERT_EQ(unit.bytes.begin, at);
    ASSERT_GT(unit.bytes.end, at);
    at = unit.bytes.end;
  }
  ASSERT_EQ(at, size);
}

std::string nfc(const std::string& text) {
  utf8proc_uint8_t* out = nullptr;
  const auto n =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &out, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::string composed(reinterpret_cast<char*>(out), static_cast<std::size_t>(n));
  std::free(out);
  return composed;
}

TEST(Text, CodePointsAndCharactersTileEveryText) {
  for (const std::string& text : hostile_texts()) {
    expect_tiles(decode(text), text.size());
    expect_tiles(characters(text), text.size());
  }
}

TEST(Text, ValidTextSurvivesDecodingAndInvalidBytesAreOneUnitEach) {
  for (const std::string& text : hostile_texts()) {
    std::string again;
    std::size_t first_invalid = std::string::npos;
    for (const CodePoint& c : decode(text)) {
      if (c.value == 0xFFFD && c.bytes.end - c.bytes.begin == 1) first_invalid = std::min(first_invalid, c.bytes.begin);
      append_utf8(again, c.value);
    }
    EXPECT_EQ(find_invalid_utf8(text), first_invalid);
    EXPECT_EQ(is_valid_utf8(text), again == text);
  }
  EXPECT_EQ(decode("a\xED\xA0\x80").size(), 4u) << "a surrogate is three invalid bytes";
  EXPECT_EQ(decode("\xF0\x9F\x98").size(), 3u) << "a code point cut short";
  EXPECT_EQ(decode("\xC0\xAF").size(), 2u) << "an overlong form";
}

TEST(Text, EveryUnitFindsTheSameSubstring) {
  for (const std::string& text : hostile_texts()) {
    for (const OffsetUnit unit : {OffsetUnit::codepoint, OffsetUnit::utf16, OffsetUnit::byte}) {
      const OffsetMap map(text, unit);
      std::size_t expected = 0;  // counted independently of the map
      for (const CodePoint& c : decode(text)) {
        EXPECT_EQ(map.from_byte(c.bytes.begin), expected);
        EXPECT_EQ(map.to_byte(expected), c.bytes.begin);
        expected += unit == OffsetUnit::codepoint ? 1
                    : unit == OffsetUnit::utf16   ? (c.value > 0xFFFF ? 2 : 1)
                                                  : c.bytes.end - c.bytes.begin;
        EXPECT_EQ(map.to_byte(expected), c.bytes.end);
        if (unit != OffsetUnit::byte && c.bytes.end - c.bytes.begin > 1) {
          EXPECT_EQ(map.from_byte(c.bytes.begin + 1), map.from_byte(c.bytes.begin));
        }
      }
      EXPECT_EQ(map.length(), expected);
      EXPECT_EQ(map.from_byte(text.size() + 5), expected);
      EXPECT_EQ(map.to_byte(expected + 5), text.size());
    }
  }
}

TEST(Text, OffsetsAfterAnEmoji) {
  const std::string text = "\U0001F600 서울";
  EXPECT_EQ(OffsetMap(text, OffsetUnit::codepoint).from_byte(5), 2u);
  EXPECT_EQ(OffsetMap(text, OffsetUnit::utf16).from_byte(5), 3u);
  EXPECT_EQ(OffsetMap(text, OffsetUnit::byte).from_byte(5), 5u);
  EXPECT_EQ(OffsetMap(text, OffsetUnit::utf16).to_byte(1), 0u) << "half a surrogate pair";
}

TEST(Text, DecomposedHangulIsOneCharacterPerSyllable) {
  for (char32_t syllable = 0xAC00; syllable <= 0xD7A3; ++syllable) {
    const Jamo j = jamo(syllable);
    std::string text;
    append_utf8(text, 0x1100 + static_cast<char32_t>(j.lead));
    append_utf8(text, 0x1161 + static_cast<char32_t>(j.vowel));
    if (j.tail > 0) append_utf8(text, 0x11A7 + static_cast<char32_t>(j.tail));
    const auto found = characters(text);
    ASSERT_EQ(found.size(), 1u);
    ASSERT_EQ(found[0].value, syllable);
  }
  EXPECT_EQ(jamo('a').lead, -1);
  EXPECT_EQ(jamo(0xD7A4).lead, -1);
  EXPECT_EQ(jamo(0xAC00).tail, 0);
}

TEST(Text, HalfComposedAndOldHangul) {
  ASSERT_EQ(characters("\uAC00\u11A8").size(), 1u);
  EXPECT_EQ(characters("\uAC00\u11A8")[0].value, U'각');
  ASSERT_EQ(characters("\uAC01\u11A8").size(), 2u) << "a syllable with a tail takes no second one";
  ASSERT_EQ(characters("\u1112\u119E\u11AB").size(), 1u) << "arae-a: one character, though nothing composes";
  EXPECT_EQ(characters("\u1112\u119E\u11AB")[0].value, U'\u1112');
  ASSERT_EQ(characters("ㅋㅋ").size(), 2u);
}

TEST(Text, MarksJoinTheirBase) {
  ASSERT_EQ(characters(nfd_e).size(), 1u);
  EXPECT_EQ(characters(nfd_e)[0].value, U'é');
  ASSERT_EQ(characters("a\u0316\u0301").size(), 1u) << "the acute composes across a mark of another class";
  EXPECT_EQ(characters("a\u0316\u0301")[0].value, U'á');
  EXPECT_EQ(characters(" \u0301").size(), 2u) << "a space stays a space";
  EXPECT_EQ(characters("\n\u0301").size(), 2u);
  EXPECT_EQ(characters("\xFF\u0301").size(), 2u);
  ASSERT_EQ(characters("\uF914").size(), 1u);
  EXPECT_EQ(characters("\uF914")[0].value, U'樂') << "Hanja that KS X 1001 lists twice";
}

TEST(Text, CharactersAreTheComposedForm) {
  // For text whose every character composes fully, the values are the NFC text itself.
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    std::string text;
    for (int n = 0; n < 12; ++n) {
      switch (random() % 4) {
        case 0: text += nfd_han; break;
        case 1: text += nfd_e; break;
        case 2: append_utf8(text, 0xAC00 + random() % 11172); break;
        default: append_utf8(text, 'a' + random() % 26);
      }
    }
    std::string composed;
    for (const CodePoint& c : characters(text)) append_utf8(composed, c.value);
    EXPECT_EQ(composed, nfc(text));
  }
}

TEST(Text, EveryCodePointIsItsOwnNfc) {  // the fast path skips utf8proc for whole blocks: none of them may need it
  for (char32_t c = 1; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    const auto found = characters(text);
    ASSERT_EQ(found.size(), 1u);
    ASSERT_EQ(found[0].value, decode(nfc(text))[0].value) << std::hex << static_cast<unsigned>(c);
    const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    const bool mark = category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
    ASSERT_EQ(characters("x" + text).size(), mark ? 1u : 2u) << std::hex << static_cast<unsigned>(c);
  }
}

TEST(Text, ManyMarksAreLinear) {  // utf8proc alone would reorder these for minutes
  std::string text = "a";
  for (int i = 0; i < 200000; ++i) text += i % 2 ? "\u0301" : "\u0316";
  ASSERT_EQ(characters(text).size(), 1u);
  EXPECT_EQ(characters(text)[0].bytes.end, text.size());
}

TEST(Text, ComposedIsNfc) {
  EXPECT_EQ(composed("\u1109\u1165\u110B\u116E\u11AF Cafe\u0301 \u212B"), "서울 Café Å");
  EXPECT_EQ(composed("하\u11AB"), "한");
  EXPECT_EQ(composed("कि का"), "कि का");
  for (const std::string text : {"", "서울 Café 👍🏽",
                                 "\xFF"
                                 "e\u0301",
                                 "\xED\xA0\x80"})
    EXPECT_EQ(composed(text), text);
  std::string marks = "a";  // alternating classes: to put them in order takes time quadratic in their number
  for (int i = 0; i < 1'000'000; ++i) marks += i % 2 ? "\u0301" : "\u0316";
  EXPECT_EQ(composed(marks), marks);
}

TEST(Text, WordsAreRunsWithoutWhiteSpace) {
  const std::string text = " 서울에\t가\u3000나\r\n\u00A0끝";
  std::vector<std::string> found;
  for (const ByteRange& word : words(text)) found.push_back(text.substr(word.begin, word.end - word.begin));
  EXPECT_EQ(found, (std::vector<std::string>{"서울에", "가", "나", "끝"}));
  EXPECT_TRUE(words("").empty());
  EXPECT_TRUE(words(" \t ").empty());
}

TEST(Text, SpaceIsUnicodeWhiteSpace) {
  int count = 0;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) count += is_space(c);
  EXPECT_EQ(count, 25) << "White_Space of the Unicode Character Database";
  EXPECT_FALSE(is_space(0x200B)) << "the zero-width space is a format character";
  EXPECT_FALSE(is_space(0xFEFF));
}

}  // namespace
}  // namespace bib
