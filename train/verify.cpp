#include "train/verify.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/model_parts.h"
#include "train/batching.h"

namespace bib {
namespace {

constexpr int documents_per_batch = 64;
constexpr std::int64_t units_per_batch = 8192;
constexpr std::size_t longest_text = 1024;

/// What one layer gave for a batch: `values` time-major, [.., B, width]. `sum` is the longest sum on the way to it.
struct Activation {
  std::string name;
  std::vector<real> values;
  int width = 1, sum = 1;
};

/// One batch on one device. The last activation holds probabilities.
struct Pass {
  std::vector<Activation> layers;
  std::vector<int> answers;  // NER: tags [T*B]; TC: classes [B], or of every class whether it is an answer [B*K]
};

/// Rounding of one operation on the device: fast math multiplies fp16 or TF32, and its tanh is within 2^-11.
double rounding(const Context& ctx) {
  return ctx.math() == Math::fast ? 0x1p-11 : static_cast<double>(std::numeric_limits<real>::epsilon());
}

/// Probabilities may differ by this much: what the allowed differences of a text's emissions make of them.
double probability_tolerance(const Context& ctx) { return ctx.math() == Math::fast ? 5e-3 : 1e-3; }

std::vector<real> path_parameters(Context& ctx, const BiLstmCrf::Crf& crf) {
  std::vector<real> all = download(ctx, crf.transition.value());
  for (const Param<1>& p : {crf.first, crf.last}) {
    const std::vector<real> part = download(ctx, p.value());
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

/// NER as verify() sees it.
struct NerSubject {
  const NerModel::Impl& model;
  std::vector<real> path;  // transition [K,K], first [K], last [K]

  NerSubject(Context& ctx, const NerModel& m) : model(m.impl()), path(path_parameters(ctx, model.network.crf)) {}

  Pass run_batch(Context& ctx, const DeviceBatch& batch) const {
    const int T = batch.T, B = batch.B, K = model.tags.size();
    const BiLstmCrf::Saved s = model.network.scores(ctx, batch, false);
    const BiLstmCrf::Crf& crf = model.network.crf;
    Pass pass;
    pass.layers.push_back({"features", download(ctx, s.features.x), s.features.x.dim(2), model.config.characters + 1});
    for (std::size_t i = 0; i < s.layers.size(); ++i) {
      const BiLstm::Saved& l = s.layers[i];
      pass.layers.push_back(
          {"lstm." + std::to_string(i), download(ctx, l.h), l.h.dim(2), T * (l.x.dim(2) + l.h.dim(2) / 2)});
    }
    pass.layers.push_back({"emissions", download(ctx, s.scores), K, s.layers.back().h.dim(2)});
    const View<real, 3> marginals = ctx.arena().make<real, 3>({T, B, K});
    run(ctx, CrfMarginals{.scores = s.scores,
                          .lengths = batch.lengths,
                          .transition = crf.transition.value(),
                          .first = crf.first.value(),
                          .last = crf.last.value(),
                          .log_z = ctx.arena().make<real, 1>({B}),
                          .marginals = marginals});
    pass.layers.push_back({"probabilities", download(ctx, marginals), K});
    const View<int, 2> tags = ctx.arena().make<int, 2>({T, B});
    run(ctx, CrfDecode{.scores = s.scores,
                       .lengths = batch.lengths,
                       .transition = crf.transition.value(),
                       .first = crf.first.value(),
                       .last = crf.last.value(),
                       .tags = tags,
                       .score = ctx.arena().make<real, 1>({B})});
    pass.answers = download(ctx, tags);
    return pass;
  }

  /// Of the path that `answers` give text b of B, by the emissions of `pass`.
  double path_score(const Pass& pass, const std::vector<int>& answers, std::size_t b, std::size_t B,
                    std::size_t n) const {
    const std::vector<real>& emissions = pass.layers[pass.layers.size() - 2].values;
    const auto K = static_cast<std::size_t>(model.tags.size());
    double score = 0;
    std::size_t before = 0;
    for (std::size_t t = 0; t < n; ++t) {
      if (answers[t * B + b] < 0) return std::numeric_limits<double>::quiet_NaN();
      const auto tag = static_cast<std::size_t>(answers[t * B + b]);
      score += emissions[(t * B + b) * K + tag] + path[t == 0 ? K * K + tag : before * K + tag];
      before = tag;
    }
    return n == 0 ? 0 : score + path[K * K + K + before];
  }

  void compare_answers(const Document& document, const EncodedText& text, std::size_t index, std::size_t b,
                       std::size_t B, const Pass& reference, const Pass& other, double tolerance,
                       VerifyReport& report) const {
    const std::size_t n = text.units.size();
    report.answers += n;
    const double lost =
        path_score(reference, reference.answers, b, B, n) - path_score(reference, other.answers, b, B, n);
    for (std::size_t t = 0; t < n; ++t) {
      const int tag = reference.answers[t * B + b], their_tag = other.answers[t * B + b];
      if (tag == their_tag) continue;
      const auto [begin, end] = text.units[t];
      const bool known = their_tag >= 0 && their_tag < model.tags.size();
      report.flips.push_back({.document = index,
                              .what = document.text.substr(begin, end - begin),
                              .reference = model.tags.name(tag),
                              .other = known ? model.tags.name(their_tag) : "no tag",
                              .tie = std::abs(lost) <= tolerance});
    }
  }
};

struct TcSubject {
  const TcModel::Impl& model;

  TcSubject(Context&, const TcModel& m) : model(m.impl()) {}

  Pass run_batch(Context& ctx, const DeviceBatch& batch) const {
    const int K = model.labels.size(), columns = model.network.features.columns;
    const TextCnn::Saved s = model.network.scores(ctx, batch, false);
    const int widest = *std::max_element(model.config.windows.begin(), model.config.windows.end());
    Pass pass;
    if (s.features.x)  // else the convolution does the lookup
      pass.layers.push_back({"features", download(ctx, s.features.x), columns, model.config.characters + 1});
    pass.layers.push_back({"convolution", download(ctx, s.pools.y), s.pools.y.dim(1), widest * columns});
    pass.layers.push_back({"emissions", download(ctx, s.scores), K, s.pools.y.dim(1)});
    const View<real, 2> probability = ctx.arena().make<real, 2>(s.scores.shape);
    if (model.config.multilabel) {
      run(ctx, Sigmoid{.scores = s.scores, .probability = probability});
    } else {
      run(ctx, Softmax{.scores = s.scores, .probability = probability});
    }
    pass.layers.push_back({"probabilities", download(ctx, probability), K});
    const std::vector<real>& p = pass.layers.back().values;
    if (model.config.multilabel) {
      for (real x : p) pass.answers.push_back(x >= real(0.5));
    } else {
      for (auto at = p.begin(); at != p.end(); at += K)
        pass.answers.push_back(static_cast<int>(std::max_element(at, at + K) - at));
    }
    return pass;
  }

  void compare_answers(const Document& document, const EncodedText&, std::size_t index, std::size_t b, std::size_t,
                       const Pass& reference, const Pass& other, double tolerance, VerifyReport& report) const {
    const auto K = static_cast<std::size_t>(model.labels.size()), per_text = model.config.multilabel ? K : 1;
    const real* p = reference.layers.back().values.data() + b * K;
    report.answers += per_text;
    for (std::size_t i = 0; i < per_text; ++i) {
      const int mine = reference.answers[b * per_text + i], theirs = other.answers[b * per_text + i];
      if (mine == theirs) continue;
      LabelFlip flip{.document = index};
      if (model.config.multilabel) {
        flip.what = model.labels[static_cast<int>(i)];
        flip.reference = mine ? "yes" : "no", flip.other = theirs ? "yes" : "no";
        flip.tie = std::abs(static_cast<double>(p[i]) - 0.5) <= tolerance;
      } else {
        flip.what = document.text;
        flip.reference = model.labels[mine], flip.other = model.labels[theirs];
        flip.tie = static_cast<double>(p[mine]) - static_cast<double>(p[theirs]) <= tolerance;
      }
      report.flips.push_back(std::move(flip));
    }
  }
};

/// How far apart two values are; infinite where one is not a number, so that it never passes.
double distance(real a, real b) {
  if (a == b) return 0;
  const double d = std::abs(static_cast<double>(a) - static_cast<double>(b));
  return std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
}

/// Adds what one layer of one batch shows. Allowed is `relative` of the value and of the layer's typical size, or
/// `absolute`, where that is more.
void compare(const Activation& reference, const Activation& other, double relative, double absolute,
             const Group& documents, LayerDifference& found) {
  double squares = 0;
  for (real v : reference.values) squares += static_cast<double>(v) * static_cast<double>(v);
  const double typical = std::sqrt(squares / std::max(1.0, static_cast<double>(reference.values.size())));
  const auto width = static_cast<std::size_t>(reference.width);
  found.values += static_cast<std::int64_t>(reference.values.size());
  for (std::size_t i = 0; i < reference.values.size(); ++i) {
    const double d = distance(other.values[i], reference.values[i]);
    const double allowed =
        std::max({absolute, relative * (std::abs(static_cast<double>(reference.values[i])) + typical),
                  std::numeric_limits<double>::min()});
    found.largest = std::max(found.largest, d);
    if (d / allowed > found.share) {
      found.share = d / allowed;
      found.document = documents[i / width % documents.size()];
    }
  }
}

void compare_layers(Context& other_ctx, const Pass& reference, const Pass& other, const Group& documents,
                    VerifyReport& report) {
  report.layers.resize(reference.layers.size());
  double depth = 0;  // roundings add up from layer to layer
  for (std::size_t i = 0; i < reference.layers.size(); ++i) {
    const Activation& layer = reference.layers[i];
    depth += std::ceil(std::log2(2.0 + layer.sum));
    report.layers[i].name = layer.name;
    const bool probabilities = i + 1 == reference.layers.size();
    compare(layer, other.layers[i], probabilities ? 0 : 8 * rounding(other_ctx) * depth,
            probabilities ? probability_tolerance(other_ctx) : 0, documents, report.layers[i]);
  }
}

template <class Subject, class Model>
VerifyReport verify_models(Context& ctx, const Model& model, Context& other_ctx, const Model& other_model,
                           std::span<const Document> documents) {
  const Subject reference(ctx, model), other(other_ctx, other_model);
  VerifyReport report{.texts = documents.size()};
  std::vector<EncodedText> texts;
  std::vector<int> lengths;
  for (const Document& document : documents) {
    texts.push_back(truncated(reference.model.features.encode(document), longest_text));
    lengths.push_back(static_cast<int>(texts.back().units.size()));
    report.units += texts.back().units.size();
  }
  for (const Group& group : group_by_length(lengths, documents_per_batch, units_per_batch)) {
    std::vector<const EncodedText*> members;
    for (std::size_t i : group) members.push_back(&texts[i]);
    const Batch batch = make_batch(reference.model.features, members, false);
    const auto run_on = [&](Context& on, const Subject& subject) {
      const ArenaScope scope(on.arena());
      const OwnProducts own(on);  // as predictions do
      return subject.run_batch(on, upload(on, batch));
    };
    const Pass expected = run_on(ctx, reference), got = run_on(other_ctx, other);
    compare_layers(other_ctx, expected, got, group, report);
    for (std::size_t b = 0; b < group.size(); ++b) {
      const std::size_t i = group[b];
      reference.compare_answers(documents[i], texts[i], i, b, group.size(), expected, got,
                                probability_tolerance(other_ctx), report);
    }
  }
  return report;
}

/// Entries by falling count, so small ids are frequent: the square of a uniform number draws them more often.
std::vector<Document> texts_of(const Features& features, Unit unit) {
  std::vector<const Vocabulary*> vocabularies;
  for (int c = 0; c < static_cast<int>(features.channels().size()); ++c) {
    if (features.channels()[static_cast<std::size_t>(c)].open && features.vocabulary(c).size() > 1)
      vocabularies.push_back(&features.vocabulary(c));
  }
  const RandomKey key{.seed = 1};
  std::uint64_t drawn = 0;
  const auto draw = [&] { return random_uniform(key, drawn++); };
  std::vector<Document> out;
  for (std::size_t length : {0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 7, 17, 31, 33, 64, 12, 12, 40, 100, 4, 16, 25}) {
    Document document;
    for (std::size_t i = 0; i < length; ++i) {
      const float which = draw(), frequent = draw(), space = draw();
      std::string piece = "가";  // a model without a vocabulary reads shapes and jamo alone
      if (!vocabularies.empty()) {
        const auto n = static_cast<float>(vocabularies.size());
        const Vocabulary& v = *vocabularies[static_cast<std::size_t>(which * n)];
        piece = v[1 + static_cast<int>(frequent * frequent * static_cast<float>(v.size() - 1))];
      }
      document.text += (document.text.empty() || (unit == Unit::syllable && space < 0.7f) ? "" : " ") + piece;
    }
    out.push_back(std::move(document));
  }
  return out;
}

}  // namespace

bool VerifyReport::passed() const { return failure().empty(); }

std::string VerifyReport::failure() const {
  for (const LayerDifference& l : layers) {
    if (l.share <= 1) continue;
    char text[128];
    std::snprintf(text, sizeof text, "%s differs by up to %.3g, %.3g times what is allowed", l.name.c_str(), l.largest,
                  l.share);
    return text;
  }
  const auto wrong = std::count_if(flips.begin(), flips.end(), [](const LabelFlip& flip) { return !flip.tie; });
  return wrong == 0 ? "" : std::to_string(wrong) + " of " + std::to_string(answers) + " answers differ";
}

VerifyReport verify(Context& reference, const NerModel& model, Context& other, const NerModel& other_model,
                    std::span<const Document> documents) {
  return verify_models<NerSubject>(reference, model, other, other_model, documents);
}

VerifyReport verify(Context& reference, const TcModel& model, Context& other, const TcModel& other_model,
                    std::span<const Document> documents) {
  return verify_models<TcSubject>(reference, model, other, other_model, documents);
}

std::vector<Document> sample_texts(const NerModel& model) {
  return texts_of(model.impl().features, model.config().unit);
}
std::vector<Document> sample_texts(const TcModel& model) {
  return texts_of(model.impl().features, model.config().unit);
}

}  // namespace bib
