// Whole models in double: every parameter, dense ones and rows of tables, against central differences of the loss. What
// ops cannot show: a layer that is left out or called in the wrong order, a mask that differs on the way back.
#include <algorithm>

#include "models/bilstm_crf.h"
#include "models/text_cnn.h"
#include "tests/op_test.h"

namespace bib::test {
namespace {

static_assert(std::is_same_v<real, double>, "central differences need double: link bib_double");

constexpr double step = 1e-5, relative = 1e-6;
constexpr double rounding = 1e-16 / step * 100;  // of the loss: it is summed over everything the model computes
constexpr std::size_t coordinates = 40;          // of each parameter, drawn at random

struct Scene {
  const char* name;
  Config config;
  friend void PrintTo(const Scene& s, std::ostream* out) { *out << s.name; }
};

/// Every feature and every dropout on, small.
Config small(Task task, Unit unit) {
  Config c = default_config(task, unit);
  c.syllable = 4, c.bigram = 3, c.trigram = 2, c.word = 3, c.jamo = 2, c.shape = 2, c.affix = 2;
  c.characters = unit == Unit::word ? 3 : 0, c.character_filters = 4;
  c.hidden = 5, c.layers = 2;
  c.windows = {1, 2, 3}, c.filters = 4;
  c.dropout_input = c.dropout_recurrent = c.dropout_output = 0.3f;
  return c;
}

std::vector<Scene> scenes() {
  std::vector<Scene> all;
  for (const Task task : {Task::ner, Task::tc})
    for (const Unit unit : {Unit::syllable, Unit::word}) {
      const bool ner = task == Task::ner, words = unit == Unit::word;
      Config c = small(task, unit);
      c.multilabel = words;
      c.scheme = words ? Scheme::bioes : Scheme::iob2;
      all.push_back({ner ? words ? "ner_words" : "ner_syllables" : words ? "tc_words_multilabel" : "tc_syllables", c});
    }
  return all;
}

class ModelGradients : public ::testing::TestWithParam<Scene> {
 protected:
  ModelGradients() {
    for (const char* text : {"서울에 사는 김민수 씨", "Kim은 3일 왔다.", "간다", "", "부산, 서울"})
      documents_.push_back({.text = text});
    features_.emplace_back(Features::build(config_, documents_));
    std::vector<const EncodedText*> pointers;
    for (const Document& d : documents_) texts_.push_back(features_[0].encode(d));
    for (const EncodedText& t : texts_) pointers.push_back(&t);
    batch_ = make_batch(features_[0], pointers, true, {.rate = 0.1f, .key = {.seed = 5, .stream = 1000}});
    for (int b = 0; b < batch_.B; ++b) batch_.weight.push_back(real(0.5) + real(b) / 4);
  }

  /// Away from the zeros that biases begin with: there ReLU has no derivative where a text is empty.
  void shake(Parameters& p) {
    for (const ParamInfo& info : p.infos()) {
      std::vector<real> values = p.get(ctx_, info.name);
      const RandomKey key{.seed = test_seed(), .stream = 8};
      for (std::size_t i = 0; i < values.size(); ++i) values[i] += 0.2 * (random_uniform(key, i) - 0.5);
      p.set(ctx_, info.name, values);
    }
  }

  /// loss(tables): of the batch, with its gradients added to the parameters' and to `tables`.
  template <class Loss>
  void check(Parameters& p, Loss&& loss) {
    TableGradients tables;
    const View<real, 1> grads = p.grads();
    std::fill(grads.data, grads.data + grads.size(), real(0));
    const double value = loss(tables);
    std::vector<std::vector<real>> expected;  // gradients of the tables' rows, elsewhere 0
    for (const ParamInfo& info : p.infos())
      expected.emplace_back(info.grad ? std::vector<real>(info.grad, info.grad + info.size)
                                      : std::vector<real>(static_cast<std::size_t>(info.size), real(0)));
    for (const TableGradient& g : tables) {
      const auto at = std::find_if(p.infos().begin(), p.infos().end(),
                                   [&](const ParamInfo& info) { return &info == g.table.info; });
      std::vector<real>& dense = expected[static_cast<std::size_t>(at - p.infos().begin())];
      const EmbeddingBackward by_row = g.by_row(ctx_);
      run(ctx_, by_row);
      const int E = by_row.d_rows.dim(1);
      for (int u = 0; u < g.index.rows.dim(0); ++u)
        for (int e = 0; e < E; ++e) dense[static_cast<std::size_t>(g.index.rows[u] * E + e)] += by_row.d_rows[u][e];
    }
    for (std::size_t k = 0; k < expected.size(); ++k) check_parameter(p, p.infos()[k], expected[k], value, loss);
  }

  template <class Loss>
  void check_parameter(Parameters& p, const ParamInfo& info, const std::vector<real>& gradient, double value,
                       Loss&& loss) {
    const double rms = root_mean_square(std::vector<double>(gradient.begin(), gradient.end()));
    EXPECT_GT(rms, 0) << info.name << " learns nothing";
    const std::vector<real> values = p.get(ctx_, info.name);
    const RandomKey key{.seed = test_seed(), .stream = 7};
    Worst worst;
    for (std::size_t k = 0; k < std::min(coordinates, values.size()); ++k) {
      const std::size_t i = values.size() <= coordinates ? k : random_word(key, k) % values.size();
      if (!std::isfinite(values[i])) {
        EXPECT_EQ(gradient[i], 0) << info.name << ": a forbidden transition";
        continue;
      }
      const auto shifted = [&](double by) {
        const real x = values[i] + by;
        p.set(ctx_, info.name, {&x, 1}, static_cast<std::int64_t>(i));
        TableGradients unused;
        return loss(unused);
      };
      const double numeric = (shifted(step) - shifted(-step)) / (2 * step);
      shifted(0);
      const double allowed = relative * (std::abs(gradient[i]) + rms) + rounding * std::abs(value);
      worst.take({.fraction = error_fraction(gradient[i], numeric, allowed),
                  .operand = 0,
                  .element = static_cast<std::int64_t>(i),
                  .got = gradient[i],
                  .expected = numeric,
                  .allowed = allowed});
    }
    EXPECT_TRUE(worst.ok()) << info.name << ": " << worst.text();
  }

  double sum(View<real, 1> loss) {
    double total = 0;
    for (const real l : download(ctx_, loss)) total += l;
    return total;
  }

  const Config config_ = GetParam().config;
  const RandomKey key_{.seed = 3, .step = 11};
  Context ctx_;
  std::vector<Document> documents_;
  std::vector<Features> features_;  // one; Features has no default
  std::vector<EncodedText> texts_;
  Batch batch_;
};

TEST_P(ModelGradients, equal_central_differences) {
  Parameters p;
  if (config_.task == Task::ner) {
    const TagSet tags({"LC", "PS"}, config_.scheme);
    const BiLstmCrf model = BiLstmCrf::add(p, config_, features_[0], tags.size());
    p.allocate(ctx_, 9);
    shake(p);
    model.forbid(ctx_, p, tags);
    std::vector<int> gold(static_cast<std::size_t>(batch_.T * batch_.B), -1);  // partly annotated
    for (int b = 0; b < batch_.B; ++b) {
      const int n = batch_.lengths[static_cast<std::size_t>(b)];
      const std::vector<UnitSpan> spans =
          n > 1 ? std::vector<UnitSpan>{{0, 2, 0}, {n - 1, n, 1}} : std::vector<UnitSpan>{};
      const std::vector<int> encoded = tags.encode(n, n > 2 ? spans : std::vector<UnitSpan>{});
      for (int t = 0; t < n; ++t)
        if (t != 3) gold[static_cast<std::size_t>(t * batch_.B + b)] = encoded[static_cast<std::size_t>(t)];
    }
    check(p, [&](TableGradients& tables) {
      ctx_.arena().reset();
      return sum(model.loss(ctx_, upload(ctx_, batch_), upload<int, 2>(ctx_, gold, {batch_.T, batch_.B}),
                            upload<real, 1>(ctx_, batch_.weight, {batch_.B}), key_, tables));
    });
    return;
  }
  constexpr int K = 3;
  const TextCnn model = TextCnn::add(p, config_, features_[0], K);
  p.allocate(ctx_, 9);
  shake(p);
  const std::vector<int> labels{0, 1, 2, 1, 0};
  const std::vector<real> targets{1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1}, class_weight{1, 0.5, 2};
  check(p, [&](TableGradients& tables) {
    ctx_.arena().reset();
    TextCnn::Gold gold{.weight = upload<real, 1>(ctx_, batch_.weight, {batch_.B})};
    if (config_.multilabel) {
      gold.targets = upload<real, 2>(ctx_, targets, {batch_.B, K});
      gold.class_weight = upload<real, 1>(ctx_, class_weight, {K});
    } else {
      gold.labels = upload<int, 1>(ctx_, labels, {batch_.B});
    }
    return sum(model.loss(ctx_, upload(ctx_, batch_), gold, key_, tables));
  });
}

INSTANTIATE_TEST_SUITE_P(Models, ModelGradients, ::testing::ValuesIn(scenes()),
                         [](const auto& scene) { return std::string(scene.param.name); });

}  // namespace
}  // namespace bib::test
