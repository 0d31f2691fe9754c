// NER for the trainer: documents to tagged units, loss, dev F1.
#include <algorithm>

#include "bib/error.h"
#include "models/model_parts.h"
#include "models/pretrained.h"
#include "models/text.h"
#include "train/base.h"
#include "train/batching.h"
#include "train/encode.h"
#include "train/learner.h"
#include "train/metrics.h"
#include "train/phase.h"

namespace bib {
namespace {

// Longer texts are learned in parts of at most this many units, cut where no entity stands.
constexpr std::size_t longest_example = 400;

class NerLearner final : public Learner {
 public:
  NerLearner(Context& ctx, const Config& config, const std::vector<Document>& train, std::vector<Document> dev,
             const TrainOptions& options, const std::shared_ptr<const ModelFile>& base_file)
      : config_(config), nested_(config.nested == "innermost" ? Nested::innermost : Nested::outermost) {
    for (const std::vector<Document>* documents : {&train, static_cast<const std::vector<Document>*>(&dev)})
      for (const Document& document : *documents) require_annotation(document, *documents);
    const std::vector<std::string> labels = span_labels(train);
    if (labels.empty()) {
      throw DataError("training data: error: no entity is annotated in any of the " + std::to_string(train.size()) +
                      " documents; check the format with 'bib check', or name it (--format)");
    }
    const std::shared_ptr<NerModel::Impl> base = base_file ? open_ner(ctx, base_file) : nullptr;
    Features features = Features::build(config, train, base ? &base->features : nullptr);
    const PretrainedRows pretrained = base ? PretrainedRows() : PretrainedRows::read(config, features, options);
    TagSet tags(base ? joined(base->tags.labels(), labels) : labels, config.scheme);
    model_ = std::make_shared<NerModel::Impl>(make_ner(config, std::move(features), std::move(tags)));
    model_->parameters.allocate(ctx, config.seed);
    pretrained.initialise(ctx, model_->parameters);
    if (base) {
      model_->parameters.take_over(ctx, base->parameters);
      tell_growth(options, base->features, model_->features, base->tags.labels(), labels);
    }
    model_->network.forbid(ctx, model_->parameters, model_->tags);
    train_ = examples_of(ctx, train);
    if (train_.trimmed && options.warn)
      options.warn(
          std::to_string(train_.trimmed) +
          " annotated spans begin or end with white space; they are learned without it. 'bib check' lists them");
    if (train_.misaligned && options.warn) {
      options.warn(std::to_string(train_.misaligned) + " of " + std::to_string(train_.spans) +
                   " annotated spans do not meet the borders of the units (" +
                   (config.unit == Unit::word ? "words" : "syllables") + "); their units count as not annotated. " +
                   (config.unit == Unit::word ? "Syllables as units keep them" : "'bib check' lists them"));
    }
    set_dev(std::move(dev), options);
    if (base && has_dev()) {
      const Phase phase(options.profile, &TrainProfile::evaluate);
      base_score_ = score_of(ctx, NerModel(base));
    }
  }

  Parameters& parameters() override { return model_->parameters; }
  std::span<const int> lengths() const override { return train_.lengths; }
  bool has_dev() const override { return !dev_.empty(); }

  Batch prepare(std::span<const std::size_t> examples, RandomKey key) const override {
    key.stream = unknown_stream;
    Batch batch = batch_of(train_, examples, true, {.rate = config_.unknown_rate, .key = key});
    batch.weight = batch_weights(examples, train_.weights);
    return batch;
  }

  View<real, 1> loss(Context& ctx, const Batch& batch, RandomKey key, TableGradients& tables) const override {
    return model_->network.loss(ctx, upload(ctx, batch), upload<int, 2>(ctx, batch.tags, {batch.T, batch.B}),
                                upload<real, 1>(ctx, batch.weight, {batch.B}), key, tables);
  }

  std::optional<double> base_score() const override { return base_score_; }
  double evaluate(Context& ctx) override { return score_of(ctx, NerModel(model_)); }

  Temperature calibrate(Context& ctx) override {
    const Examples dev = examples_of(ctx, temperature_sample(dev_));
    const std::vector<Group> groups = batches_for_prediction(ctx, dev.lengths);
    std::vector<Batch> batches;
    ScoredBatches data{.batches = static_cast<int>(groups.size())};
    for (const Group& group : groups) {
      batches.push_back(batch_of(dev, group, false, {}));
      data.examples += group.size();
    }
    const BiLstmCrf& network = model_->network;
    const std::vector<real> transition = download(ctx, network.crf.transition.value()),
                            first = download(ctx, network.crf.first.value()),
                            last = download(ctx, network.crf.last.value());
    data.scores = [&](Context& one, int g) {
      return download(one, network.scores(one, upload(one, batches[static_cast<std::size_t>(g)]), false).scores);
    };
    data.loss = [&](Context& one, int g, const std::vector<real>& scores, real factor) {
      const Batch& batch = batches[static_cast<std::size_t>(g)];
      const int K = model_->tags.size();
      const View<real, 1> loss = one.arena().make<real, 1>({batch.B});
      run(one, CrfLoss{.scores = times(one, scores, factor).reshaped<3>({batch.T, batch.B, K}),
                       .tags = upload<int, 2>(one, batch.tags, {batch.T, batch.B}),
                       .lengths = upload<int, 1>(one, batch.lengths, {batch.B}),
                       .transition = times(one, transition, factor).reshaped<2>({K, K}),
                       .first = times(one, first, factor),
                       .last = times(one, last, factor),
                       .weight = upload<real, 1>(one, std::vector<real>(batch.lengths.size(), 1), {batch.B}),
                       .loss = loss});
      return loss;
    };
    const Temperature t = best_temperature(ctx, data);
    network.scale_scores(ctx, model_->parameters, static_cast<real>(1 / t.value));
    return t;
  }

  void save(Context& ctx, ModelFile& file) override { bib::save(ctx, *model_, file); }

 private:
  double score_of(Context& ctx, const NerModel& model) const {
    std::vector<std::vector<Span>> found;
    for (const NerPrediction& p : model.predict(ctx, dev_, {.scores = false})) {
      found.emplace_back(p.entities.begin(), p.entities.end());
    }
    return score_spans(dev_spans_, found, {.bootstrap = {.resamples = 0}}).micro.f1();
  }

  static void require_annotation(const Document& document, const std::vector<Document>& all) {
    if (document.annotated) return;
    throw DataError("training data: error: " + place_of(document, all) +
                    " is raw text without annotation; NER training needs entities marked, as in <서울:LC>에 간다");
  }

  /// Documents as training reads them.
  struct Examples {
    std::vector<EncodedText> texts;
    std::vector<std::vector<int>> tags;
    std::vector<float> weights;
    std::vector<int> lengths;
    std::size_t spans = 0, trimmed = 0, misaligned = 0;  // trimmed: were given with white space at an end

    void add(EncodedText text, std::vector<int> its_tags, float weight) {
      lengths.push_back(static_cast<int>(text.units.size()));
      texts.push_back(std::move(text));
      tags.push_back(std::move(its_tags));
      weights.push_back(weight);
    }
  };

  Examples examples_of(Context& ctx, const std::vector<Document>& documents) const {
    Examples examples;
    std::vector<EncodedText> texts = encode_apart(ctx, model_->features, documents);
    for (std::size_t i = 0; i < documents.size(); ++i) add_document(documents[i], std::move(texts[i]), examples);
    return examples;
  }

  void add_document(const Document& document, EncodedText text, Examples& examples) const {
    std::vector<Span> spans = flatten(document.spans, nested_).kept;
    examples.spans += spans.size();
    for (Span& span : spans) {  // white space is no unit, or at no word's end; selections with a mouse often hold some
      const ByteRange inner = trimmed(document.text, span);
      examples.trimmed += inner.begin != span.begin || inner.end != span.end;
      static_cast<ByteRange&>(span) = inner;
    }
    TaggedUnits tagged = tag_units(text.units, spans, model_->tags, Align::strict);
    examples.misaligned += tagged.misaligned.size();
    const std::size_t n = text.units.size();
    if (n == 0) return;
    if (n <= longest_example) return examples.add(std::move(text), std::move(tagged.tags), document.weight);
    for (std::size_t begin = 0; begin < n;) {
      std::size_t end = std::min(n, begin + longest_example);
      while (end < n && end > begin && !free_border(tagged.tags, end)) --end;
      if (end == begin) end = std::min(n, begin + longest_example);  // one entity fills the part: it stays whole
      while (end < n && !free_border(tagged.tags, end)) ++end;
      const auto at = [&](std::size_t i) { return tagged.tags.begin() + static_cast<std::ptrdiff_t>(i); };
      examples.add(part_of(text, begin, end), {at(begin), at(end)}, document.weight);
      begin = end;
    }
  }

  /// Whether a text may be cut before unit i: the tags on both sides would stand at a text's end and start.
  bool free_border(const std::vector<int>& tags, std::size_t i) const {
    return (tags[i] < 0 || model_->tags.may_begin(tags[i])) && (tags[i - 1] < 0 || model_->tags.may_end(tags[i - 1])) &&
           (tags[i] <= 0 || model_->tags.extend(tags[i - 1] < 0 ? 0 : tags[i - 1]) != tags[i]);
  }

  /// With tags [T*B], -1 behind a text's end.
  Batch batch_of(const Examples& from, std::span<const std::size_t> chosen, bool training, UnknownDropout drop) const {
    std::vector<const EncodedText*> texts;
    for (std::size_t i : chosen) texts.push_back(&from.texts[i]);
    Batch batch = make_batch(model_->features, texts, training, drop);
    batch.tags.assign(static_cast<std::size_t>(batch.T) * chosen.size(), -1);
    for (std::size_t b = 0; b < chosen.size(); ++b) {
      const std::vector<int>& tags = from.tags[chosen[b]];
      for (std::size_t t = 0; t < tags.size(); ++t) batch.tags[t * chosen.size() + b] = tags[t];
    }
    return batch;
  }

  void set_dev(std::vector<Document> dev, const TrainOptions& options) {
    dev_ = std::move(dev);
    std::vector<std::string> unseen;
    for (const Document& document : dev_) {
      dev_spans_.push_back(flatten(document.spans, nested_).kept);
      for (const Span& span : dev_spans_.back()) {
        if (!model_->tags.label_of(span.label)) unseen.push_back(span.label);
      }
    }
    if (unseen.empty() || !options.warn) return;
    const std::size_t entities = unseen.size();
    std::sort(unseen.begin(), unseen.end());
    unseen.erase(std::unique(unseen.begin(), unseen.end()), unseen.end());
    std::string names;
    for (const std::string& label : unseen) names += (names.empty() ? "" : ", ") + label;
    options.warn("the dev set has " + std::to_string(entities) + " entities of types that training never sees (" +
                 names + "); they count as missed");
  }

  Config config_;
  Nested nested_;
  std::shared_ptr<NerModel::Impl> model_;
  Examples train_;
  std::vector<Document> dev_;
  std::vector<std::vector<Span>> dev_spans_;
  std::optional<double> base_score_;
};

}  // namespace

std::unique_ptr<Learner> make_ner_learner(Context& ctx, const Config& config, std::vector<Document> train,
                                          std::vector<Document> dev, const TrainOptions& options,
                                          std::shared_ptr<const ModelFile> base) {
  return std::make_unique<NerLearner>(ctx, config, train, std::move(dev), options, base);
}

}  // namespace bib
