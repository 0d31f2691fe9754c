// Writers: what a format can hold comes back exactly; what it cannot is named, never lost in silence.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <sstream>

#include "tests/corpus_fixtures.h"

namespace bib {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Written {
  std::string text;
  std::vector<std::string> findings;
};

Written write(const std::vector<Document>& documents, const WriteOptions& options) {
  std::ostringstream out;
  Written written;
  for (const Diagnostic& d : write_corpus(out, documents, options)) written.findings.push_back(to_text(d));
  written.text = out.str();
  return written;
}

std::string refusal(const std::vector<Document>& documents, const WriteOptions& options) {
  try {
    write(documents, options);
  } catch (const DataError& e) {
    return e.what();
  }
  return "no refusal";
}

const std::vector<std::string> words_of_texts{"서울", "a",   "\U0001F600", "“인용”", "e\u0301", "\u1112\u1161\u11AB",
                                              "10%",  "C++", "#",          "O",      "한국은행"};

/// Words joined by blanks, entities over whole words.
std::vector<Document> random_entities(unsigned seed, bool nested) {
  std::mt19937 random(seed);
  std::vector<Document> documents;
  for (std::size_t n = 0; n < 60; ++n) {
    Document d{.annotated = true, .line = n + 1};
    const std::size_t count = 1 + random() % 8;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) d.text += ' ';
      const std::size_t begin = d.text.size();
      d.text += words_of_texts[random() % words_of_texts.size()];
      d.tokens.push_back({begin, d.text.size()});
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (random() % 2) continue;
      const std::size_t last = std::min(count - 1, i + random() % 3);
      d.spans.push_back({{d.tokens[i].begin, d.tokens[last].end}, random() % 2 ? "PS" : "LC_CITY"});
      if (nested && last > i) d.spans.push_back({d.tokens[i], "OG"});
      i = last;
    }
    documents.push_back(d);
  }
  return documents;
}

std::vector<Document> random_classes(unsigned seed, std::size_t most) {
  std::mt19937 random(seed);
  const std::vector<std::string> labels{"pos", "neg", "1", "여성/가족"};
  std::vector<Document> documents;
  for (std::size_t n = 0; n < 60; ++n) {
    Document d{.annotated = true, .line = n + 1};
    const std::size_t count = random() % 6;
    for (std::size_t i = 0; i < count; ++i) d.text += words_of_texts[random() % words_of_texts.size()] + " ";
    for (const std::string& label : labels)
      if (d.labels.size() < most && random() % 2) d.labels.push_back(label);
    if (d.labels.empty() && most == 1) d.labels = {"pos"};
    documents.push_back(d);
  }
  return documents;
}

void expect_same(const std::vector<Document>& documents, const WriteOptions& options, const ReadOptions& reading,
                 bool with_spans) {
  const Written written = write(documents, options);
  EXPECT_THAT(written.findings, IsEmpty()) << options.format;
  const Corpus again = read_corpus_text("t", written.text, reading);
  ASSERT_EQ(again.documents.size(), documents.size()) << options.format;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    ASSERT_EQ(again.documents[i].text, documents[i].text) << options.format << "\n" << written.text;
    if (with_spans) {
      ASSERT_EQ(again.documents[i].spans, documents[i].spans) << options.format;
    } else {
      ASSERT_THAT(again.documents[i].labels, testing::UnorderedElementsAreArray(documents[i].labels));
    }
    ASSERT_EQ(again.documents[i].annotated, documents[i].annotated) << options.format;
  }
}

TEST(Writers, EntitiesRoundTrip) {
  for (unsigned seed = 1; seed < 6; ++seed) {
    const auto flat = random_entities(seed, false), nested = random_entities(seed, true);
    expect_same(flat, {.format = "inline"}, {.format = "inline"}, true);
    expect_same(nested, {.format = "inline", .nested = Nested::all}, {.format = "inline"}, true);
    for (const Scheme scheme : {Scheme::iob1, Scheme::iob2, Scheme::bioes, Scheme::bilou})
      expect_same(flat, {.format = "conll", .scheme = scheme}, {.format = "conll"}, true);
    for (const char* format : {"jsonl", "doccano", "spacy"}) {
      expect_same(nested, {.format = format}, {}, true);
      for (const OffsetUnit unit : {OffsetUnit::utf16, OffsetUnit::byte})
        expect_same(nested, {.format = format, .offsets = unit}, {.offsets = unit}, true);
    }
  }
}

/// Texts of what inline annotation is made of, with nested entities anywhere in them.
TEST(Writers, InlineTextsThatLookLikeMarkupRoundTrip) {
  const std::vector<std::string> pieces{"<",  ">",    ":", "\\",   "<",   ">",  "\\", "A",
                                        "LC", "서울", " ", ":PS>", "<b>", "->", "\\<"};
  std::mt19937 random(7);
  std::vector<Document> documents;
  for (std::size_t n = 0; n < 5000; ++n) {
    Document d{.annotated = true, .line = n + 1};
    std::vector<std::size_t> ends{0};
    for (std::size_t i = random() % 12; i > 0; --i) ends.push_back((d.text += pieces[random() % pieces.size()]).size());
    const std::size_t last = ends.size() - 1;
    for (std::size_t i = 0; i < last; ++i) {
      if (random() % 3) continue;
      const std::size_t end = i + 1 + random() % (last - i);
      d.spans.push_back({{ends[i], ends[end]}, "LC"});
      if (random() % 2) d.spans.push_back({{ends[i], ends[i + 1 + random() % (end - i)]}, "PS"});
      i = end - 1;
    }
    documents.push_back(std::move(d));
  }
  expect_same(documents, {.format = "inline", .nested = Nested::all}, {.format = "inline"}, true);
}

TEST(Writers, InlineEscapesOnlyWhereABracketWouldReadAsMarkup) {
  const auto line = [](Document d) { return write({std::move(d)}, {.format = "inline"}).text; };
  const std::string plain = R"(1 < 2 > 0 <b>로이터</b> C:\dir\ \\server)";
  EXPECT_EQ(line({.text = plain, .annotated = true}), plain + "\n");
  EXPECT_EQ(line({.text = "<로이터> 통신", .spans = {{{0, 18}, "OG"}}}), "<<로이터> 통신:OG>\n");
  EXPECT_EQ(line({.text = "<a:B> x", .annotated = true}), "\\<a:B\\> x\n");
  EXPECT_EQ(line({.text = "3 < 5", .spans = {{{0, 5}, "QT"}}}), "<3 \\< 5:QT>\n");
  EXPECT_EQ(line({.text = "\\서울", .spans = {{{1, 7}, "LC"}}}), "\\\\<서울:LC>\n");
}

TEST(Writers, ClassesRoundTrip) {
  for (unsigned seed = 1; seed < 6; ++seed) {
    const auto one = random_classes(seed, 1), several = random_classes(seed, 3);
    for (const char* format : {"csv", "tsv", "fasttext", "list", "jsonl", "doccano", "spacy"})
      expect_same(one, {.format = format}, {.format = format}, false);
    for (const char* format : {"csv", "tsv", "jsonl"})
      expect_same(several, {.format = format}, {.format = format}, false);
    expect_same(one, {.format = "label-first"}, {.format = "label-first"}, false);
  }
}

/// A text to which no class applies stays one of the corpus's task.
TEST(Writers, TextsWithoutClassesAreNoTextsWithoutEntities) {
  const std::vector<Document> documents{
      {.text = "a", .labels = {"x"}, .annotated = true}, {.text = "b", .annotated = true}, {.text = "c"}};
  EXPECT_EQ(write(documents, {.format = "jsonl"}).text,
            "{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\"b\",\"labels\":[]}\n{\"text\":\"c\"}\n");
  EXPECT_EQ(write(documents, {.format = "spacy"}).text,
            "[\"a\",{\"cats\":{\"x\":1}}]\n[\"b\",{\"cats\":{}}]\n[\"c\",{}]\n");
  for (const char* format : {"jsonl", "spacy", "doccano"}) expect_same(documents, {.format = format}, {}, false);
  EXPECT_EQ(write({documents[1]}, {.format = "jsonl"}).text, "{\"text\":\"b\",\"spans\":[]}\n");
}

TEST(Writers, AwkwardTextsRoundTrip) {
  const std::vector<Document> awkward{{.text = "a,\"b\"\n두 줄\r\n", .labels = {"x, \"y\""}, .annotated = true},
                                      {.text = "", .labels = {"z"}, .annotated = true},
                                      {.text = "'\\n'\t\"", .labels = {"it's"}, .annotated = true},
                                      {.text = "끝\r", .labels = {"r\r"}, .annotated = true}};
  for (const char* format : {"csv", "list", "jsonl"})
    expect_same(awkward, {.format = format}, {.format = format}, false);
}

TEST(Writers, CharactersAsTokens) {
  std::vector<Document> documents{{.text = "서울은 <x>", .spans = {{{0, 6}, "LC"}}, .annotated = true}};
  expect_same(documents, {.format = "conll", .unit = TokenUnit::character}, {.format = "conll"}, true);
  EXPECT_THAT(write(documents, {.format = "conll", .unit = TokenUnit::character}).text,
              testing::StartsWith("서\tB-LC\n울\tI-LC\n은\tO\n \tO\n"));
}

TEST(Writers, CharactersAsTokensKeepTextsWithoutBlanks) {
  const std::vector<Document> documents{{.text = "서울xx", .spans = {{{0, 6}, "LC"}}, .annotated = true},
                                        {.text = "👨\u200d👩 \u1112\u1161", .annotated = true}};
  for (const std::size_t n : {1u, 2u})  // without a space in the file, and with one
    expect_same({documents.begin(), documents.begin() + static_cast<std::ptrdiff_t>(n)},
                {.format = "conll", .unit = TokenUnit::character}, {.format = "conll"}, true);
}

TEST(Writers, BlanksThatTokensDoNotKeepAreReported) {
  const std::vector<Document> documents{{.text = "한번 칸", .annotated = true, .line = 1},
                                        {.text = "두  칸", .annotated = true, .line = 2},
                                        {.text = " 앞", .annotated = true, .line = 3}};
  EXPECT_THAT(write(documents, {.format = "conll"}).findings,
              ElementsAre("input:2: warning: 2 texts will read back with other blanks, of which this is the first: one "
                          "stands between tokens; characters as tokens keep all"));
  EXPECT_THAT(write(documents, {.format = "conll", .unit = TokenUnit::character}).findings, IsEmpty());
  const std::vector<Document> tiled{{.text = "가 나", .tokens = {{0, 3}, {3, 4}, {4, 7}}, .annotated = true, .line = 1},
                                    {.text = "다 라", .tokens = {{0, 3}, {4, 7}}, .annotated = true, .line = 2}};
  EXPECT_THAT(write(tiled, {.format = "conll"}).findings, ElementsAre(HasSubstr("input:2: warning: 1 text will")));
}

TEST(Writers, JsonKeepsEverything) {
  const std::vector<Document> documents{
      {.text = "가", .spans = {{{0, 3}, "A"}}, .labels = {"x"}, .id = "7", .weight = 0.5f, .annotated = true},
      {.text = "나"}};
  const Written written = write(documents, {.format = "jsonl"});
  EXPECT_EQ(written.text,
            "{\"id\":\"7\",\"text\":\"가\",\"spans\":[{\"start\":0,\"end\":1,\"label\":\"A\"}],\"label\":\"x\","
            "\"weight\":0.5}\n"
            "{\"text\":\"나\"}\n");
  const Corpus again = read(written.text);
  EXPECT_EQ(again.documents[0].id, "7");
  EXPECT_EQ(again.documents[0].weight, 0.5f);
  EXPECT_FALSE(again.documents[1].annotated);
}

TEST(Writers, AlignmentIsReported) {
  const std::vector<Document> documents{
      {.text = "서울에 갔다", .spans = {{{0, 6}, "LC"}}, .annotated = true, .line = 4}};
  Written written = write(documents, {.format = "conll"});
  EXPECT_EQ(written.text, "서울에\tO\n갔다\tO\n\n");
  EXPECT_THAT(written.findings, ElementsAre("input:4: warning: '서울' LC does not end where tokens end: left out"));
  written = write(documents, {.format = "conll", .align = Align::expand});
  EXPECT_EQ(written.text, "서울에\tB-LC\n갔다\tO\n\n");
  EXPECT_THAT(written.findings, ElementsAre(HasSubstr("widened to them")));
}

TEST(Writers, NestedIsReported) {
  const std::vector<Document> documents{
      {.text = "손바닥", .spans = {{{0, 9}, "AM"}, {{0, 3}, "AM"}, {{3, 9}, "X"}}, .annotated = true, .line = 1}};
  const Written outer = write(documents, {.format = "inline"});
  EXPECT_EQ(outer.text, "<손바닥:AM>\n");
  EXPECT_THAT(outer.findings, ElementsAre(HasSubstr("input:1: warning: left out '손' AM"), HasSubstr("'바닥' X")));
  EXPECT_EQ(write(documents, {.format = "inline", .nested = Nested::innermost}).text, "<손:AM><바닥:X>\n");
  EXPECT_EQ(write(documents, {.format = "inline", .nested = Nested::all}).text, "<<손:AM><바닥:X>:AM>\n");
  const std::vector<Document> crossing{
      {.text = "abcd", .spans = {{{0, 3}, "A"}, {{1, 4}, "B"}}, .annotated = true, .line = 2}};
  const Written crossed = write(crossing, {.format = "inline", .nested = Nested::all});
  EXPECT_EQ(crossed.text, "<abc:A>d\n");
  EXPECT_THAT(crossed.findings, ElementsAre(HasSubstr("'bcd' B: it crosses")));
}

TEST(Writers, WhatAFormatCannotHoldIsRefused) {
  const auto with = [](Document d) { return std::vector<Document>{std::move(d)}; };
  EXPECT_THAT(refusal(with({.text = "a", .spans = {{{0, 1}, "creative-work"}}}), {.format = "inline"}),
              HasSubstr("which 'creative-work' is not; jsonl can hold it"));
  for (const char* format : {"inline", "fasttext", "label-first", "tsv", "text"})
    EXPECT_THAT(refusal(with({.text = "a\nb", .labels = {"x"}, .annotated = true}), {.format = format}),
                HasSubstr("line end"))
        << format;
  for (const char* format : {"inline", "fasttext", "label-first", "tsv", "text"})  // \r\n is one line end
    EXPECT_THAT(refusal(with({.text = "a\r", .labels = {"x"}, .annotated = true}), {.format = format}),
                testing::AnyOf(HasSubstr("ends with a carriage return"), HasSubstr("'a\\r' holds a tab or line end")))
        << format;
  EXPECT_THAT(refusal(with({.text = "a", .spans = {{{0, 1}, "x\ty"}}, .annotated = true}), {.format = "conll"}),
              HasSubstr("the label 'x\\ty' holds a tab"));
  EXPECT_THAT(refusal(with({.text = "-DOCSTART- a", .annotated = true}), {.format = "conll"}),
              HasSubstr("'-DOCSTART-' would read as the mark between documents"));
  EXPECT_THAT(refusal(with({.text = "__label__x", .labels = {"y"}, .annotated = true}), {.format = "fasttext"}),
              HasSubstr("itself"));
  EXPECT_THAT(refusal(with({.text = "a\xFF"}), {.format = "jsonl"}), HasSubstr("not UTF-8"));
  EXPECT_THAT(refusal(with({.text = "a"}), {.format = "brat"}), HasSubstr("can be read, not written"));
  EXPECT_THAT(refusal(with({.text = "a"}), {.format = "xml"}), HasSubstr("unknown corpus format 'xml'"));
}

TEST(Writers, WhatIsOfTheOtherTaskIsReported) {
  const std::vector<Document> both{{.text = "a", .spans = {{{0, 1}, "A"}}, .labels = {"x"}, .annotated = true}};
  EXPECT_THAT(write(both, {.format = "tsv"}).findings,
              ElementsAre("input: warning: 1 entity annotation left out: tsv holds none"));
  EXPECT_THAT(write(both, {.format = "conll"}).findings,
              ElementsAre("input: warning: 1 class label left out: conll holds none"));
  const std::vector<Document> named{{.text = "a", .id = "7", .weight = 2, .annotated = true}};
  for (const char* format : {"inline", "conll", "text", "list", "fasttext"})
    EXPECT_THAT(write(named, {.format = format}).findings,
                testing::IsSupersetOf({std::string("input: warning: 1 weight left out: ") + format + " holds none",
                                       std::string("input: note: 1 id left out: ") + format + " holds none"}));
  EXPECT_THAT(write(named, {.format = "jsonl"}).findings, IsEmpty());
  const Written blanks =
      write({{.text = "a", .labels = {"New York"}, .annotated = true, .line = 1}}, {.format = "fasttext"});
  EXPECT_EQ(blanks.text, "__label__New_York a\n");
  EXPECT_THAT(blanks.findings, ElementsAre(HasSubstr("label 'New York' is written 'New_York'")));
}

}  // namespace
}  // namespace bib
