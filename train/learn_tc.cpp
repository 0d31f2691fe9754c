// Text classification for the trainer: documents to classes, loss, dev accuracy.
#include <algorithm>
#include <map>

#include "bib/error.h"
#include "models/model_parts.h"
#include "models/pretrained.h"
#include "train/encode.h"
#include "train/learner.h"
#include "train/metrics.h"

namespace bib {
namespace {

// What follows is cut off in training: the memory of a batch stays bounded, and a class shows itself earlier.
constexpr std::size_t longest_example = 2000;

class TcLearner final : public Learner {
 public:
  TcLearner(Context& ctx, const Config& config, const std::vector<Document>& train, std::vector<Document> dev,
            const TrainOptions& options)
      : config_(config), dev_(std::move(dev)) {
    Labels labels = count_labels(train);
    warn_of_dev(labels, options);
    Features features = Features::build(config, train);
    const PretrainedRows pretrained = PretrainedRows::read(config, features, options);
    model_ = std::make_shared<TcModel::Impl>(make_tc(config, std::move(features), std::move(labels)));
    model_->parameters.allocate(ctx, config.seed);
    pretrained.initialise(ctx, model_->parameters);
    std::size_t cut = 0;
    texts_ = encode_apart(ctx, model_->features, train);
    for (EncodedText& text : texts_) {
      cut += text.units.size() > longest_example;
      text = truncated(std::move(text), longest_example);
      lengths_.push_back(static_cast<int>(text.units.size()));
    }
    for (const Document& document : train) {
      std::vector<int>& ids = classes_.emplace_back();
      for (const std::string& label : document.labels) ids.push_back(model_->labels.id(label));
      weights_.push_back(document.weight *
                         (config.multilabel ? 1.0f : class_weight_[static_cast<std::size_t>(ids[0])]));
    }
    if (cut && options.warn) {
      options.warn(std::to_string(cut) + " texts are longer than " + std::to_string(longest_example) +
                   " units; training reads their beginning");
    }
  }

  Parameters& parameters() override { return model_->parameters; }
  std::span<const int> lengths() const override { return lengths_; }
  bool has_dev() const override { return !dev_.empty(); }

  Batch prepare(std::span<const std::size_t> examples, RandomKey key) const override {
    std::vector<const EncodedText*> texts;
    for (std::size_t i : examples) texts.push_back(&texts_[i]);
    key.stream = unknown_stream;
    Batch batch = make_batch(model_->features, texts, true, {.rate = config_.unknown_rate, .key = key});
    batch.weight = batch_weights(examples, weights_);
    const auto K = static_cast<std::size_t>(model_->labels.size());
    if (config_.multilabel) batch.targets.assign(examples.size() * K, 0);
    for (std::size_t b = 0; b < examples.size(); ++b) {
      const std::vector<int>& classes = classes_[examples[b]];
      if (config_.multilabel) {
        for (int k : classes) batch.targets[b * K + static_cast<std::size_t>(k)] = 1;
      } else {
        batch.labels.push_back(classes.front());
      }
    }
    return batch;
  }

  View<real, 1> loss(Context& ctx, const Batch& batch, RandomKey key, TableGradients& tables) const override {
    TextCnn::Gold gold{.weight = upload<real, 1>(ctx, batch.weight, {batch.B})};
    if (config_.multilabel) {
      const int K = model_->labels.size();
      const std::vector<real> class_weight(class_weight_.begin(), class_weight_.end());
      gold.targets = upload<real, 2>(ctx, batch.targets, {batch.B, K});
      gold.class_weight = upload<real, 1>(ctx, class_weight, {K});
    } else {
      gold.labels = upload<int, 1>(ctx, batch.labels, {batch.B});
    }
    return model_->network.loss(ctx, upload(ctx, batch), gold, key, tables);
  }

  double evaluate(Context& ctx) override {
    std::vector<Document> predicted;
    for (TcPrediction& p : TcModel(model_).predict(ctx, dev_, {})) {
      predicted.push_back({.labels = std::move(p.labels), .annotated = true});
    }
    const TcScores scores = evaluate_tc(dev_, predicted, {.resamples = 0});
    return config_.multilabel ? scores.micro.f1() : scores.accuracy();
  }

  void save(Context& ctx, ModelFile& file) override { bib::save(ctx, *model_, file); }

 private:
  /// The classes, sorted, and their weights: 1, or inversely proportional to their frequency with mean 1 per document.
  Labels count_labels(const std::vector<Document>& train) {
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
    if (count.size() == 1 && !config_.multilabel) {
      throw DataError("training data: error: every document has the same class '" + count.begin()->first +
                      "'; there is nothing to learn");
    }
    std::vector<std::string> names;
    for (const auto& [label, n] : count) {
      names.push_back(label);
      const double balanced =
          static_cast<double>(train.size()) / (static_cast<double>(n) * static_cast<double>(count.size()));
      class_weight_.push_back(config_.balanced ? static_cast<float>(balanced) : 1.0f);
    }
    return Labels(std::move(names));
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
  std::vector<EncodedText> texts_;
  std::vector<std::vector<int>> classes_;
  std::vector<float> weights_, class_weight_;
  std::vector<int> lengths_;
  std::vector<Document> dev_;
};

}  // namespace

std::unique_ptr<Learner> make_tc_learner(Context& ctx, const Config& config, std::vector<Document> train,
                                         std::vector<Document> dev, const TrainOptions& options) {
  return std::make_unique<TcLearner>(ctx, config, train, std::move(dev), options);
}

}  // namespace bib
