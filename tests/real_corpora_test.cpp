// Published and measured figures of real corpora, read with everything detected. Needs BIB_DATA.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/corpus_data.h"
#include "train/corpus.h"

namespace bib {
namespace {

struct Counts {
  std::size_t documents = 0, tokens = 0, spans = 0;
  bool operator==(const Counts&) const = default;
};
void PrintTo(const Counts& c, std::ostream* out) { *out << c.documents << " " << c.tokens << " " << c.spans; }

Counts counts(const Corpus& corpus) {
  Counts c{.documents = corpus.documents.size()};
  for (const Document& d : corpus.documents) {
    c.tokens += d.tokens.size();
    c.spans += d.spans.size();
  }
  return c;
}

std::map<std::string, int> span_histogram(const Corpus& corpus) {
  std::map<std::string, int> histogram;
  for (const Document& d : corpus.documents)
    for (const Span& span : d.spans) ++histogram[span.label];
  return histogram;
}

std::map<std::string, int> label_histogram(const Corpus& corpus) {
  std::map<std::string, int> histogram;
  for (const Document& d : corpus.documents)
    for (const std::string& label : d.labels) ++histogram[label];
  return histogram;
}

TEST(RealCorpora, NerTrain) {
  BIB_DATA_FILE(path, "bib/ner_train.txt");
  const Corpus corpus = read_corpus(path);
  EXPECT_EQ(corpus.format, "inline");
  EXPECT_EQ(counts(corpus).spans, 42232u);
  EXPECT_EQ(counts(corpus).documents, 9999u);
  const std::map<std::string, int> expected{{"CV", 9483}, {"OG", 6996}, {"QT", 6116}, {"PS", 4725}, {"LC", 4550},
                                            {"DT", 4391}, {"AF", 1717}, {"TM", 1453}, {"EV", 1052}, {"AM", 506},
                                            {"TI", 397},  {"FD", 368},  {"MT", 272},  {"TR", 112},  {"PT", 94}};
  EXPECT_EQ(span_histogram(corpus), expected);
  std::size_t nested = 0;
  for (const Document& d : corpus.documents) nested += !flatten(d.spans, Nested::outermost).dropped.empty();
  EXPECT_EQ(nested, 1443u) << "lines with a span inside another; 1,419 lines hold '<<', which may be a literal bracket";
}

TEST(RealCorpora, TcTrain) {
  BIB_DATA_FILE(path, "bib/tc_train.txt");
  const Corpus corpus = read_corpus(path);
  EXPECT_EQ(corpus.format, "list");
  EXPECT_EQ(corpus.documents.size(), 10000u);
  const auto histogram = label_histogram(corpus);
  EXPECT_EQ(histogram.size(), 13u);
  for (const auto& [label, n] : histogram) {
    EXPECT_GE(n, 673) << label;
    EXPECT_LE(n, 988) << label;
  }
  EXPECT_EQ(corpus.count(Severity::note), 3u) << "names in another class's slot";
  std::set<std::string> texts;
  for (const Document& d : corpus.documents) texts.insert(d.text);
  EXPECT_EQ(corpus.documents.size() - texts.size(), 37u);
}

TEST(RealCorpora, PredictFiles) {
  BIB_DATA_FILE(ner, "bib/ner_predict.txt");
  BIB_DATA_FILE(tc, "bib/tc_predict.txt");
  EXPECT_EQ(read_corpus(ner).format, "text");
  EXPECT_EQ(read_corpus(ner).documents.size(), 1000u);
  EXPECT_EQ(read_corpus(tc).format, "list");
  EXPECT_EQ(read_corpus(tc).documents.size(), 1000u);
}

TEST(RealCorpora, Conll2003) {
  BIB_DATA_FILE(train, "conll2003-en/eng.train.xz");
  BIB_DATA_FILE(testa, "conll2003-en/eng.testa");
  BIB_DATA_FILE(testb, "conll2003-en/eng.testb");
  BIB_DATA_FILE(plus, "conll2003-en/conllpp.test.txt");
  EXPECT_EQ(counts(read_corpus(train)), (Counts{14041, 203621, 23499}));
  EXPECT_EQ(counts(read_corpus(testa)), (Counts{3250, 51362, 5942}));
  EXPECT_EQ(counts(read_corpus(testb)), (Counts{3453, 46435, 5648}));
  EXPECT_EQ(counts(read_corpus(plus)), (Counts{3453, 46435, 5702}));
  EXPECT_EQ(read_corpus(testa).scheme, Scheme::iob1);
  EXPECT_EQ(read_corpus(plus).scheme, Scheme::iob2);
}

TEST(RealCorpora, KlueDev) {
  BIB_DATA_FILE(path, "klue-ner/klue-ner-v1.1_dev.tsv.xz");
  BIB_DATA_FILE(fixed, "klue-ner/klue-ner-v1.1_dev.pr-fixed-b653e74.tsv.xz");
  const Corpus corpus = read_corpus(path);
  EXPECT_EQ(counts(corpus), (Counts{5000, 285929, 14257}));
  const std::map<std::string, int> expected{{"PS", 4418}, {"QT", 3151}, {"DT", 2312},
                                            {"OG", 2182}, {"LC", 1649}, {"TI", 545}};
  EXPECT_EQ(span_histogram(corpus), expected);
  EXPECT_EQ(corpus.documents[0].id, "klue-ner-v1_dev_00000-wikitree");
  EXPECT_EQ(counts(read_corpus(fixed)), (Counts{5000, 285920, 14259}));
}

TEST(RealCorpora, Wnut17) {
  BIB_DATA_FILE(train, "wnut17/wnut17train.conll");
  BIB_DATA_FILE(dev, "wnut17/emerging.dev.conll");
  BIB_DATA_FILE(test, "wnut17/emerging.test.annotated");
  EXPECT_EQ(counts(read_corpus(train)), (Counts{3394, 62730, 1975}));
  EXPECT_EQ(counts(read_corpus(dev)), (Counts{1009, 15733, 836}));
  EXPECT_EQ(counts(read_corpus(test)), (Counts{1287, 23394, 1079}));
}

TEST(RealCorpora, Klp2016) {
  BIB_DATA_FILE(train, "kmou-ner/2016klp/ner.train.xz");
  BIB_DATA_FILE(dev, "kmou-ner/2016klp/ner.dev");
  BIB_DATA_FILE(test, "kmou-ner/2016klp/ner.test");
  EXPECT_EQ(counts(read_corpus(train)), (Counts{2928, 114256, 6275}));
  EXPECT_EQ(counts(read_corpus(dev)), (Counts{366, 14077, 750}));
  EXPECT_EQ(counts(read_corpus(test)), (Counts{366, 13799, 754}));
}

}  // namespace
}  // namespace bib
