// Prediction of a text classification model.
#include <algorithm>

#include "bib/apart.h"
#include "bib/together.h"
#include "models/model_parts.h"
#include "train/batching.h"
#include "train/encode.h"
#include "train/predict_clock.h"

namespace bib {
namespace {

// A convolution's maximum over more time steps than this says little about a text, and memory must stay bounded.
constexpr std::size_t longest_text = 65536;

TcPrediction answer(const TcModel::Impl& model, const real* probability, const TcPredictOptions& options) {
  const int K = model.labels.size();
  std::vector<int> order(static_cast<std::size_t>(K));
  for (int k = 0; k < K; ++k) order[static_cast<std::size_t>(k)] = k;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return probability[a] > probability[b]; });
  TcPrediction p;
  if (!model.config.multilabel) {
    p.labels.push_back(model.labels[order.front()]);
  } else {
    for (int k : order) {
      if (probability[k] >= options.threshold) p.labels.push_back(model.labels[k]);
    }
  }
  p.confidence = static_cast<double>(probability[order.front()]);
  if (model.config.multilabel) {
    p.confidence = 1;
    for (int k : order) {
      const double yes = static_cast<double>(probability[k]);
      p.confidence = std::min(p.confidence, std::max(yes, 1 - yes));
    }
  }
  const int answers = static_cast<int>(p.labels.size());  // the first of `order`: each has its probability listed
  const int listed = options.top_k <= 0 ? K : std::max(answers, std::min(K, options.top_k));
  for (int i = 0; i < listed; ++i) {
    const int k = order[static_cast<std::size_t>(i)];
    p.classes.push_back({.label = model.labels[k], .score = static_cast<double>(probability[k])});
  }
  return p;
}

}  // namespace

std::vector<TcPrediction> TcModel::predict(Context& ctx, std::span<const Document> documents,
                                           const TcPredictOptions& options) const {
  const Impl& model = impl();
  const int K = model.labels.size();
  PredictClock clock(options.stages);
  const OwnProducts own(ctx);
  std::vector<EncodedText> texts = encode_apart(ctx, model.features, documents);
  std::vector<int> lengths;
  for (EncodedText& text : texts) {
    text = truncated(std::move(text), longest_text);
    lengths.push_back(static_cast<int>(text.units.size()));
  }
  clock.encoded();
  std::vector<TcPrediction> out(documents.size());
  const std::vector<Group> groups = batches_for_prediction(ctx, lengths);
  each_apart(ctx, static_cast<int>(groups.size()), [&](Context& one, int g) {
    const Group& group = groups[static_cast<std::size_t>(g)];
    std::vector<const EncodedText*> members;
    for (std::size_t i : group) members.push_back(&texts[i]);
    PredictClock::Piece piece(clock);
    const Batch batch = make_batch(model.features, members, false);
    const View<real, 2> scores =
        together(one, [&] { return model.network.scores(one, upload(one, batch), false).scores; });
    piece.scored();
    const View<real, 2> probability = one.arena().make<real, 2>(scores.shape);
    if (model.config.multilabel) {
      run(one, Sigmoid{.scores = scores, .probability = probability});
    } else {
      run(one, Softmax{.scores = scores, .probability = probability});
    }
    const std::vector<real> host = download(one, probability);
    for (std::size_t b = 0; b < group.size(); ++b) {
      out[group[b]] = answer(model, host.data() + b * static_cast<std::size_t>(K), options);
    }
  });
  return out;
}

TcPrediction TcModel::predict(Context& ctx, std::string_view text, const TcPredictOptions& options) const {
  const Document document{.text = std::string(text)};
  return predict(ctx, std::span(&document, 1), options).front();
}

}  // namespace bib
