// The C API at its edges: NULL, wrong sizes, wrong files. What it answers is in examples/run_test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <thread>

#include "bib/bib.h"

namespace {

using testing::HasSubstr;

TEST(CApi, VersionsAgree) {
  EXPECT_EQ(bib_abi_version(), static_cast<uint32_t>(BIB_ABI_VERSION));
  EXPECT_STRNE(bib_version(), "");
}

TEST(CApi, NullIsAnErrorOrNothing) {
  EXPECT_EQ(bib_context_create(nullptr, nullptr), BIB_USAGE);
  EXPECT_EQ(bib_model_load(nullptr, "x", nullptr), BIB_USAGE);
  EXPECT_THAT(bib_last_error(), HasSubstr("bib_model_load"));
  EXPECT_EQ(bib_predict(nullptr, nullptr, nullptr, 0, nullptr, nullptr), BIB_USAGE);
  EXPECT_EQ(bib_train(nullptr, nullptr), BIB_USAGE);
  bib_context_free(nullptr);
  bib_model_free(nullptr);
  bib_predictions_free(nullptr);
  bib_dictionary_free(nullptr);
  EXPECT_EQ(bib_dictionary_load(nullptr, "x", nullptr), BIB_USAGE);
  EXPECT_EQ(bib_predictions_count(nullptr), 0u);
  EXPECT_EQ(bib_entity_count(nullptr, 0, 0), 0u);
  EXPECT_EQ(bib_class_count(nullptr, 0), 0u);
  EXPECT_TRUE(std::isnan(bib_reading_probability(nullptr, 0, 1)));
  EXPECT_EQ(bib_model_label(nullptr, 0).data, nullptr);
  EXPECT_EQ(bib_model_task(nullptr), 0);
  bib_entity entity = {};
  EXPECT_EQ(bib_entity_get(nullptr, 0, 0, 0, &entity), BIB_USAGE);
}

TEST(CApi, OptionsAreReadAsFarAsTheirSizeSays) {
  bib_context* context = nullptr;
  bib_context_options options = {};
  EXPECT_EQ(bib_context_create(&options, &context), BIB_USAGE);
  EXPECT_THAT(bib_last_error(), HasSubstr("struct_size is not set"));
  options.threads = -1;
  options.struct_size = sizeof options;
  EXPECT_EQ(bib_context_create(&options, &context), BIB_USAGE);
  options.struct_size = offsetof(bib_context_options, threads);  // a caller who does not know `threads`
  ASSERT_EQ(bib_context_create(&options, &context), BIB_OK) << bib_last_error();
  bib_context_free(context);
}

struct CApiTest : testing::Test {
  bib_context* context = nullptr;
  std::string folder = testing::TempDir();
  void SetUp() override {
    const bib_context_options options = {.struct_size = sizeof options, .threads = 1};
    ASSERT_EQ(bib_context_create(&options, &context), BIB_OK) << bib_last_error();
  }
  void TearDown() override { bib_context_free(context); }

  bib_status train(bib_task task, const std::string& corpus, const std::string& output, bib_train_options more = {}) {
    const std::string path = output + ".corpus";
    std::ofstream(path) << corpus;
    more.struct_size = sizeof more;
    more.task = task;
    more.train_path = path.c_str();
    more.output = output.c_str();
    if (!more.config) more.config = "[train]\nepochs = 60\nbatch = 2\nwarmup = 0\nema = 0.0\ntrain_rate = 1.0\n";
    return bib_train(context, &more);
  }
};

constexpr const char* ner_corpus =
    "<서울:LC>에 사는 <김민수:PS>\n<부산:LC>에 사는 <이영희:PS>\n😀 <대전:LC>에 사는 <박철수:PS>\n비가 왔다\n";

TEST_F(CApiTest, StatusesFollowWhatWentWrong) {
  bib_model* model = nullptr;
  EXPECT_EQ(bib_model_load(context, "/nonexistent.bib", &model), BIB_BAD_MODEL);
  EXPECT_THAT(bib_last_error(), HasSubstr("/nonexistent.bib"));
  EXPECT_EQ(model, nullptr);
  bib_train_options options = {};
  options.config = "[train]\nepocs = 3\n";
  EXPECT_EQ(train(BIB_NER, ner_corpus, folder + "c_api_bad.bib", options), BIB_BAD_DATA);
  EXPECT_THAT(bib_last_error(), HasSubstr("epocs"));
  const std::string same = folder + "c_api_same.txt";
  std::ofstream(same) << ner_corpus;
  options = {.struct_size = sizeof options, .task = BIB_NER, .train_path = same.c_str(), .output = same.c_str()};
  EXPECT_EQ(bib_train(context, &options), BIB_USAGE);
  EXPECT_THAT(bib_last_error(), HasSubstr("output is also train_path"));
  EXPECT_EQ(std::ifstream(same).get(), '<') << "the corpus is still there";
  std::string other;
  std::thread([&] { other = bib_last_error(); }).join();
  EXPECT_EQ(other, "") << "errors belong to their thread";
}

TEST_F(CApiTest, PredictsEntitiesInTheUnitAskedFor) {
  const std::string path = folder + "c_api_ner.bib";
  ASSERT_EQ(train(BIB_NER, ner_corpus, path), BIB_OK) << bib_last_error();
  bib_model* model = nullptr;
  ASSERT_EQ(bib_model_load(context, path.c_str(), &model), BIB_OK) << bib_last_error();
  EXPECT_EQ(bib_model_task(model), BIB_NER);
  ASSERT_EQ(bib_model_label_count(model), 2u);
  EXPECT_EQ(bib_model_label(model, 2).data, nullptr);

  const bib_text texts[] = {{nullptr, 0}, bib_string("😀 부산에 사는 김민수")};
  const std::size_t begins[] = {5, 2, 3}, ends[] = {11, 4, 5};
  for (const bib_offsets offsets : {BIB_BYTES, BIB_CODEPOINTS, BIB_UTF16}) {
    const bib_predict_options options = {.struct_size = sizeof options, .offsets = offsets, .nbest = 2};
    bib_predictions* found = nullptr;
    ASSERT_EQ(bib_predict(model, context, texts, 2, &options, &found), BIB_OK) << bib_last_error();
    EXPECT_EQ(bib_predictions_count(found), 2u);
    EXPECT_EQ(bib_entity_count(found, 0, 0), 0u);
    EXPECT_EQ(bib_entity_count(found, 2, 0), 0u);
    EXPECT_EQ(bib_reading_count(found, 1), 3u);
    EXPECT_GE(bib_reading_probability(found, 1, 1), bib_reading_probability(found, 1, 2));
    ASSERT_GE(bib_entity_count(found, 1, 0), 1u);
    EXPECT_EQ(bib_entity_get(found, 1, 0, 0, nullptr), BIB_USAGE);
    EXPECT_STREQ(bib_last_error(), "bib_entity is NULL");
    bib_entity e = {};
    EXPECT_EQ(bib_entity_get(found, 1, 0, 0, &e), BIB_USAGE) << "struct_size is not set";
    e.struct_size = sizeof e;
    ASSERT_EQ(bib_entity_get(found, 1, 0, 0, &e), BIB_OK);
    EXPECT_EQ(e.begin, begins[offsets]);
    EXPECT_EQ(e.end, ends[offsets]);
    EXPECT_EQ(std::string(e.label.data, e.label.size), "LC");
    EXPECT_GT(e.score, 0);
    EXPECT_LE(e.score, 1);
    EXPECT_EQ(bib_class_count(found, 1), 0u);
    bib_predictions_free(found);
  }
  bib_predictions* none = nullptr;
  const bib_text endless = {texts[1].data, SIZE_MAX};
  EXPECT_EQ(bib_predict(model, context, &endless, 1, nullptr, &none), BIB_USAGE);
  EXPECT_EQ(bib_predict(model, context, texts, SIZE_MAX, nullptr, &none), BIB_USAGE);
  EXPECT_STREQ(bib_last_error(), "a size or count is larger than memory can be");
  bib_model_free(model);
}

TEST_F(CApiTest, MathIsThatOfTheContextAModelIsLoadedWith) {
  const std::string path = folder + "c_api_math.bib";
  ASSERT_EQ(train(BIB_NER, ner_corpus, path), BIB_OK) << bib_last_error();
  const bib_text text = bib_string("부산에 사는 김민수");
  const bib_predict_options second_best = {.struct_size = sizeof second_best, .nbest = 2};
  double rare[3] = {};  // a probability near 0, which shows small differences
  for (const bib_math math : {BIB_MATH_STRICT, BIB_MATH_FAST, BIB_MATH_INT8}) {
    const bib_context_options options = {.struct_size = sizeof options, .threads = 1, .math = math};
    bib_context* in_math = nullptr;
    bib_model* model = nullptr;
    bib_predictions* found = nullptr;
    ASSERT_EQ(bib_context_create(&options, &in_math), BIB_OK) << bib_last_error();
    ASSERT_EQ(bib_model_load(in_math, path.c_str(), &model), BIB_OK) << bib_last_error();
    ASSERT_EQ(bib_predict(model, in_math, &text, 1, &second_best, &found), BIB_OK) << bib_last_error();
    bib_entity e = {.struct_size = sizeof e};
    ASSERT_EQ(bib_entity_get(found, 0, 0, 0, &e), BIB_OK) << bib_last_error();
    EXPECT_EQ(e.end, 6u);
    rare[math] = bib_reading_probability(found, 0, 2);
    bib_predictions_free(found);
    bib_model_free(model);
    bib_context_free(in_math);
  }
  EXPECT_NE(rare[BIB_MATH_FAST], rare[BIB_MATH_STRICT]);
  EXPECT_NE(rare[BIB_MATH_INT8], rare[BIB_MATH_FAST]);
  EXPECT_NEAR(rare[BIB_MATH_INT8], rare[BIB_MATH_STRICT], 0.1 * rare[BIB_MATH_STRICT]);
  const bib_context_options wrong = {.struct_size = sizeof wrong, .math = static_cast<bib_math>(3)};
  bib_context* none = nullptr;
  EXPECT_EQ(bib_context_create(&wrong, &none), BIB_USAGE);
}

TEST_F(CApiTest, PredictsWithADictionary) {
  const std::string path = folder + "c_api_dictionary.bib", terms = folder + "c_api_dictionary.tsv";
  ASSERT_EQ(train(BIB_NER, ner_corpus, path), BIB_OK) << bib_last_error();
  bib_model* model = nullptr;
  ASSERT_EQ(bib_model_load(context, path.c_str(), &model), BIB_OK) << bib_last_error();
  bib_dictionary* dictionary = nullptr;
  std::ofstream(terms) << "비가\tXX\n";
  EXPECT_EQ(bib_dictionary_load(model, terms.c_str(), &dictionary), BIB_BAD_DATA);
  EXPECT_THAT(bib_last_error(), HasSubstr("has no label 'XX'"));
  std::ofstream(terms) << "비가\tPS\thard\n";
  ASSERT_EQ(bib_dictionary_load(model, terms.c_str(), &dictionary), BIB_OK) << bib_last_error();
  const bib_predict_options options = {.struct_size = sizeof options, .dictionary = dictionary};
  const bib_text text = bib_string("비가 왔다");
  bib_predictions* found = nullptr;
  ASSERT_EQ(bib_predict(model, context, &text, 1, &options, &found), BIB_OK) << bib_last_error();
  bib_entity e = {.struct_size = sizeof e};
  ASSERT_EQ(bib_entity_get(found, 0, 0, 0, &e), BIB_OK) << bib_last_error();
  EXPECT_EQ(e.end, 6u);
  EXPECT_GT(e.score, 0.999);
  bib_predictions_free(found);
  bib_dictionary_free(dictionary);
  bib_model_free(model);
}

TEST_F(CApiTest, GoesOnFromAModel) {
  const std::string old = folder + "c_api_old.bib", now = folder + "c_api_now.bib";
  bib_train_options options = {};
  options.config = "[model]\nhidden = 24\n[train]\nepochs = 20\nbatch = 2\ntrain_rate = 1.0\n";
  ASSERT_EQ(train(BIB_NER, ner_corpus, old, options), BIB_OK) << bib_last_error();
  options.base = old.c_str();
  options.config = "[train]\nepochs = 20\nbatch = 2\ntrain_rate = 1.0\n";  // hidden is the base's
  ASSERT_EQ(train(BIB_NER, "<냉면:FD>을 먹는 <김민수:PS>\n<냉면:FD>\n", now, options), BIB_OK) << bib_last_error();
  bib_model* model = nullptr;
  ASSERT_EQ(bib_model_load(context, now.c_str(), &model), BIB_OK) << bib_last_error();
  ASSERT_EQ(bib_model_label_count(model), 3u);
  const bib_text added = bib_model_label(model, 2);
  EXPECT_EQ(std::string(added.data, added.size), "FD");
  bib_model_free(model);
  options.config = "[model]\nhidden = 16\n";
  EXPECT_EQ(train(BIB_NER, ner_corpus, now, options), BIB_BAD_DATA);
  EXPECT_THAT(bib_last_error(), HasSubstr("has model.hidden = 24, not 16"));
  EXPECT_EQ(train(BIB_NER, ner_corpus, old, options), BIB_USAGE) << "the base would be written over";
}

TEST_F(CApiTest, PredictsClassesAndStopsOnRequest) {
  const std::string path = folder + "c_api_tc.bib";
  const std::string corpus = "['정말 좋아요','긍정','']\n['정말 싫어요','','부정']\n['아주 좋아요','긍정','']\n";
  int steps = 0;
  bib_train_options options = {};
  options.user = &steps;
  options.progress = [](const bib_progress* p, void* user) {
    EXPECT_EQ(p->struct_size, sizeof *p);
    ++*static_cast<int*>(user);
    return 0;
  };
  ASSERT_EQ(train(BIB_TC, corpus, path, options), BIB_OK) << bib_last_error();
  EXPECT_EQ(steps, 120);
  bib_model* model = nullptr;
  ASSERT_EQ(bib_model_load(context, path.c_str(), &model), BIB_OK) << bib_last_error();
  EXPECT_EQ(bib_model_task(model), BIB_TC);
  bib_predictions* found = nullptr;
  const bib_text text = bib_string("정말 좋아요");
  for (const double threshold : {-0.1, 1.5, std::nan("")}) {
    const bib_predict_options wrong = {.struct_size = sizeof wrong, .threshold = threshold};
    EXPECT_EQ(bib_predict(model, context, &text, 1, &wrong, &found), BIB_USAGE) << threshold;
  }
  ASSERT_EQ(bib_predict(model, context, &text, 1, nullptr, &found), BIB_OK) << bib_last_error();
  ASSERT_EQ(bib_class_count(found, 0), 2u);
  double sum = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    bib_class c = {.struct_size = sizeof c};
    ASSERT_EQ(bib_class_get(found, 0, i, &c), BIB_OK);
    EXPECT_EQ(c.is_answer, i == 0);
    sum += c.score;
  }
  EXPECT_NEAR(sum, 1, 1e-5);
  EXPECT_EQ(bib_reading_count(found, 0), 0u);
  bib_predictions_free(found);
  bib_model_free(model);

  options.progress = [](const bib_progress*, void*) { return 1; };
  EXPECT_EQ(train(BIB_TC, corpus, folder + "c_api_stopped.bib", options), BIB_INTERRUPTED);
}

}  // namespace
