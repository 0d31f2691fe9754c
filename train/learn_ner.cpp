// NER for the trainer: documents to tagged units, loss, dev F1.
#include <algorithm>

#include "bib/error.h"
#include "models/model_parts.h"
#include "models/pretrained.h"
#include "models/text.h"
#include "train/base.h"
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
    std::size_t misaligned = 0;
    std::vector<EncodedText> texts = encode_apart(ctx, model_->features, train);
    for (std::size_t i = 0; i < train.size(); ++i) misaligned += add_example(train[i], std::move(texts[i]));
    if (trimmed_ && options.warn)
      options.warn(
          std::to_string(trimmed_) +
          " annotated spans begin or end with white space; they are learned without it. 'bib check' lists them");
    if (misaligned && options.warn) {
      options.warn(std::to_string(misaligned) + " of " + std::to_string(spans_) +
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
  std::span<const int> lengths() const override { return lengths_; }
  bool has_dev() const override { return !dev_.empty(); }

  Batch prepare(std::span<const std::size_t> examples, RandomKey key) const override {
    std::vector<const EncodedText*> texts;
    for (std::size_t i : examples) texts.push_back(&texts_[i]);
    key.stream = unknown_stream;
    Batch batch = make_batch(model_->features, texts, true, {.rate = config_.unknown_rate, .key = key});
    batch.tags.assign(static_cast<std::size_t>(batch.T) * examples.size(), -1);
    for (std::size_t b = 0; b < examples.size(); ++b) {
      const std::vector<int>& tags = tags_[examples[b]];
      for (std::size_t t = 0; t < tags.size(); ++t) batch.tags[t * examples.size() + b] = tags[t];
    }
    batch.weight = batch_weights(examples, weights_);
    return batch;
  }

  View<real, 1> loss(Context& ctx, const Batch& batch, RandomKey key, TableGradients& tables) const override {
    return model_->network.loss(ctx, upload(ctx, batch), upload<int, 2>(ctx, batch.tags, {batch.T, batch.B}),
                                upload<real, 1>(ctx, batch.weight, {batch.B}), key, tables);
  }

  std::optional<double> base_score() const override { return base_score_; }
  double evaluate(Context& ctx) override { return score_of(ctx, NerModel(model_)); }

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

  /// Returns the number of spans that did not fit the units.
  std::size_t add_example(const Document& document, EncodedText text) {
    std::vector<Span> spans = flatten(document.spans, nested_).kept;
    spans_ += spans.size();
    for (Span& span : spans) {  // white space is no unit, or at no word's end; selections with a mouse often hold some
      const ByteRange inner = trimmed(document.text, span);
      trimmed_ += inner.begin != span.begin || inner.end != span.end;
      static_cast<ByteRange&>(span) = inner;
    }
    TaggedUnits tagged = tag_units(text.units, spans, model_->tags, Align::strict);
    const std::size_t n = text.units.size();
    if (n == 0) return tagged.misaligned.size();
    if (n <= longest_example) {
      add_part(std::move(text), std::move(tagged.tags), document.weight);
      return tagged.misaligned.size();
    }
    for (std::size_t begin = 0; begin < n;) {
      std::size_t end = std::min(n, begin + longest_example);
      while (end < n && end > begin && !free_border(tagged.tags, end)) --end;
      if (end == begin) end = std::min(n, begin + longest_example);  // one entity fills the part: it stays whole
      while (end < n && !free_border(tagged.tags, end)) ++end;
      const auto at = [&](std::size_t i) { return tagged.tags.begin() + static_cast<std::ptrdiff_t>(i); };
      add_part(part_of(text, begin, end), {at(begin), at(end)}, document.weight);
      begin = end;
    }
    return tagged.misaligned.size();
  }

  /// Whether a text may be cut before unit i: the tags on both sides would stand at a text's end and start.
  bool free_border(const std::vector<int>& tags, std::size_t i) const {
    return (tags[i] < 0 || model_->tags.may_begin(tags[i])) && (tags[i - 1] < 0 || model_->tags.may_end(tags[i - 1])) &&
           (tags[i] <= 0 || model_->tags.extend(tags[i - 1] < 0 ? 0 : tags[i - 1]) != tags[i]);
  }

  void add_part(EncodedText text, std::vector<int> tags, float weight) {
    lengths_.push_back(static_cast<int>(text.units.size()));
    texts_.push_back(std::move(text));
    tags_.push_back(std::move(tags));
    weights_.push_back(weight);
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
  std::vector<EncodedText> texts_;
  std::vector<std::vector<int>> tags_;
  std::vector<float> weights_;
  std::size_t spans_ = 0, trimmed_ = 0;  // trimmed: spans that were given with white space at an end
  std::vector<int> lengths_;
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
