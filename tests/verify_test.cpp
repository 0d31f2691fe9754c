// verify(): silent about the same model, on any device at hand, and loud about what was put in: each layer names
// itself.
#include "train/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "bib/train.h"
#include "models/model_parts.h"

namespace bib::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::vector<Document> documents(Task task) {
  std::vector<Document> out;
  for (const char* name : {"김민수", "이영희", "박철"}) {
    for (const char* place : {"서울", "부산", "New York"}) {
      const std::string n = name, p = place;
      Document d{.text = n + " " + p + " 에 갔다", .annotated = true};
      d.spans = {{{0, n.size()}, "PS"}, {{n.size() + 1, n.size() + 1 + p.size()}, "LC"}};
      if (task == Task::tc) d.spans.clear(), d.labels = {p == "서울" ? "near" : p == "부산" ? "far" : "abroad"};
      out.push_back(std::move(d));
    }
  }
  return out;
}

std::vector<Device> devices() {
  std::vector<Device> all{Device::cpu};
  if (has_cuda && cuda_info().cuda) all.push_back(Device::cuda);
  return all;
}

class Verify : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("bib_verify_") + test->name() + "_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  /// A small model that has learned a little.
  std::string trained(Task task, Unit unit = Unit::syllable, bool multilabel = false) const {
    Config c = default_config(task, unit);
    c.syllable = c.bigram = c.word = 6, c.jamo = c.shape = c.characters = 4, c.character_filters = 5;
    if (unit == Unit::syllable) c.characters = c.word = 0;
    c.hidden = 7, c.layers = 2, c.windows = {1, 2}, c.filters = 6, c.multilabel = multilabel;
    c.epochs = 6, c.batch = 3, c.lr = 0.02f, c.train_rate = 1;
    Context ctx;
    train(ctx, c, documents(task), {}, {.output = path("model.bib")});
    return path("model.bib");
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// A copy of the model in which f changed the values of one tensor.
  template <class F>
  std::string changed(const std::string& model, const std::string& tensor, F&& f) const {
    const ModelFile from = read_model(model);
    ModelFile to = from;
    const Tensor& old = from.tensors.at(tensor);
    std::vector<float> values(static_cast<const float*>(old.data), static_cast<const float*>(old.data) + old.size());
    f(values);
    to.tensors.at(tensor).data = values.data();
    write_model(path("changed.bib"), to);
    return path("changed.bib");
  }

  template <class Model>
  VerifyReport compared(const std::string& reference, const std::string& other, Device device) const {
    Context ctx, other_ctx({.device = device});
    const Model a = Model::load(reference, ctx), b = Model::load(other, other_ctx);
    return verify(ctx, a, other_ctx, b, sample_texts(a));
  }

  template <class Model, class F>
  void expect_found(const std::string& model, const std::string& tensor, const std::string& says, F&& change) const {
    const std::string other = changed(model, tensor, change);
    for (Device device : devices()) {
      const VerifyReport r = compared<Model>(model, other, device);
      EXPECT_FALSE(r.passed()) << tensor;
      EXPECT_THAT(r.failure(), HasSubstr(says)) << tensor;
    }
  }

  std::filesystem::path folder_;
};

const auto nudge = [](std::vector<float>& values) {
  for (float& v : values) v += 1e-3f;
};

void expect_passes(const VerifyReport& r, Device device) {
  EXPECT_TRUE(r.passed()) << r.failure();
  EXPECT_GT(r.texts, 20u);
  EXPECT_GT(r.units, 500u);
  EXPECT_GE(r.answers, r.texts - 1);
  for (const LayerDifference& l : r.layers) {
    EXPECT_GT(l.values, 0) << l.name;
    if (device == Device::cpu) {
      EXPECT_EQ(l.largest, 0) << l.name;
    }
  }
}

TEST_F(Verify, the_same_model_passes) {
  for (Device device : devices()) {
    for (Unit unit : {Unit::syllable, Unit::word}) {
      const std::string ner = trained(Task::ner, unit);
      expect_passes(compared<NerModel>(ner, ner, device), device);
    }
    for (bool multilabel : {false, true}) {
      const std::string tc = trained(Task::tc, Unit::syllable, multilabel);
      expect_passes(compared<TcModel>(tc, tc, device), device);
    }
  }
}

TEST_F(Verify, a_difference_is_found_in_the_layer_that_makes_it) {
  const std::string ner = trained(Task::ner);
  expect_found<NerModel>(ner, "embedding.syllable", "features differs", nudge);
  expect_found<NerModel>(ner, "lstm.0.w_h", "lstm.0 differs", nudge);
  expect_found<NerModel>(ner, "lstm.1.b", "lstm.1 differs", nudge);
  expect_found<NerModel>(ner, "project.w", "emissions differs", nudge);
  const std::string tc = trained(Task::tc);
  expect_found<TcModel>(tc, "convolution.1.width2.w", "convolution differs", nudge);
  expect_found<TcModel>(tc, "project.b", "emissions differs", nudge);
}

TEST_F(Verify, what_is_no_number_never_passes) {
  const std::string tc = trained(Task::tc);
  expect_found<TcModel>(tc, "project.b", "emissions differs by up to inf",
                        [](std::vector<float>& values) { values[1] = std::nanf(""); });
}

TEST_F(Verify, an_answer_that_differs_is_listed) {
  const std::string ner = trained(Task::ner);
  // The CRF's own parameters: no layer before the probabilities sees them.
  const std::string other = changed(ner, "crf.first", [](std::vector<float>& values) { values[0] -= 50; });
  for (Device device : devices()) {
    const VerifyReport r = compared<NerModel>(ner, other, device);
    EXPECT_FALSE(r.passed());
    EXPECT_THAT(r.failure(), StartsWith("probabilities differs"));
    ASSERT_FALSE(r.flips.empty());
    EXPECT_EQ(r.flips.front().reference, "O");
    EXPECT_THAT(r.flips.front().other, StartsWith("B-"));
    EXPECT_FALSE(r.flips.front().tie);
    EXPECT_FALSE(r.flips.front().what.empty());
  }
}

TEST_F(Verify, a_tie_may_go_either_way) {
  const std::string model = trained(Task::tc);
  const auto level = [](std::vector<float>& rows) {  // all classes alike, the last ever so slightly ahead
    std::copy_n(rows.begin(), rows.size() / 3, rows.begin() + static_cast<std::ptrdiff_t>(rows.size() / 3));
    std::copy_n(rows.begin(), rows.size() / 3, rows.begin() + static_cast<std::ptrdiff_t>(2 * rows.size() / 3));
  };
  const std::string even = changed(model, "project.w", level);
  std::filesystem::rename(even, path("rows.bib"));
  const std::string tied = changed(path("rows.bib"), "project.b", [](auto& b) { b = {1, 1, 1}; });
  std::filesystem::rename(tied, path("tied.bib"));
  const std::string ahead = changed(path("tied.bib"), "project.b", [](auto& b) { b[2] += 3e-6f; });
  for (Device device : devices()) {
    const VerifyReport r = compared<TcModel>(path("tied.bib"), ahead, device);
    EXPECT_TRUE(r.passed()) << r.failure();
    EXPECT_EQ(r.flips.size(), r.texts) << "every text's answer should go to the last class";
    for (const LabelFlip& flip : r.flips) EXPECT_TRUE(flip.tie) << flip.what;
  }
}

TEST_F(Verify, sample_texts_come_from_the_vocabulary_and_repeat) {
  Context ctx;
  const NerModel model = NerModel::load(trained(Task::ner), ctx);
  const std::vector<Document> texts = sample_texts(model), again = sample_texts(model);
  ASSERT_EQ(texts.size(), again.size());
  const Features& features = model.impl().features;
  std::size_t known = 0, all = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(texts[i].text, again[i].text);
    const EncodedText encoded = features.encode(texts[i]);
    all += encoded.units.size();
    for (std::size_t u = 0; u < encoded.units.size(); ++u) known += encoded.ids[u] > 0;  // channel 0: the syllable
  }
  EXPECT_GT(known, all * 9 / 10);
}

}  // namespace
}  // namespace bib::test
