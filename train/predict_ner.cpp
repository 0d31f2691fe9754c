// Prediction of an NER model: windows of long texts, batches, decoding, exact scores.
#include <algorithm>
#include <cmath>

#include "bib/apart.h"
#include "bib/together.h"
#include "models/model_parts.h"
#include "train/batching.h"
#include "train/dictionary.h"
#include "train/encode.h"
#include "train/predict_clock.h"

namespace bib {
namespace {

// Longer texts are read in windows that overlap by twice the context; of each, the middle counts.
constexpr std::size_t window_units = 1024, context_units = longest_term;

constexpr int most_alternatives = 10'000;  // each takes the memory of an answer to every text of a batch

/// Part of a text that goes through the model at once; units keep_begin..keep_end of the text take their tags from it.
struct Window {
  std::size_t document = 0, first = 0, keep_begin = 0, keep_end = 0;
  EncodedText text;
  std::vector<TermMatch> terms;  // those that are whole in it, in its own units
};

std::vector<TermMatch> terms_within(const std::vector<TermMatch>& terms, std::size_t begin, std::size_t end) {
  std::vector<TermMatch> within;
  const int first = static_cast<int>(begin), past = static_cast<int>(end);
  for (const TermMatch& m : terms)
    if (m.begin >= first && m.end <= past) within.push_back({m.begin - first, m.end - first, m.term});
  return within;
}

std::vector<Window> windows_of(std::size_t document, EncodedText text, std::vector<TermMatch> terms) {
  const std::size_t n = text.units.size();
  std::vector<Window> out;
  if (n <= window_units) {
    out.push_back({.document = document, .keep_end = n, .text = std::move(text), .terms = std::move(terms)});
    return out;
  }
  constexpr std::size_t stride = window_units - 2 * context_units;
  for (std::size_t first = 0;; first += stride) {
    const bool last = first + window_units >= n;
    const std::size_t end = last ? n : first + window_units;
    out.push_back({.document = document,
                   .first = first,
                   .keep_begin = first ? first + context_units : 0,
                   .keep_end = last ? n : end - context_units,
                   .text = part_of(text, first, end),
                   .terms = terms_within(terms, first, end)});
    if (last) return out;
  }
}

struct Scored {
  UnitSpan span;
  std::optional<double> score;
};

/// What one batch of windows gives.
struct BatchResult {
  std::vector<int> tags;                   // [T*B]
  std::vector<std::vector<Scored>> spans;  // per window, in its own units
  std::vector<std::vector<NerAlternative>> alternatives;
  int B = 0;
};

class NerBatch {
 public:
  NerBatch(Context& ctx, const NerModel::Impl& model, const std::vector<const EncodedText*>& texts)
      : ctx_(ctx), model_(model), texts_(texts) {
    const Batch batch = make_batch(model.features, texts, false);
    scores_ = together(ctx, [&] {
      batch_ = upload(ctx, batch);
      return model.network.scores(ctx, batch_, false).scores;
    });
  }

  /// Before decode(): what the terms of the texts add to the scores.
  void add_terms(const NerDictionary& dictionary, const std::vector<const std::vector<TermMatch>*>& terms) {
    std::vector<int> lengths;
    for (const EncodedText* text : texts_) lengths.push_back(static_cast<int>(text->units.size()));
    dictionary.impl().add_to(ctx_, scores_, terms, lengths);
  }

  BatchResult decode(const NerPredictOptions& options) {
    const int T = batch_.T, B = batch_.B;
    tags_ = ctx_.arena().make<int, 2>({T, B});
    const View<real, 1> score = ctx_.arena().make<real, 1>({B});
    const BiLstmCrf::Crf& crf = model_.network.crf;
    run(ctx_, CrfDecode{.scores = scores_,
                        .lengths = batch_.lengths,
                        .transition = crf.transition.value(),
                        .first = crf.first.value(),
                        .last = crf.last.value(),
                        .tags = tags_,
                        .score = score});
    BatchResult r{.tags = download(ctx_, tags_), .B = B};
    for (std::size_t b = 0; b < texts_.size(); ++b) {
      std::vector<Scored>& spans = r.spans.emplace_back();
      for (const UnitSpan& span : model_.tags.decode(column(r.tags, b))) spans.push_back({span, {}});
    }
    if (options.scores) score_spans(r);
    if (options.nbest > 0) find_alternatives(options.nbest, r);
    return r;
  }

  /// After decode(): how probable the tags of the best reading are in each of these, text, begin and end after another.
  std::vector<real> probabilities(const std::vector<int>& flat) const {
    if (flat.empty()) return {};
    const int S = static_cast<int>(flat.size() / 3);
    std::vector<int> extend;
    for (int k = 0; k < model_.tags.size(); ++k) extend.push_back(model_.tags.extend(k));
    const View<real, 1> probability = ctx_.arena().make<real, 1>({S});
    const BiLstmCrf::Crf& crf = model_.network.crf;
    together(ctx_, [&] {
      run(ctx_, CrfSpanProbability{.scores = scores_,
                                   .lengths = batch_.lengths,
                                   .transition = crf.transition.value(),
                                   .first = crf.first.value(),
                                   .last = crf.last.value(),
                                   .tags = tags_,
                                   .extend = upload<int, 1>(ctx_, extend, {model_.tags.size()}),
                                   .spans = upload<int, 2>(ctx_, flat, {S, 3}),
                                   .probability = probability});
    });
    return download(ctx_, probability);
  }

  /// After decode(): minus the logarithm of the probability of each text's best reading.
  std::vector<real> surprises() const {
    const int B = batch_.B;
    const View<real, 1> loss = ctx_.arena().make<real, 1>({B});
    const BiLstmCrf::Crf& crf = model_.network.crf;
    run(ctx_, CrfLoss{.scores = scores_,
                      .tags = tags_,
                      .lengths = batch_.lengths,
                      .transition = crf.transition.value(),
                      .first = crf.first.value(),
                      .last = crf.last.value(),
                      .weight = upload<real, 1>(ctx_, std::vector<real>(static_cast<std::size_t>(B), 1), {B}),
                      .loss = loss});
    return download(ctx_, loss);
  }

  static Entity entity(const NerModel::Impl& model, const EncodedText& text, const Scored& s) {
    Entity e;
    e.begin = text.units[static_cast<std::size_t>(s.span.begin)].begin;
    e.end = text.units[static_cast<std::size_t>(s.span.end) - 1].end;
    e.label = model.tags.labels()[static_cast<std::size_t>(s.span.label)];
    e.score = s.score;
    return e;
  }

 private:
  std::vector<int> column(const std::vector<int>& tags, std::size_t b) const {
    std::vector<int> out;
    for (std::size_t t = 0; t < texts_[b]->units.size(); ++t) {
      out.push_back(tags[t * static_cast<std::size_t>(batch_.B) + b]);
    }
    return out;
  }

  void score_spans(BatchResult& r) const {
    std::vector<int> flat;
    for (std::size_t b = 0; b < r.spans.size(); ++b) {
      for (const Scored& s : r.spans[b]) flat.insert(flat.end(), {static_cast<int>(b), s.span.begin, s.span.end});
    }
    const std::vector<real> probability = probabilities(flat);
    std::size_t i = 0;
    for (std::vector<Scored>& spans : r.spans) {
      for (Scored& s : spans) s.score = static_cast<double>(probability[i++]);
    }
  }

  void find_alternatives(int n, BatchResult& r) {
    const int T = batch_.T, B = batch_.B, K = model_.tags.size();
    const View<int, 3> tags = ctx_.arena().make<int, 3>({n, T, B});
    const View<real, 2> score = ctx_.arena().make<real, 2>({n, B});
    const View<real, 1> log_z = ctx_.arena().make<real, 1>({B});
    const BiLstmCrf::Crf& crf = model_.network.crf;
    run(ctx_, CrfKBest{.scores = scores_,
                       .lengths = batch_.lengths,
                       .transition = crf.transition.value(),
                       .first = crf.first.value(),
                       .last = crf.last.value(),
                       .tags = tags,
                       .score = score});
    run(ctx_, CrfMarginals{.scores = scores_,
                           .lengths = batch_.lengths,
                           .transition = crf.transition.value(),
                           .first = crf.first.value(),
                           .last = crf.last.value(),
                           .log_z = log_z,
                           .marginals = ctx_.arena().make<real, 3>({T, B, K})});
    const std::vector<int> paths = download(ctx_, tags);
    const std::vector<real> scores = download(ctx_, score), z = download(ctx_, log_z);
    r.alternatives.resize(texts_.size());
    const std::size_t path_size = static_cast<std::size_t>(T) * static_cast<std::size_t>(B);
    for (std::size_t k = 0; k < static_cast<std::size_t>(n); ++k) {
      const std::vector<int> path(paths.begin() + static_cast<std::ptrdiff_t>(k * path_size),
                                  paths.begin() + static_cast<std::ptrdiff_t>((k + 1) * path_size));
      for (std::size_t b = 0; b < texts_.size(); ++b) {
        const double s = static_cast<double>(scores[k * texts_.size() + b]);
        if (std::isinf(s)) continue;  // fewer readings exist
        NerAlternative& a = r.alternatives[b].emplace_back();
        a.probability = std::min(1.0, std::exp(s - static_cast<double>(z[b])));
        for (const UnitSpan& span : model_.tags.decode(column(path, b))) {
          a.entities.push_back(entity(model_, *texts_[b], {span, {}}));
        }
      }
    }
  }

  Context& ctx_;
  const NerModel::Impl& model_;
  const std::vector<const EncodedText*>& texts_;
  DeviceBatch batch_;
  View<real, 3> scores_;
  View<int, 2> tags_;  // of the best readings
};

/// The entities that a window answers for: those that begin in the part that counts. One that begins there and runs
/// into the context is taken whole; the next window then drops what overlaps it.
void collect(const NerModel::Impl& model, const Window& window, const std::vector<Scored>& spans, NerPrediction& out) {
  for (const Scored& s : spans) {
    const std::size_t begin = window.first + static_cast<std::size_t>(s.span.begin);
    if (begin < window.keep_begin || begin >= window.keep_end) continue;
    Entity e = NerBatch::entity(model, window.text, s);
    if (!out.entities.empty() && e.begin < out.entities.back().end) continue;
    out.entities.push_back(std::move(e));
  }
}

/// The units of a window that a span touches, as a range; empty where the span begins in another window's part.
std::pair<int, int> units_of(const Window& window, const ByteRange& span) {
  const std::vector<ByteRange>& units = window.text.units;
  const auto begin =
      std::partition_point(units.begin(), units.end(), [&](const ByteRange& unit) { return unit.end <= span.begin; });
  const auto end =
      std::partition_point(begin, units.end(), [&](const ByteRange& unit) { return unit.begin < span.end; });
  const std::size_t at = window.first + static_cast<std::size_t>(begin - units.begin());
  if (at < window.keep_begin || at >= window.keep_end) return {};
  return {static_cast<int>(begin - units.begin()), static_cast<int>(end - units.begin())};
}

/// Fills in span_scores of the documents whose windows these are, for the spans that begin in them.
void score_given_spans(const NerBatch& batch, const std::vector<const Window*>& windows,
                       std::span<const Document> documents, std::vector<NerPrediction>& out) {
  std::vector<int> flat;
  std::vector<double*> scores;
  for (std::size_t b = 0; b < windows.size(); ++b) {
    const std::size_t d = windows[b]->document;
    for (std::size_t s = 0; s < documents[d].spans.size(); ++s) {
      const auto [begin, end] = units_of(*windows[b], documents[d].spans[s]);
      if (begin == end) continue;
      flat.insert(flat.end(), {static_cast<int>(b), begin, end});
      scores.push_back(&out[d].span_scores[s]);
    }
  }
  const std::vector<real> probability = batch.probabilities(flat);
  for (std::size_t i = 0; i < scores.size(); ++i) *scores[i] = static_cast<double>(probability[i]);
}

/// Over all windows of a text: what two of them read counts twice, above and below.
void set_confidence(const std::vector<Window>& windows, const std::vector<real>& surprises,
                    std::vector<NerPrediction>& out) {
  for (std::size_t w = 0; w < windows.size();) {
    const std::size_t d = windows[w].document;
    double surprise = 0, units = 0;
    for (; w < windows.size() && windows[w].document == d; ++w) {
      surprise += static_cast<double>(surprises[w]);
      units += static_cast<double>(windows[w].text.units.size());
    }
    out[d].confidence = units > 0 ? std::min(1.0, std::exp(-surprise / units)) : 1;
  }
}

/// The terms of every document; none without a dictionary.
std::vector<std::vector<TermMatch>> find_terms(Context& ctx, const NerDictionary* dictionary,
                                               std::span<const Document> documents,
                                               const std::vector<EncodedText>& texts) {
  std::vector<std::vector<TermMatch>> terms(documents.size());
  if (!dictionary) return terms;
  each_apart(ctx, static_cast<int>(documents.size()), [&](Context&, int i) {
    const auto d = static_cast<std::size_t>(i);
    terms[d] = dictionary->impl().find(documents[d].text, texts[d].units);
  });
  return terms;
}

}  // namespace

std::vector<NerPrediction> NerModel::predict(Context& ctx, std::span<const Document> documents,
                                             const NerPredictOptions& options) const {
  expect(options.nbest <= most_alternatives, "NerPredictOptions: nbest is more than 10000");
  const Impl& model = impl();
  if (options.dictionary) options.dictionary->impl().expect_fits(model.config, model.tags);
  PredictClock clock(options.stages);
  const OwnProducts own(ctx);
  std::vector<EncodedText> texts = encode_apart(ctx, model.features, documents);
  std::vector<std::vector<TermMatch>> terms = find_terms(ctx, options.dictionary, documents, texts);
  std::vector<Window> windows;
  std::vector<int> lengths;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    for (Window& window : windows_of(d, std::move(texts[d]), std::move(terms[d]))) {
      lengths.push_back(static_cast<int>(window.text.units.size()));
      windows.push_back(std::move(window));
    }
  }
  clock.encoded();
  std::vector<std::vector<Scored>> spans(windows.size());
  std::vector<real> surprises(windows.size());
  std::vector<NerPrediction> out(documents.size());
  if (options.span_scores)
    for (std::size_t d = 0; d < documents.size(); ++d) out[d].span_scores.resize(documents[d].spans.size());
  const std::vector<Group> groups = batches_for_prediction(ctx, lengths);
  each_apart(ctx, static_cast<int>(groups.size()), [&](Context& one, int g) {
    const Group& group = groups[static_cast<std::size_t>(g)];
    std::vector<const EncodedText*> members;
    std::vector<const Window*> their_windows;
    std::vector<const std::vector<TermMatch>*> terms_of_members;
    for (std::size_t i : group) {
      members.push_back(&windows[i].text);
      their_windows.push_back(&windows[i]);
      terms_of_members.push_back(&windows[i].terms);
    }
    PredictClock::Piece piece(clock);
    NerBatch batch(one, model, members);
    if (options.dictionary) batch.add_terms(*options.dictionary, terms_of_members);
    piece.scored();
    BatchResult r = batch.decode(options);
    if (options.span_scores) score_given_spans(batch, their_windows, documents, out);
    const std::vector<real> surprise = options.confidence ? batch.surprises() : std::vector<real>(group.size());
    for (std::size_t b = 0; b < group.size(); ++b) {
      const Window& window = windows[group[b]];
      spans[group[b]] = std::move(r.spans[b]);
      surprises[group[b]] = surprise[b];
      const bool whole = window.keep_begin == 0 && window.keep_end == window.text.units.size();
      if (options.nbest > 0 && whole) out[window.document].alternatives = std::move(r.alternatives[b]);
    }
  });
  for (std::size_t w = 0; w < windows.size(); ++w) collect(model, windows[w], spans[w], out[windows[w].document]);
  if (options.confidence) set_confidence(windows, surprises, out);
  return out;
}

NerPrediction NerModel::predict(Context& ctx, std::string_view text, const NerPredictOptions& options) const {
  const Document document{.text = std::string(text)};
  return predict(ctx, std::span(&document, 1), options).front();
}

}  // namespace bib
