// Whole trainings: the trainer's own loop on CUDA against the same on the CPU, losses after every step, the weights it
// ends with, and what the model then answers; stopped and resumed. Built against any library whose cuda device works:
// the GPU's, or the emulator's.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "bib/cuda_backend.h"
#include "bib/ner.h"
#include "bib/tc.h"
#include "bib/train.h"
#include "models/model_file.h"
#include "tests/cuda_at_hand.h"

namespace bib::test {
namespace {

/// Every step's loss may differ by this share of itself, and so may the probabilities of an answer: a few
/// hundred roundings of a float, for sums in another order and what a few steps make of them.
constexpr double loss_tolerance = 2e-5;
/// Weights may differ by this share of the way they can have gone, steps times lr. Adam divides a gradient by its own
/// size, so that one which is nearly nothing but rounding still moves its weight by up to lr: a few weights may differ
/// by more than the typical one. One of ten thousand, or one of fewer, may be an outlier: a GPU's fused products and
/// functions round otherwise than the host does.
constexpr double typical_way = 1e-5, longest_way = 1e-3, outlier_way = 10 * longest_way;
constexpr std::int64_t weights_per_outlier = 10'000;

/// With `spaced`, the entities are words of their own.
std::vector<Document> ner_documents(bool spaced) {
  std::vector<Document> documents;
  const std::vector<std::string> names{"김민수", "이영희", "박철"}, places{"서울", "부산", "New York", "제주도"};
  for (std::size_t i = 0; i < 12; ++i) {
    const std::string &name = names[i % names.size()], &place = places[i % places.size()];
    Document d{.annotated = true};
    const auto entity = [&](const std::string& text, const char* label) {
      d.spans.push_back({{d.text.size(), d.text.size() + text.size()}, label});
      d.text += text + (spaced ? " " : "");
    };
    entity(name, "PS");
    d.text += i % 2 ? "는 어제 " : "가 ";
    entity(place, "LC");
    d.text += i % 3 ? "에 갔다." : "에서 3월 12일까지 살았다";
    documents.push_back(d);
  }
  documents.push_back({.text = "비가 온다", .annotated = true});
  return documents;
}

std::vector<Document> tc_documents(bool multilabel) {
  const std::vector<std::string> good{"배송이 빨라요", "정말 좋은 영화", "아주 맛있다"},
      bad{"다시는 안 산다", "지루한 영화", "너무 느려요"};
  std::vector<Document> documents;
  for (std::size_t i = 0; i < 12; ++i) {
    const bool is_good = i % 2;
    Document d{.text = (is_good ? good : bad)[i / 2 % 3] + (i % 5 ? "" : " 그리고 또 온다"), .annotated = true};
    d.labels = {is_good ? "good" : "bad"};
    if (multilabel && i % 5 == 0) d.labels.push_back("again");
    documents.push_back(std::move(d));
  }
  return documents;
}

struct Scene {
  const char* name;
  Config config;
  friend void PrintTo(const Scene& s, std::ostream* out) { *out << s.name; }
};

Config small(Task task, Unit unit = Unit::syllable) {
  Config c = default_config(task, unit);
  c.syllable = c.bigram = c.word = 8;
  c.jamo = c.shape = 4;
  c.hidden = 12;
  c.windows = {1, 2, 3};
  c.filters = 9;
  c.batch = 4;
  c.epochs = 4;
  c.lr = 0.03f;
  c.ema = 0.5f;
  c.dropout_input = c.dropout_recurrent = c.dropout_output = 0.1f;
  c.train_rate = 1;
  return c;
}

/// Between them every layer, optimiser and loss that training has.
std::vector<Scene> scenes() {
  std::vector<Scene> all;
  const auto with = [&](const char* name, Config c, auto&& change) { change(c), all.push_back({name, std::move(c)}); };
  with("ner_syllables", small(Task::ner), [](Config&) {});
  with("ner_words", small(Task::ner, Unit::word), [](Config& c) {
    c.characters = 5, c.character_filters = 6, c.affix = 3;
    c.layers = 2, c.scheme = Scheme::bioes;
    c.optimizer = Optimizer::sgd, c.lr = 0.1f, c.weight_decay = 1e-3f;
  });
  with("tc_classes", small(Task::tc), [](Config& c) { c.balanced = true, c.lr = 0.02f; });
  with("tc_multilabel", small(Task::tc), [](Config& c) {
    c.multilabel = true;
    c.optimizer = Optimizer::sgd, c.lr = 0.1f;
  });
  return all;
}

struct Trained {
  std::string path;
  std::vector<TrainProgress> steps;
};

class TrainParity : public ::testing::TestWithParam<Scene> {
 protected:
  void SetUp() override {
    if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("bib_train_parity_") + GetParam().name + "_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  std::vector<Document> documents() const {
    const Config& c = GetParam().config;
    return c.task == Task::ner ? ner_documents(c.unit == Unit::word) : tc_documents(c.multilabel);
  }

  Trained trained_on(Device device) const {
    Trained t{.path = (folder_ / (device == Device::cpu ? "cpu.bib" : "cuda.bib")).string()};
    Context ctx({.device = device});
    train(ctx, GetParam().config, documents(), documents(), {.output = t.path, .progress = [&](const TrainProgress& p) {
                                                               t.steps.push_back(p);
                                                               return true;
                                                             }});
    return t;
  }

  std::filesystem::path folder_;
};

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void expect_same_losses(const std::vector<TrainProgress>& got, const std::vector<TrainProgress>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(got[i].loss - expected[i].loss) / expected[i].loss;
    EXPECT_LE(difference, loss_tolerance)
        << "step " << got[i].step << ": " << got[i].loss << ", on the CPU " << expected[i].loss;
    EXPECT_EQ(got[i].dev_score, expected[i].dev_score) << "epoch " << got[i].epoch;
    worst = std::max(worst, difference);
  }
  EXPECT_LT(expected.back().loss, 0.9 * expected.front().loss) << "nothing was learned, so little was compared";
  std::printf("  loss %.4f to %.4f, largest difference %.2g of it\n", expected.front().loss, expected.back().loss,
              worst);
}

void expect_same_weights(const std::string& got, const std::string& expected, double way) {
  const ModelFile a = read_model(got), b = read_model(expected);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  double squares = 0, largest = 0;
  std::int64_t count = 0, outliers = 0;
  for (const auto& [name, tensor] : b.tensors) {
    ASSERT_TRUE(a.has(name)) << name;
    const Tensor& other = a.tensors.at(name);
    ASSERT_EQ(other.shape, tensor.shape) << name;
    if (tensor.type != ElementType::f32) {
      EXPECT_EQ(std::memcmp(other.data, tensor.data, tensor.bytes()), 0) << name;
      continue;
    }
    const float *x = static_cast<const float*>(other.data), *y = static_cast<const float*>(tensor.data);
    for (std::int64_t i = 0; i < tensor.size(); ++i, ++count) {
      const double difference = x[i] == y[i] ? 0 : std::abs(double{x[i]} - double{y[i]}) / way;
      ASSERT_LE(difference, outlier_way) << name << "[" << i << "]: " << x[i] << ", on the CPU " << y[i];
      largest = std::max(largest, difference);
      if (difference > longest_way) {
        ++outliers;
        continue;
      }
      squares += difference * difference;
    }
  }
  ASSERT_GT(count, 0);
  const double typical = std::sqrt(squares / static_cast<double>(count));
  EXPECT_LE(typical, typical_way);
  EXPECT_LE(outliers, (count + weights_per_outlier - 1) / weights_per_outlier) << "of " << count << " weights";
  std::printf("  %lld weights: differences %.2g of the way, at most %.2g; %lld outliers\n",
              static_cast<long long>(count), typical, largest, static_cast<long long>(outliers));
}

template <class Model>
auto answers(const std::string& path, Device device, const std::vector<Document>& documents) {
  Context ctx({.device = device});
  return Model::load(path, ctx).predict(ctx, documents);
}

void expect_same_entities(const std::string& path, const std::vector<Document>& documents) {
  const auto got = answers<NerModel>(path, Device::cuda, documents),
             expected = answers<NerModel>(path, Device::cpu, documents);
  std::size_t found = 0;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    SCOPED_TRACE(documents[d].text);
    ASSERT_EQ(got[d].entities.size(), expected[d].entities.size());
    for (std::size_t i = 0; i < got[d].entities.size(); ++i, ++found) {
      EXPECT_EQ(Span(got[d].entities[i]), Span(expected[d].entities[i]));
      EXPECT_NEAR(got[d].entities[i].score.value(), expected[d].entities[i].score.value(), loss_tolerance);
    }
  }
  EXPECT_GT(found, 0u) << "the model finds nothing, so nothing was compared";
}

void expect_same_classes(const std::string& path, const std::vector<Document>& documents) {
  const auto got = answers<TcModel>(path, Device::cuda, documents),
             expected = answers<TcModel>(path, Device::cpu, documents);
  std::size_t alike = 0;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    SCOPED_TRACE(documents[d].text);
    EXPECT_EQ(got[d].labels, expected[d].labels);
    ASSERT_EQ(got[d].classes.size(), expected[d].classes.size());
    EXPECT_NEAR(got[d].classes[0].score, expected[d].classes[0].score, loss_tolerance);
    alike += expected[d].labels == expected[0].labels;
  }
  EXPECT_LT(alike, documents.size()) << "the model gives one answer to everything";
}

TEST_P(TrainParity, cuda_learns_what_the_cpu_learns) {
  const Trained cuda = trained_on(Device::cuda), cpu = trained_on(Device::cpu);
  expect_same_losses(cuda.steps, cpu.steps);
  const double way = static_cast<double>(GetParam().config.lr) * cpu.steps.back().steps;
  expect_same_weights(cuda.path, cpu.path, way);
  for (const std::string& path : {cuda.path, cpu.path}) {
    if (GetParam().config.task == Task::ner) {
      expect_same_entities(path, documents());
    } else {
      expect_same_classes(path, documents());
    }
  }
}

/// The device is a step ahead of what the host has seen when it is stopped.
TEST_P(TrainParity, stopped_and_resumed_it_makes_the_same_bytes) {
  const Trained whole = trained_on(Device::cuda);
  const std::string path = (folder_ / "stopped.bib").string();
  int stops = 0;
  for (bool interrupted = true; interrupted; ++stops) {
    Context ctx({.device = Device::cuda});
    int steps = 0;
    std::vector<TrainProgress> seen;
    const TrainOptions options{.output = path, .resume = stops > 0, .progress = [&](const TrainProgress& p) {
                                 seen.push_back(p);
                                 return ++steps < 3;
                               }};
    interrupted = train(ctx, GetParam().config, documents(), documents(), options).interrupted;
    ASSERT_FALSE(seen.empty());
    for (const TrainProgress& p : seen)
      EXPECT_EQ(p.loss, whole.steps.at(static_cast<std::size_t>(p.step - 1)).loss) << "step " << p.step;
  }
  EXPECT_GT(stops, 3);
  EXPECT_EQ(bytes_of(path), bytes_of(whole.path));
}

INSTANTIATE_TEST_SUITE_P(Models, TrainParity, ::testing::ValuesIn(scenes()),
                         [](const auto& scene) { return std::string(scene.param.name); });

/// However large the products are: to open cuBLAS takes longer than it saves in them.
TEST(Predictions, leave_cublas_closed) {
  if (!cuda_at_hand()) GTEST_SKIP() << "no GPU: " << cuda_info().why;
  const auto path = std::filesystem::temp_directory_path() / ("bib_predictions_" + std::to_string(getpid()) + ".bib");
  Config config = small(Task::ner);
  config.hidden = 64, config.epochs = 1;
  Context cpu;
  train(cpu, config, ner_documents(false), {}, {.output = path.string()});
  const std::vector<Document> one_batch(64, {.text = "서울에 사는 김민수"});
  const auto kernels = [&](const char* blas) {
    blas ? ::setenv("BIB_GPU_BLAS", blas, 1) : ::unsetenv("BIB_GPU_BLAS");
    Context ctx({.device = Device::cuda});
    NerModel::load(path.string(), ctx).predict(ctx, one_batch, {.scores = false});
    ::unsetenv("BIB_GPU_BLAS");
    return cuda_enqueued(ctx.cuda());
  };
  const std::uint64_t usual = kernels(nullptr);
  EXPECT_EQ(usual, kernels("bib"));
  if (cuda_info().name == "emulator") {  // where cuBLAS is always at hand
    EXPECT_NE(usual, kernels("cublas")) << "no product was large enough";
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace bib::test
