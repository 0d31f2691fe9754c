// A dictionary at prediction time: what a term does to the odds of every reading, hard terms, long texts, and files.
// Built against any library; with a GPU, or the emulator, everything is done there, too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <map>

#include "bib/error.h"
#include "bib/ner.h"
#include "bib/train.h"
#include "tests/cuda_at_hand.h"

namespace bib::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Reading = std::vector<std::tuple<std::size_t, std::size_t, std::string>>;

Reading reading_of(const std::vector<Entity>& entities) {
  Reading reading;
  for (const Entity& e : entities) reading.emplace_back(e.begin, e.end, e.label);
  return reading;
}

class Dictionary : public testing::Test {
 protected:
  Context ctx_{{.device = cuda_at_hand() ? Device::cuda : Device::cpu, .threads = 1}};
  const std::string path_ =  // tests run beside each other
      testing::TempDir() + "dictionary_" + testing::UnitTest::GetInstance()->current_test_info()->name();

  /// Three labels, hardly trained: nearly every reading has some probability.
  NerModel model(Scheme scheme = Scheme::iob2, Unit unit = Unit::syllable) {
    Config config = default_config(Task::ner, unit);
    config.epochs = 1, config.hidden = 4, config.train_rate = 1, config.scheme = scheme;
    std::vector<Document> documents;
    for (int i = 0; i < 4; ++i)
      documents.push_back(
          {.text = "서울 김민수 삼성 간다", .spans = {{{0, 6}, "LC"}, {{7, 16}, "PS"}, {{17, 23}, "OG"}}});
    Context cpu({.threads = 1});
    train(cpu, config, documents, {}, {.output = path_ + ".bib"});
    return NerModel::load(path_ + ".bib", ctx_);
  }

  NerPrediction predict(const NerModel& model, const std::string& text, const std::vector<NerTerm>& terms,
                        int nbest = 0) {
    const NerDictionary dictionary(model, terms);
    return model.predict(ctx_, text, {.nbest = nbest, .dictionary = &dictionary});
  }
  /// All readings of a text; their probabilities are checked to be all there is.
  std::map<Reading, double> readings(const NerModel& model, const std::string& text,
                                     const std::vector<NerTerm>& terms) {
    std::map<Reading, double> all;
    double sum = 0;
    for (const NerAlternative& a : predict(model, text, terms, 10'000).alternatives)
      all[reading_of(a.entities)] = a.probability, sum += a.probability;
    EXPECT_NEAR(sum, 1, 1e-4);
    return all;
  }
  /// What is said about a file of these bytes; "" when it is accepted.
  std::string refusal(const NerModel& model, const std::string& content) {
    std::ofstream(path_ + ".tsv", std::ios::binary) << content;
    try {
      NerDictionary::load(path_ + ".tsv", model);
    } catch (const DataError& e) {
      return e.what();
    }
    return "";
  }
};

/// IOB2: "나 다" is the term in "가나다라". Its units agree with a reading where an entity LC begins at 나, and where
/// it covers 다; and LC does not cover 라 from within the term.
TEST_F(Dictionary, ATermMultipliesTheOddsAsItsWeightSays) {
  const NerModel m = model();
  const std::string text = "가나다라";
  const double weight = 1.5;
  const std::map<Reading, double> before = readings(m, text, {}), after = readings(m, text, {{"나다", "LC", weight}});
  ASSERT_GT(before.size(), 200u);
  ASSERT_EQ(before.size(), after.size());
  double shift = std::numeric_limits<double>::quiet_NaN();
  for (const auto& [reading, p] : before) {
    int agreeing = 0;
    for (const auto& [begin, end, label] : reading) {
      if (label != "LC") continue;
      agreeing += begin == 3;            // B-LC at 나
      agreeing += begin < 6 && end > 6;  // I-LC at 다
      agreeing -= begin < 9 && end > 9;  // I-LC at 라
    }
    const double change = std::log(after.at(reading) / p) - agreeing * weight;
    if (std::isnan(shift)) shift = change;
    EXPECT_NEAR(change, shift, 1e-3);
  }
}

TEST_F(Dictionary, ProbabilitiesOfEntitiesAreThoseOfTheReadings) {
  for (const Scheme scheme : {Scheme::iob2, Scheme::bioes, Scheme::bilou}) {  // iob1 has two tags for a beginning
    const NerModel m = model(scheme);
    const std::vector<NerTerm> terms{{"나다", "LC", 4}, {"나다", "PS", 3}, {"라", "OG", 6}};
    const std::map<Reading, double> all = readings(m, "가나다라", terms);
    const std::vector<Entity> entities = predict(m, "가나다라", terms).entities;
    EXPECT_THAT(reading_of(entities), testing::IsSupersetOf({Reading::value_type(3, 9, "LC"), {9, 12, "OG"}}));
    for (const Entity& e : entities) {
      double sum = 0;
      for (const auto& [reading, p] : all)
        for (const auto& [begin, end, label] : reading)
          sum += begin == e.begin && end == e.end && label == e.label ? p : 0;
      EXPECT_NEAR(*e.score, sum, 1e-4);
    }
  }
}

TEST_F(Dictionary, AHardTermIsInEveryReading) {
  for (const Scheme scheme : {Scheme::iob1, Scheme::iob2, Scheme::bioes, Scheme::bilou}) {
    const NerModel m = model(scheme);
    // The two touch, have the same label, and both ends of the text are theirs.
    const std::vector<NerTerm> terms{{"가", "LC", NerTerm::hard}, {"나다", "LC", NerTerm::hard}};
    for (const auto& [reading, p] : readings(m, "가나다", terms))
      EXPECT_THAT(reading, ElementsAre(std::tuple(0, 3, "LC"), std::tuple(3, 9, "LC")));
    const auto within = readings(m, "라나다라", terms);
    EXPECT_GT(within.size(), 10u);
    if (scheme == Scheme::iob1) continue;
    for (const auto& [reading, p] : within) EXPECT_THAT(reading, testing::Contains(std::tuple(3, 9, "LC")));
  }
}

TEST_F(Dictionary, OfSeveralLabelsTheModelChooses) {
  const NerModel m = model();
  const std::vector<NerTerm> terms{{"나다", "LC", NerTerm::hard}, {"나다", "PS", NerTerm::hard}};
  bool places = false, persons = false;
  for (const auto& [reading, p] : readings(m, "가나다", terms)) {
    const bool place = reading.back() == std::tuple(3, 9, "LC"), person = reading.back() == std::tuple(3, 9, "PS");
    EXPECT_TRUE(place || person);
    places |= place, persons |= person;
  }
  EXPECT_TRUE(places && persons);
}

TEST_F(Dictionary, OffsetsAreThoseOfTheTextAsItIs) {
  const NerModel m = model();
  const std::string nfd = "\u1109\u1165\u110B\u116E\u11AF";  // 서울, decomposed
  const NerPrediction p = predict(m, "가\r\n" + nfd + "에", {{"서울", "LC", NerTerm::hard}});
  EXPECT_THAT(reading_of(p.entities), testing::Contains(std::tuple(5, 5 + nfd.size(), "LC")));
}

TEST_F(Dictionary, WhatHasNoTermIsReadAsWithout) {
  const NerModel m = model();
  const std::string text = "서울 김민수는 삼성에 간다";
  const NerPrediction with = predict(m, text, {{"부산", "LC", 9}}), without = m.predict(ctx_, text);
  ASSERT_EQ(reading_of(with.entities), reading_of(without.entities));
  for (std::size_t i = 0; i < with.entities.size(); ++i) EXPECT_EQ(with.entities[i].score, without.entities[i].score);
}

/// Where windows end and overlap, too, each term is found, whole and once.
TEST_F(Dictionary, TermsOfLongTextsAreFoundWhole) {
  const NerModel m = model();
  std::string long_term;
  for (int i = 0; i < 96; ++i) long_term += "긴";
  const std::vector<NerTerm> terms{{"나다", "LC", NerTerm::hard}, {long_term, "OG", NerTerm::hard}};
  std::string text;
  Reading expected;
  for (int i = 0; i < 60; ++i) {
    for (const NerTerm& term : terms) {
      expected.emplace_back(text.size(), text.size() + term.text.size(), term.label);
      text += term.text;
    }
  }
  EXPECT_EQ(reading_of(predict(m, text, terms).entities), expected);
}

TEST_F(Dictionary, WordModelsMatchWords) {
  const NerModel m = model(Scheme::iob2, Unit::word);
  const NerPrediction p = predict(m, "New  York, New Yorker", {{"New York", "LC", NerTerm::hard}});
  EXPECT_THAT(reading_of(p.entities), testing::Contains(std::tuple(0, 9, "LC")));
  for (const Entity& e : p.entities) EXPECT_TRUE(e.begin == 0 || e.end > 20 || e.begin > 8) << e.begin << ' ' << e.end;
}

TEST_F(Dictionary, IsForTheModelItWasMadeFor) {
  const NerModel words = model(Scheme::iob2, Unit::word), syllables = model();
  const NerDictionary dictionary(words, {});
  EXPECT_THROW(syllables.predict(ctx_, "가", {.dictionary = &dictionary}), std::invalid_argument);
}

TEST_F(Dictionary, TermsThatCannotBeAreRefused) {
  const NerModel m = model();
  const auto add = [&](const NerTerm& term) { NerDictionary(m, std::span(&term, 1)); };
  for (const double weight : {0.0, -1.0, 101.0, std::nan("")})
    EXPECT_THROW(add({"서울", "LC", weight}), std::invalid_argument) << weight;
  EXPECT_THROW(add({"", "LC"}), std::invalid_argument);
  EXPECT_THROW(add({" \u00A0", "LC"}), std::invalid_argument);
  EXPECT_THROW(add({"서울", "lc"}), std::invalid_argument);
  const std::vector<NerTerm> terms{{"서울", "LC"}, {"부산", "XX"}};
  EXPECT_THAT([&] { NerDictionary(m, terms); },
              testing::ThrowsMessage<std::invalid_argument>(HasSubstr("term 2: the model has no label 'XX'")));
}

TEST_F(Dictionary, FilesAreReadAsTheyCome) {
  const NerModel m = model();
  std::ofstream(path_ + ".tsv", std::ios::binary)
      << "\xEF\xBB\xBF# 지명\r\n\r\n 서울 \tLC\r\n서울\tPS\t0.5\r\n서울\tPS\thard\r\n삼성 전자\tOG\t2e0";
  EXPECT_EQ(NerDictionary::load(path_ + ".tsv", m).size(), 2);
  const NerDictionary dictionary = NerDictionary::load(path_ + ".tsv", m);
  const NerPrediction p = m.predict(ctx_, "서울", {.nbest = 100, .dictionary = &dictionary});
  EXPECT_EQ(p.alternatives.size(), 2u) << "the last weight of a term and label counts; LC is another label";
}

TEST_F(Dictionary, FaultsOfAFileSayWhere) {
  const NerModel m = model();
  EXPECT_THAT(refusal(m, "서울\tLC\n부산\n"), HasSubstr("tsv:2:3: error: 1 column; expected a term, its label"));
  EXPECT_THAT(refusal(m, "서울\tLC\t1\tx\n"), HasSubstr("tsv:1:9: error: 4 columns"));
  EXPECT_THAT(refusal(m, "서울\tLOC\n"),
              HasSubstr("tsv:1:4: error: the model has no label 'LOC'; did you mean LC? it has LC, OG, PS"));
  EXPECT_THAT(refusal(m, "서울\tLC\tstrong\n"), HasSubstr("tsv:1:7: error: 'strong' is no weight"));
  EXPECT_THAT(refusal(m, "서울\tLC\t-1\n"), HasSubstr("tsv:1:7: error: the weight -1 is not above 0"));
  EXPECT_THAT(refusal(m, "서울\tLC\tnan\n"), HasSubstr("is no weight"));
  EXPECT_THAT(refusal(m, "\tLC\n"), HasSubstr("tsv:1:1: error: the term is empty"));
  EXPECT_THAT(refusal(m, "서\xFF\tLC\n"), HasSubstr("tsv:1:2: error: not UTF-8"));
  std::string too_long;
  for (int i = 0; i < 97; ++i) too_long += "가";
  EXPECT_THAT(refusal(m, too_long + "\tLC\n"), HasSubstr("tsv:1:1: error: the term has 97 units, the longest has 96"));
  EXPECT_THAT(refusal(m, "a\nb\n"), AllOf(HasSubstr("2 errors in"), HasSubstr("tsv:1:2"), HasSubstr("tsv:2:2")));
  EXPECT_EQ(refusal(m, ""), "");
  EXPECT_THROW(NerDictionary::load("/nonexistent.tsv", m), DataError);
}

}  // namespace
}  // namespace bib::test
