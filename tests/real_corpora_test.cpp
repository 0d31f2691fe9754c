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

// The same sentences as 2016klp, but 13 entities fewer: as many B_ tags are in the files.
TEST(RealCorpora, Etri) {
  BIB_DATA_FILE(train, "kmou-ner/ETRI_FINAL_BIO/train.words.txt");
  BIB_DATA_FILE(dev, "kmou-ner/ETRI_FINAL_BIO/testa.words.txt");
  BIB_DATA_FILE(test, "kmou-ner/ETRI_FINAL_BIO/testb.words.txt");
  EXPECT_EQ(read_corpus(train).format, "parallel");
  EXPECT_EQ(counts(read_corpus(train)), (Counts{2928, 114256, 6267}));
  EXPECT_EQ(counts(read_corpus(dev)), (Counts{366, 14077, 747}));
  EXPECT_EQ(counts(read_corpus(test)), (Counts{366, 13799, 752}));
}

std::size_t empty_texts(const Corpus& corpus) {
  std::size_t n = 0;
  for (const Document& d : corpus.documents) n += d.text.empty();
  return n;
}

TEST(RealCorpora, Nsmc) {
  BIB_DATA_FILE(train, "nsmc/ratings_train.txt.xz");
  BIB_DATA_FILE(test, "nsmc/ratings_test.txt.xz");
  const Corpus a = read_corpus(train), b = read_corpus(test);
  EXPECT_EQ(a.format, "tsv");
  EXPECT_EQ(a.documents.size(), 150000u);
  EXPECT_EQ(b.documents.size(), 50000u);
  EXPECT_EQ(label_histogram(a), (std::map<std::string, int>{{"0", 75173}, {"1", 74827}}));
  EXPECT_EQ(label_histogram(b), (std::map<std::string, int>{{"0", 24827}, {"1", 25173}}));
  EXPECT_EQ(empty_texts(a), 5u) << "accuracy is over every document, empty ones too";
  EXPECT_EQ(empty_texts(b), 3u);
}

TEST(RealCorpora, Ynat) {
  BIB_DATA_FILE(train, "ynat-dacon/train_data.csv.xz");
  BIB_DATA_FILE(test, "ynat-dacon/test_data.csv");
  const Corpus corpus = read_corpus(train);
  EXPECT_EQ(corpus.format, "csv");
  EXPECT_EQ(corpus.documents.size(), 45654u);
  EXPECT_EQ(label_histogram(corpus),
            (std::map<std::string, int>{
                {"0", 4824}, {"1", 6222}, {"2", 7362}, {"3", 5933}, {"4", 7629}, {"5", 6933}, {"6", 6751}}));
  EXPECT_EQ(read_corpus(test).documents.size(), 9131u);
}

TEST(RealCorpora, SentenceClassification) {
  BIB_DATA_FILE(sst, "sent-conv-en/stsa.binary.train");
  BIB_DATA_FILE(trec, "sent-conv-en/TREC.train.all");
  BIB_DATA_FILE(mr, "sent-conv-en/rt-polarity.all.xz");
  EXPECT_EQ(read_corpus(sst).format, "label-first");
  EXPECT_EQ(read_corpus(sst).documents.size(), 6920u);
  EXPECT_THROW(read_corpus(mr), DataError) << "Latin-1";
  EXPECT_EQ(read_corpus(mr, {.encoding = "latin1"}).documents.size(), 10662u);
  const Corpus questions = read_corpus(trec, {.encoding = "latin1"});
  EXPECT_EQ(questions.documents.size(), 5452u);
  EXPECT_EQ(label_histogram(questions).size(), 6u);
}

TEST(RealCorpora, GoldAndPredictedColumns) {
  BIB_DATA_FILE(path, "kmou-ner/ETRI_results/jaso_lstm_lstm_crf_fasttext.results.txt");
  const Corpus predicted = read_corpus(path), gold = read_corpus(path, {.tag_column = "2"});
  EXPECT_EQ(gold.documents.size(), 425u);
  EXPECT_NE(span_histogram(predicted), span_histogram(gold));
}

}  // namespace
}  // namespace bib
