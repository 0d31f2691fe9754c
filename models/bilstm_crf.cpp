#include "models/bilstm_crf.h"

#include <limits>

namespace bib {
namespace {

// Streams of random numbers within one training step; the unknown-word dropout uses those from 1000 on.
constexpr std::uint32_t input_stream = 1, output_stream = 2, recurrent_stream = 10;

RandomKey with_stream(RandomKey key, std::uint32_t stream) {
  key.stream = stream;
  return key;
}

}  // namespace

BiLstmCrf BiLstmCrf::add(Parameters& p, const Config& config, const Features& features, int tag_count) {
  BiLstmCrf m;
  m.features = FeatureEmbedding::add(p, config, features);
  int inputs = m.features.columns;
  for (int layer = 0; layer < config.layers; ++layer) {
    m.layers.push_back(BiLstm::add(p, "lstm." + std::to_string(layer), inputs, config.hidden));
    inputs = 2 * config.hidden;
  }
  m.project = Linear::add(p, "project", inputs, tag_count);
  m.crf = {.transition = p.add<2>("crf.transition", {tag_count, tag_count}),
           .first = p.add<1>("crf.first", {tag_count}),
           .last = p.add<1>("crf.last", {tag_count})};
  m.dropout_input = config.dropout_input;
  m.dropout_recurrent = config.dropout_recurrent;
  m.dropout_output = config.dropout_output;
  return m;
}

void BiLstmCrf::forbid(Context& ctx, Parameters& p, const TagSet& tags) const {
  const int K = tags.size();
  const auto forbid_where = [&](const char* name, auto&& legal) {
    std::vector<real> values = p.get(ctx, name);
    for (int i = 0; i < static_cast<int>(values.size()); ++i) {
      if (!legal(i)) values[static_cast<std::size_t>(i)] = -std::numeric_limits<real>::infinity();
    }
    p.set(ctx, name, values);
  };
  forbid_where("crf.transition", [&](int i) { return tags.may_follow(i / K, i % K); });
  forbid_where("crf.first", [&](int i) { return tags.may_begin(i); });
  forbid_where("crf.last", [&](int i) { return tags.may_end(i); });
}

void BiLstmCrf::scale_scores(Context& ctx, Parameters& p, real factor) const {
  for (const ParamInfo* info : {project.w.info, project.b.info, crf.transition.info, crf.first.info, crf.last.info})
    p.scale(ctx, info->name, factor);
}

BiLstmCrf::Saved BiLstmCrf::scores(Context& ctx, const DeviceBatch& batch, bool train, RandomKey key) const {
  Saved s;
  s.features = features.forward(ctx, batch, train);
  View<real, 3> x = s.features.x;
  std::vector<View<real, 3>> h_masks(layers.size());
  if (train) {
    std::vector<Dropout> drops;
    if (dropout_input > 0)
      drops.push_back(
          {.x = x, .y = x, .rate = dropout_input, .variational = true, .key = with_stream(key, input_stream)});
    for (std::size_t layer = 0; dropout_recurrent > 0 && layer < layers.size(); ++layer) {
      h_masks[layer] = ctx.arena().make<real, 3>({2, batch.B, layers[layer].hidden});
      drops.push_back({.y = h_masks[layer],
                       .rate = dropout_recurrent,
                       .key = with_stream(key, recurrent_stream + static_cast<std::uint32_t>(layer))});
    }
    run_all(ctx, drops);
  }
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    s.layers.push_back(layers[layer].forward(ctx, x, batch.lengths, h_masks[layer], train));
    x = s.layers.back().h;
    if (train) {
      // The layer's own h must stay as it is for its backward pass: what goes on is a copy.
      const View<real, 3> dropped = ctx.arena().make<real, 3>(x.shape);
      run(ctx, Dropout{.x = x,
                       .y = dropped,
                       .rate = dropout_output,
                       .variational = true,
                       .key = with_stream(key, output_stream + 100 * static_cast<std::uint32_t>(layer))});
      x = dropped;
    }
    s.outputs.push_back(x);
  }
  s.scores = project.forward(ctx, x.reshaped<2>({batch.T * batch.B, x.dim(2)}))
                 .reshaped<3>({batch.T, batch.B, crf.first.value().dim(0)});
  return s;
}

View<real, 1> BiLstmCrf::loss(Context& ctx, const DeviceBatch& batch, View<const int, 2> tags,
                              View<const real, 1> weight, RandomKey key, TableGradients& table_gradients) const {
  const Saved s = scores(ctx, batch, true, key);
  const View<real, 1> loss = ctx.arena().make<real, 1>({batch.B});
  const View<real, 3> d_scores = ctx.arena().make<real, 3>(s.scores.shape);
  run(ctx, CrfLoss{.scores = s.scores,
                   .tags = tags,
                   .lengths = batch.lengths,
                   .transition = crf.transition.value(),
                   .first = crf.first.value(),
                   .last = crf.last.value(),
                   .weight = weight,
                   .loss = loss,
                   .d_scores = d_scores,
                   .d_transition = crf.transition.grad(),
                   .d_first = crf.first.grad(),
                   .d_last = crf.last.grad()});
  const int N = batch.T * batch.B;
  View<const real, 3> below = s.outputs.back();
  View<real, 3> d =
      project.backward(ctx, below.reshaped<2>({N, below.dim(2)}), d_scores.reshaped<2>({N, d_scores.dim(2)}))
          .reshaped<3>(below.shape);
  for (int layer = static_cast<int>(layers.size()) - 1; layer >= 0; --layer) {
    const auto l = static_cast<std::size_t>(layer);
    dropout_in_place(ctx, d, dropout_output, true,
                     with_stream(key, output_stream + 100 * static_cast<std::uint32_t>(layer)));
    d = layers[l].backward(ctx, s.layers[l], batch.lengths, d);
  }
  dropout_in_place(ctx, d, dropout_input, true, with_stream(key, input_stream));
  features.backward(ctx, batch, s.features, d, table_gradients);
  return loss;
}

}  // namespace bib
