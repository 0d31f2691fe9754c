// Text classification for the trainer: documents to classes, loss, dev accuracy.
#include <algorithm>
#include <map>

#include "bib/error.h"
#include "models/model_parts.h"
#include "models/pretrained.h"
#include "train/base.h"
#include "train/batching.h"
#include "train/encode.h"
#include "train/learner.h"
#include "train/metrics.h"
#include "train/phase.h"

namespace bib {
namespace {

// What follows is cut off in training: the memory of a batch stays bounded, and a class shows itself earlier.
constexpr std::size_t longest_example = 2000;

class TcLearner final : public Learner {
 public:
  TcLearner(Context& ctx, const Config& config, const std::vector<Document>& train, std::vector<Document> dev,
            const TrainOptions& options, const std::shared_ptr<const ModelFile>& base_file)
      : config_(config), dev_(std::move(dev)) {
    const std::shared_ptr<TcModel::Impl> base = base_file ? open_tc(ctx, base_file) : nullptr;
    const std::map<std::string, std::size_t> count = count_labels(train);
    Labels labels(base ? joined(base->labels.names(), names_of(count)) : names_of(count));
    weigh(labels, count, train.size());
    warn_of_dev(labels, options);
    Features features = Features::build(config, train, base ? &base->features : nullptr);
    const PretrainedRows pretrained = base ? PretrainedRows() : PretrainedRows::read(config, features, options);
    model_ = std::make_shared<TcModel::Impl>(make_tc(config, std::move(features), std::move(labels)));
    model_->parameters.allocate(ctx, config.seed);
    pretrained.initialise(ctx, model_->parameters);
    if (base) {
      model_->parameters.take_over(ctx, base->parameters);
      tell_growth(options, base->features, model_->features, base->labels.names(), names_of(count));
    }
    train_ = examples_of(ctx, train);
    for (std::size_t i = 0; i < train.size(); ++i)
      weights_.push_back(train[i].weight *
                         (config.multilabel ? 1.0f : class_weight_[static_cast<std::size_t>(train_.classes[i][0])]));
    if (train_.cut && options.warn) {
      options.warn(std::to_string(train_.cut) + " texts are longer than " + std::to_string(longest_example) +
                   " units; training reads their beginning");
    }
    if (base && has_dev()) {
      const Phase phase(options.profile, &TrainProfile::evaluate);
      base_score_ = score_of(ctx, TcModel(base));
    }
  }

  Parameters& parameters() override { return model_->parameters; }
  std::span<const int> lengths() const override { return train_.lengths; }
  bool has_dev() const override { return !dev_.empty(); }

  Batch prepare(std::span<const std::size_t> examples, RandomKey key) const override {
    key.stream = unknown_stream;
    Batch batch = batch_of(train_, examples, true, {.rate = config_.unknown_rate, .key = key});
    batch.weight = batch_weights(examples, weights_);
    return batch;
  }

  View<real, 1> loss(Context& ctx, const Batch& batch, RandomKey key, TableGradients& tables) const override {
    return model_->network.loss(ctx, upload(ctx, batch), gold_of(ctx, batch, class_weight_), key, tables);
  }

  std::optional<double> base_score() const override { return base_score_; }
  double evaluate(Context& ctx) override { return score_of(ctx, TcModel(model_)); }

  /// Of texts and classes as they come: what balances classes in training would make a rare one too probable.
  Temperature calibrate(Context& ctx) override {
    const Examples dev = examples_of(ctx, documents_of_known_classes(temperature_sample(dev_)));
    const std::vector<Group> groups = batches_for_prediction(ctx, dev.lengths);
    std::vector<Batch> batches;
    ScoredBatches data{.batches = static_cast<int>(groups.size())};
    for (const Group& group : groups) {
      Batch& batch = batches.emplace_back(batch_of(dev, group, false, {}));
      batch.weight.assign(group.size(), 1);
      data.examples += group.size();
    }
    const TextCnn& network = model_->network;
    data.scores = [&](Context& one, int g) {
      return download(one, network.scores(one, upload(one, batches[static_cast<std::size_t>(g)]), false).scores);
    };
    data.loss = [&](Context& one, int g, const std::vector<real>& scores, real factor) {
      const Batch& batch = batches[static_cast<std::size_t>(g)];
      const int K = model_->labels.size();
      const View<real, 1> loss = one.arena().make<real, 1>({batch.B});
      const TextCnn::Gold gold = gold_of(one, batch, std::vector<float>(static_cast<std::size_t>(K), 1));
      network.loss_of(one, times(one, scores, factor).reshaped<2>({batch.B, K}), gold, loss, {});
      return loss;
    };
    const Temperature t = best_temperature(ctx, data);
    network.scale_scores(ctx, model_->parameters, static_cast<real>(1 / t.value));
    return t;
  }

  void save(Context& ctx, ModelFile& file) override { bib::save(ctx, *model_, file); }

 private:
  double score_of(Context& ctx, const TcModel& model) const {
    std::vector<Document> predicted;
    for (TcPrediction& p : model.predict(ctx, dev_, {})) {
      predicted.push_back({.labels = std::move(p.labels), .annotated = true});
    }
    const TcScores scores = evaluate_tc(dev_, predicted, {.resamples = 0});
    return config_.multilabel ? scores.micro.f1() : scores.accuracy();
  }

  /// Documents as training reads them.
  struct Examples {
    std::vector<EncodedText> texts;
    std::vector<std::vector<int>> classes;
    std::vector<int> lengths;
    std::size_t cut = 0;
  };

  Examples examples_of(Context& ctx, const std::vector<Document>& documents) const {
    Examples examples{.texts = encode_apart(ctx, model_->features, documents)};
    for (EncodedText& text : examples.texts) {
      examples.cut += text.units.size() > longest_example;
      text = truncated(std::move(text), longest_example);
      examples.lengths.push_back(static_cast<int>(text.units.size()));
    }
    for (const Document& document : documents) {
      std::vector<int>& ids = examples.classes.emplace_back();
      for (const std::string& label : document.labels)
        if (const int id = model_->labels.id(label); id >= 0) ids.push_back(id);
    }
    return examples;
  }

  /// Those of a dev set: a class that training never saw has no probability.
  std::vector<Document> documents_of_known_classes(std::vector<Document> documents) const {
    if (config_.multilabel) return documents;
    std::erase_if(documents,
                  [&](const Document& d) { return d.labels.size() != 1 || model_->labels.id(d.labels[0]) < 0; });
    return documents;
  }

  /// With the classes of its texts, but without weights.
  Batch batch_of(const Examples& from, std::span<const std::size_t> chosen, bool training, UnknownDropout drop) const {
    std::vector<const EncodedText*> texts;
    for (std::size_t i : chosen) texts.push_back(&from.texts[i]);
    Batch batch = make_batch(model_->features, texts, training, drop);
    const auto K = static_cast<std::size_t>(model_->labels.size());
    if (config_.multilabel) batch.targets.assign(chosen.size() * K, 0);
    for (std::size_t b = 0; b < chosen.size(); ++b) {
      const std::vector<int>& classes = from.classes[chosen[b]];
      if (config_.multilabel) {
        for (int k : classes) batch.targets[b * K + static_cast<std::size_t>(k)] = 1;
      } else {
        batch.labels.push_back(classes.front());
      }
    }
    return batch;
  }

  TextCnn::Gold gold_of(Context& ctx, const Batch& batch, const std::vector<float>& class_weight) const {
    TextCnn::Gold gold{.weight = upload<real, 1>(ctx, batch.weight, {batch.B})};
    if (config_.multilabel) {
      const int K = model_->labels.size();
      gold.targets = upload<real, 2>(ctx, batch.targets, {batch.B, K});
      gold.class_weight = upload<real, 1>(ctx, std::vector<real>(class_weight.begin(), class_weight.end()), {K});
    } else {
      gold.labels = upload<int, 1>(ctx, batch.labels, {batch.B});
    }
    return gold;
  }

  /// The classes of the data, and in how many documents each is.
  std::map<std::string, std::size_t> count_labels(const std::vector<Document>& train) const {
    std::map<std::string, std::size_t> count;
    for (const Document& document : train) {
      if (document.labels.empty() && !config_.multilabel) {
        throw DataError("training data: error: " + place_of(document, train) + " has no class");
      }
      if (document.labels.size() > 1 && !config_.multilabel) {
        throw DataError("training data: error: " + place_of(document, train) + " has " +
                        std::to_string(document.labels.size()) +
                        " classes; set multilabel = true if a document may have several");
      }
      for (const std::string& label : document.labels) ++count[label];
    }
    if (count.empty()) throw DataError("training data: error: no document has a class");
    return count;
  }

  static std::vector<std::string> names_of(const std::map<std::string, std::size_t>& count) {
    std::vector<std::string> names;
    for (const auto& [label, n] : count) names.push_back(label);
    return names;
  }

  /// 1, or inversely proportional to the class's frequency with mean 1 per document; 1 where only the base knows it.
  void weigh(const Labels& labels, const std::map<std::string, std::size_t>& count, std::size_t documents) {
    if (labels.size() == 1 && !config_.multilabel)
      throw DataError("training data: error: every document has the same class '" + labels[0] +
                      "'; there is nothing to learn");
    for (const std::string& label : labels.names()) {
      float weight = 1;
      if (const auto found = count.find(label); config_.balanced && found != count.end())
        weight = static_cast<float>(static_cast<double>(documents) /
                                    (static_cast<double>(found->second) * static_cast<double>(count.size())));
      class_weight_.push_back(weight);
    }
  }

  void warn_of_dev(const Labels& labels, const TrainOptions& options) const {
    std::size_t unseen = 0;
    std::string example;
    for (const Document& document : dev_) {
      for (const std::string& label : document.labels) {
        if (labels.id(label) >= 0) continue;
        ++unseen;
        example = label;
      }
    }
    if (unseen && options.warn) {
      options.warn("the dev set has " + std::to_string(unseen) + " classes that training never sees (such as '" +
                   example + "'); they count as wrong");
    }
  }

  Config config_;
  std::shared_ptr<TcModel::Impl> model_;
  Examples train_;
  std::vector<float> weights_, class_weight_;
  std::vector<Document> dev_;
  std::optional<double> base_score_;
};

}  // namespace

std::unique_ptr<Learner> make_tc_learner(Context& ctx, const Config& config, std::vector<Document> train,
                                         std::vector<Document> dev, const TrainOptions& options,
                                         std::shared_ptr<const ModelFile> base) {
  return std::make_unique<TcLearner>(ctx, config, train, std::move(dev), options, base);
}

}  // namespace bib
