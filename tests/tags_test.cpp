// Tag schemes: encode, decode and the transition tables define the same language.
#include "models/tags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace bib {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Scheme schemes[] = {Scheme::iob1, Scheme::iob2, Scheme::bioes, Scheme::bilou};

std::vector<UnitSpan> random_spans(std::mt19937& random, int count, int labels) {
  std::vector<UnitSpan> spans;
  for (int at = 0; at < count;) {
    const int length = 1 + static_cast<int>(random() % 3);
    if (random() % 3 != 0 && at + length <= count)
      spans.push_back({at, at + length, static_cast<int>(random()) & (labels - 1)});
    at += length;
  }
  return spans;
}

TEST(Tags, DecodeUndoesEncode) {
  std::mt19937 random(5);
  for (const Scheme scheme : schemes) {
    const TagSet set({"LC", "PS"}, scheme);
    for (int i = 0; i < 500; ++i) {
      const int count = static_cast<int>(random() % 12);
      const auto spans = random_spans(random, count, 2);
      EXPECT_EQ(set.decode(set.encode(count, spans)), spans) << scheme_name(scheme);
    }
  }
}

/// Every tag sequence of length 4: the tables accept it exactly when it is what encode writes.
TEST(Tags, TransitionTablesAcceptExactlyTheEncodings) {
  constexpr int length = 4;
  for (const Scheme scheme : schemes) {
    const TagSet set({"A", "B"}, scheme);
    const int K = set.size();
    int total = 1, legal = 0;
    for (int i = 0; i < length; ++i) total *= K;
    for (int code = 0; code < total; ++code) {
      std::vector<int> tags;
      for (int i = 0, rest = code; i < length; ++i, rest /= K) tags.push_back(rest % K);
      bool accepted = set.may_begin(tags.front()) && set.may_end(tags.back());
      for (int i = 1; i < length; ++i) accepted = accepted && set.may_follow(tags[i - 1], tags[i]);
      ASSERT_EQ(accepted, set.encode(length, set.decode(tags)) == tags) << scheme_name(scheme) << " " << code;
      legal += accepted;
    }
    EXPECT_GT(legal, 100);
  }
}

TEST(Tags, NamesAndLetters) {
  const auto names = [](Scheme scheme) {
    const TagSet set({"LC", "PS"}, scheme);
    std::string all;
    for (int tag = 0; tag < set.size(); ++tag) all += set.name(tag) + " ";
    return all;
  };
  EXPECT_EQ(names(Scheme::iob2), "O B-LC I-LC B-PS I-PS ");
  EXPECT_EQ(names(Scheme::bioes), "O B-LC I-LC E-LC S-LC B-PS I-PS E-PS S-PS ");
  EXPECT_EQ(names(Scheme::bilou), "O B-LC I-LC L-LC U-LC B-PS I-PS L-PS U-PS ");
  EXPECT_THROW(TagSet({"A", "A"}, Scheme::iob2), std::invalid_argument);
  EXPECT_THROW(TagSet({""}, Scheme::iob2), std::invalid_argument);
  EXPECT_THROW(TagSet({"A"}, Scheme::iob2).encode(2, std::vector<UnitSpan>{{0, 3, 0}}), std::invalid_argument);
  EXPECT_THROW(TagSet({"A"}, Scheme::iob2).encode(2, std::vector<UnitSpan>{{0, 2, 0}, {1, 2, 0}}),
               std::invalid_argument);
}

TEST(Tags, ExtendIsTheTagThatGoesOn) {
  const TagSet iob2({"LC", "PS"}, Scheme::iob2), bioes({"LC", "PS"}, Scheme::bioes);
  EXPECT_EQ(iob2.extend(0), -1);
  EXPECT_EQ(iob2.extend(1), 2);
  EXPECT_EQ(iob2.extend(2), 2);
  EXPECT_EQ(iob2.extend(3), 4);
  for (int tag = 0; tag < bioes.size(); ++tag) EXPECT_EQ(bioes.extend(tag), -1) << "E and S end an entity themselves";
}

/// Malformed sequences, read as seqeval's default mode reads them.
TEST(Tags, TouchingIsTheFirstTagBehindAnEntityOfTheSameLabel) {
  for (const Scheme scheme : {Scheme::iob1, Scheme::iob2, Scheme::bioes, Scheme::bilou}) {
    const TagSet tags({"LC", "PS"}, scheme);
    for (const int length : {1, 3}) {
      const UnitSpan alone{0, length, 1}, both[] = {{0, 2, 1}, {2, 2 + length, 1}};
      EXPECT_EQ(tags.touching(tags.encode(length, std::span(&alone, 1))[0]), tags.encode(2 + length, both)[2]);
    }
  }
}

TEST(Tags, MalformedSequences) {
  const TagSet set({"A", "B"}, Scheme::bioes);
  const auto decode = [&](std::initializer_list<const char*> names) {
    std::vector<int> tags;
    for (const char* name : names)
      for (int tag = 0; tag < set.size(); ++tag)
        if (set.name(tag) == name) tags.push_back(tag);
    EXPECT_EQ(tags.size(), names.size());
    return set.decode(tags);
  };
  using U = UnitSpan;
  EXPECT_THAT(decode({"I-A", "I-A", "O"}), ElementsAre(U{0, 2, 0}));
  EXPECT_THAT(decode({"B-A", "I-B", "O"}), ElementsAre(U{0, 1, 0}, U{1, 2, 1}));
  EXPECT_THAT(decode({"B-A", "I-A", "I-B", "I-B"}), ElementsAre(U{0, 2, 0}, U{2, 4, 1}));
  EXPECT_THAT(decode({"O", "I-A", "B-A"}), ElementsAre(U{1, 2, 0}, U{2, 3, 0}));
  EXPECT_THAT(decode({"B-A", "O", "I-A"}), ElementsAre(U{0, 1, 0}, U{2, 3, 0}));
  EXPECT_THAT(decode({"I-A", "B-B", "I-B"}), ElementsAre(U{0, 1, 0}, U{1, 3, 1}));
  EXPECT_THAT(decode({"S-A", "E-A"}), ElementsAre(U{0, 1, 0}, U{1, 2, 0}));
  EXPECT_THAT(decode({"B-A", "I-A", "B-A", "E-A"}), ElementsAre(U{0, 2, 0}, U{2, 4, 0}));
  EXPECT_THAT(decode({"B-A", "E-A", "I-A"}), ElementsAre(U{0, 2, 0}, U{2, 3, 0}));
  EXPECT_THAT(decode({"E-A", "E-A"}), ElementsAre(U{0, 1, 0}, U{1, 2, 0}));
  EXPECT_THAT(decode({"S-A", "S-A"}), ElementsAre(U{0, 1, 0}, U{1, 2, 0}));
  EXPECT_THAT(decode({"B-A", "S-B", "E-A"}), ElementsAre(U{0, 1, 0}, U{1, 2, 1}, U{2, 3, 0}));
  EXPECT_THAT(set.decode(std::vector<int>{-1, 99}), IsEmpty());
}

TEST(Tags, ParseTag) {
  const auto is = [](std::string_view tag, char letter, std::string_view label) {
    const FileTag found = parse_tag(tag);
    EXPECT_EQ(found.letter, letter) << tag;
    EXPECT_EQ(found.label, label) << tag;
  };
  is("O", 'O', "");
  is("-", 'O', "");
  is("B-PS", 'B', "PS");
  is("B_PS", 'B', "PS");
  is("I", 'I', "");
  EXPECT_EQ(parse_tag("I", "PS").label, "PS");
  EXPECT_EQ(parse_tag("B", "PS").label, "") << "it begins another entity, whose label nothing tells";
  is("L-PS", 'E', "PS");
  is("U-PS", 'S', "PS");
  is("LOC_B", 'B', "LOC");
  is("B-creative-work", 'B', "creative-work");
  is("I-PS_NAME", 'I', "PS_NAME");
  is("NN", 0, "");
  is("", 0, "");
  is("B-", 0, "");
  is("NNP", 0, "");
  is("I-B", 'I', "B");
}

TEST(Tags, FlattenNested) {
  const std::vector<Span> spans{{{0, 9}, "AM"}, {{0, 3}, "AM"}, {{4, 9}, "PT"}, {{12, 15}, "CV"}, {{12, 15}, "OG"}};
  EXPECT_THAT(flatten(spans, Nested::outermost).kept, ElementsAre(spans[0], spans[3]));
  EXPECT_THAT(flatten(spans, Nested::outermost).dropped, ElementsAre(spans[1], spans[2], spans[4]));
  EXPECT_THAT(flatten(spans, Nested::innermost).kept, ElementsAre(spans[1], spans[2], spans[4]));
  EXPECT_THAT(flatten(spans, Nested::innermost).dropped, ElementsAre(spans[0], spans[3]));
  EXPECT_THAT(flatten(spans, Nested::all).kept, testing::ElementsAreArray(spans));
  const std::vector<Span> crossing{{{0, 5}, "A"}, {{3, 10}, "B"}, {{10, 12}, "C"}};
  EXPECT_THAT(flatten(crossing, Nested::outermost).kept, ElementsAre(crossing[1], crossing[2]));
  EXPECT_THAT(flatten(crossing, Nested::innermost).kept, ElementsAre(crossing[1], crossing[2]));
}

TEST(Tags, FlattenNeverOverlapsAndLosesNothing) {
  std::mt19937 random(11);
  for (int i = 0; i < 300; ++i) {
    std::vector<Span> spans;
    for (int n = 0; n < 8; ++n) {
      const std::size_t begin = random() % 20;
      spans.push_back({{begin, begin + 1 + random() % 6}, std::string(1, static_cast<char>('A' + random() % 2))});
    }
    for (const Nested nested : {Nested::outermost, Nested::innermost}) {
      const FlatSpans flat = flatten(spans, nested);
      EXPECT_EQ(flat.kept.size() + flat.dropped.size(), spans.size());
      for (std::size_t k = 1; k < flat.kept.size(); ++k) EXPECT_LE(flat.kept[k - 1].end, flat.kept[k].begin);
    }
  }
}

TEST(Tags, AlignSpansToUnits) {
  // Words of a Korean sentence with particles: the name ends inside the word.
  const std::vector<ByteRange> words{{0, 9}, {10, 16}, {17, 20}};
  const TagSet set({"LC", "PS"}, Scheme::iob2);
  const std::vector<Span> inside{{{0, 6}, "LC"}}, across{{{3, 20}, "PS"}}, exact{{{0, 16}, "PS"}};

  TaggedUnits out = tag_units(words, exact, set, Align::strict);
  EXPECT_THAT(out.tags, ElementsAre(3, 4, 0));
  out = tag_units(words, inside, set, Align::strict);
  EXPECT_THAT(out.tags, ElementsAre(-1, 0, 0)) << "what is not known is not O";
  EXPECT_THAT(out.misaligned, ElementsAre(0u));
  out = tag_units(words, inside, set, Align::expand);
  EXPECT_THAT(out.tags, ElementsAre(1, 0, 0));
  EXPECT_THAT(out.moved, ElementsAre(0u));
  out = tag_units(words, inside, set, Align::contract);
  EXPECT_THAT(out.tags, ElementsAre(-1, 0, 0));
  EXPECT_THAT(out.misaligned, ElementsAre(0u));
  out = tag_units(words, across, set, Align::contract);
  EXPECT_THAT(out.tags, ElementsAre(0, 3, 4));
  EXPECT_THAT(out.moved, ElementsAre(0u));
}

TEST(Tags, WhatDoesNotFitIsReported) {
  const std::vector<ByteRange> units{{0, 1}, {1, 2}, {2, 3}, {3, 4}};
  const TagSet set({"A"}, Scheme::iob2);
  const std::vector<Span> spans{{{0, 2}, "A"}, {{1, 3}, "A"}, {{3, 4}, "Z"}};
  const TaggedUnits out = tag_units(units, spans, set, Align::strict);
  EXPECT_THAT(out.tags, ElementsAre(1, 2, -1, -1));
  EXPECT_THAT(out.overlapping, ElementsAre(1u));
  EXPECT_THAT(out.unknown, ElementsAre(2u));
  const std::vector<Span> outside{{{10, 12}, "A"}};
  EXPECT_THAT(tag_units(units, outside, set, Align::expand).misaligned, ElementsAre(0u));
  EXPECT_THAT(tag_units({}, spans, set, Align::expand).misaligned, ElementsAre(0u, 1u));
}

TEST(Tags, UntagGivesBytes) {
  const std::vector<ByteRange> units{{0, 3}, {3, 6}, {7, 10}};
  const TagSet set({"PS"}, Scheme::iob2);
  EXPECT_THAT(untag_units(units, std::vector<int>{1, 2, 1}, set), ElementsAre(Span{{0, 6}, "PS"}, Span{{7, 10}, "PS"}));
}

}  // namespace
}  // namespace bib
