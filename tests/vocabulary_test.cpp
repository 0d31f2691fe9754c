// Vocabularies: order, limits, lookup, and what a damaged one in a model file does.
#include "models/vocabulary.h"

#include <gtest/gtest.h>

#include <random>

#include "models/model_file.h"

namespace bib {
namespace {

/// What is stored, read again from bytes.
std::shared_ptr<const ModelFile> stored(const ModelFile& model) {
  const auto bytes = std::make_shared<const std::vector<std::byte>>(encode(model));
  ModelFile read = parse_model(*bytes, "v.bib");
  read.memory.push_back(bytes);
  return std::make_shared<const ModelFile>(std::move(read));
}

TEST(Vocabulary, OrdersByCountThenBytes) {
  WordCounts counts;
  for (const char* word : {"나", "가", "b", "나", "a", "가", "나", "b"}) counts.add(word);
  const Vocabulary v = counts.build();
  ASSERT_EQ(v.size(), 5);
  EXPECT_EQ(v[0], "");
  EXPECT_EQ(v[1], "나");
  EXPECT_EQ(v[2], "b");
  EXPECT_EQ(v[3], "가");
  EXPECT_EQ(v[4], "a");
  EXPECT_EQ(v.count(1), 3);
  EXPECT_EQ(v.id("가"), 3);
  EXPECT_EQ(v.id("다"), unknown_id);
  EXPECT_EQ(v.id(""), unknown_id);
}

TEST(Vocabulary, LimitsCountWhatTheyDrop) {
  WordCounts counts;
  counts.add("many", 10), counts.add("some", 5), counts.add("few", 2), counts.add("once", 1);
  const Vocabulary frequent = counts.build({.min_count = 2});
  EXPECT_EQ(frequent.size(), 4);
  EXPECT_EQ(frequent.count(unknown_id), 1);
  const Vocabulary top = counts.build({.max_size = 1});
  EXPECT_EQ(top.size(), 2);
  EXPECT_EQ(top[1], "many");
  EXPECT_EQ(top.count(unknown_id), 8);
}

TEST(Vocabulary, BuiltOnAnotherKeepsItsIds) {
  WordCounts old, data;
  old.add("나", 3), old.add("가", 2);
  data.add("다", 5), data.add("가", 4), data.add("b", 7), data.add("rare");
  const Vocabulary base = old.build(), v = data.build_on(base, {.min_count = 2});
  ASSERT_EQ(v.size(), 5);
  for (int id = 0; id < base.size(); ++id) EXPECT_EQ(v[id], base[id]);
  EXPECT_EQ(v[3], "b");
  EXPECT_EQ(v[4], "다");
  EXPECT_EQ(v.count(v.id("가")), 6);
  EXPECT_EQ(v.count(v.id("나")), 3);
  EXPECT_EQ(v.count(unknown_id), 1);
  EXPECT_EQ(data.build_on(base, {.max_size = 3}).size(), 4);
  const Vocabulary full = data.build_on(base, {.max_size = 1});
  EXPECT_EQ(full.size(), base.size()) << "what the base has stays";
  EXPECT_EQ(full.count(unknown_id), 13);
}

TEST(Vocabulary, FindsEveryWordAndNoOther) {
  WordCounts counts;
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) counts.add("w" + std::to_string(random() % 12000));
  counts.add(std::string_view("with\0zero", 9));
  counts.add("\xff\xfe");  // not UTF-8
  const Vocabulary built = counts.build();
  ModelFile model;
  built.save(model, "word");
  for (const Vocabulary& v : {built, Vocabulary::load(stored(model), "word")}) {
    for (int id = 1; id < v.size(); ++id) ASSERT_EQ(v.id(std::string(v[id])), id);
    for (int i = 12000; i < 15000; ++i) ASSERT_EQ(v.id("w" + std::to_string(i)), unknown_id);
    EXPECT_NE(v.id(std::string_view("with\0zero", 9)), unknown_id);
    EXPECT_NE(v.id("\xff\xfe"), unknown_id);
  }
}

TEST(Vocabulary, ExtendedKeepsIdsAndAddsTheRest) {
  WordCounts counts;
  counts.add("a", 3), counts.add("b", 2), counts.add("rare", 1);
  const Vocabulary v = counts.build({.min_count = 2});
  const Vocabulary more = v.extended(std::vector<std::string>{"z", "a", "", "rare", "z"});
  ASSERT_EQ(more.size(), 5);
  EXPECT_EQ(more.id("a"), v.id("a"));
  EXPECT_EQ(more.count(1), 3);
  EXPECT_EQ(more.count(unknown_id), 1);
  EXPECT_EQ(more.id("z"), 3);
  EXPECT_EQ(more.id("rare"), 4);
  EXPECT_EQ(more.count(3), 0);
}

TEST(Vocabulary, EmptyOneKnowsNothing) {
  const Vocabulary v;
  EXPECT_EQ(v.size(), 1);
  EXPECT_EQ(v.id("가"), unknown_id);
  ModelFile model;
  v.save(model, "word");
  EXPECT_EQ(Vocabulary::load(stored(model), "word").size(), 1);
}

TEST(Vocabulary, AnInconsistentOneIsRefused) {
  WordCounts counts;
  counts.add("a", 2), counts.add("b");
  const Vocabulary v = counts.build();
  const auto refused = [&](const std::string& part, std::vector<std::int32_t> values) {
    ModelFile model;
    v.save(model, "word");
    model.tensors.erase("word" + part);
    const int n = static_cast<int>(values.size());
    model.add("word" + part, std::move(values), {n});
    const auto file = stored(model);
    EXPECT_THROW(Vocabulary::load(file, "word"), ModelError) << part;
  };
  refused(".slots", {1, 2, 1, 2, 1, 2, 1, 2});        // full: a search would never end
  refused(".slots", {-1, 3, -1, 2, -1, -1, -1, -1});  // id past the end
  refused(".slots", {-1, 1, 2});                      // not a power of two
  refused(".offsets", {0, 0, 2, 1});                  // falling
  refused(".offsets", {0, 0, 1, 99});                 // past the text
  refused(".offsets", {0, 0, 2});                     // too few
  refused(".counts", {});
}

TEST(CodepointVocabulary, LooksUpSyllablesAndRoundTrips) {
  CodepointCounts counts;
  for (char32_t c : std::u32string(U"가나가다가나😀 ")) counts.add(c);
  counts.add(U'라', 1);
  const CodepointVocabulary built = counts.build({.max_size = 5});
  ModelFile model;
  built.save(model, "syllable");
  for (const CodepointVocabulary& v : {built, CodepointVocabulary::load(*stored(model), "syllable")}) {
    ASSERT_EQ(v.size(), 6);
    EXPECT_EQ(v.id(U'가'), 1);
    EXPECT_EQ(v.id(U'나'), 2);
    EXPECT_EQ(v.id(U' '), 3);  // equal counts: by code point
    EXPECT_EQ(v.id(U'다'), 4);
    EXPECT_EQ(v.id(U'라'), 5);
    EXPECT_EQ(v.id(U'😀'), unknown_id);
    EXPECT_EQ(v.id(char32_t{0x110000}), unknown_id);
    EXPECT_EQ(v.id(char32_t{0xFFFFFFFF}), unknown_id);
    EXPECT_EQ(v[1], U'가');
    EXPECT_EQ(v.count(1), 3);
    EXPECT_EQ(v.count(unknown_id), 1);
  }
}

TEST(CodepointVocabulary, RefusesWhatIsNoCodePoint) {
  ModelFile model;
  model.add("s.codepoints", std::vector<std::int32_t>{-1, 0x110000}, {2});
  model.add("s.counts", std::vector<std::int32_t>{0, 1}, {2});
  EXPECT_THROW(CodepointVocabulary::load(*stored(model), "s"), ModelError);
}

TEST(Labels, KeepTheirOrder) {
  const Labels labels({"B-PS", "O", "긍정 \"1\""});
  ModelFile model;
  labels.save(model, "labels");
  const Labels read = Labels::load(*stored(model), "labels");
  EXPECT_EQ(read.names(), labels.names());
  EXPECT_EQ(read.id("O"), 1);
  EXPECT_EQ(read.id("X"), -1);
}

TEST(Labels, RefuseWhatCannotBeToldApart) {
  EXPECT_THROW(Labels({"a", "a"}), std::invalid_argument);
  EXPECT_THROW(Labels({"a", ""}), std::invalid_argument);
  ModelFile model;
  EXPECT_THROW(Labels({"\xff"}).save(model, "labels"), std::invalid_argument);
  for (const char* bad : {"{}", "[1]", "[\"a\",\"a\"]", "", "[[[["}) {
    model.metadata["labels"] = bad;
    EXPECT_THROW(Labels::load(model, "labels"), ModelError) << bad;
  }
  EXPECT_THROW(Labels::load(model, "other"), ModelError);
}

}  // namespace
}  // namespace bib
