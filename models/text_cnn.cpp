#include "models/text_cnn.h"

namespace bib {
namespace {

// Streams of random numbers within one training step.
constexpr std::uint32_t input_stream = 1, output_stream = 2;

RandomKey with_stream(RandomKey key, std::uint32_t stream) {
  key.stream = stream;
  return key;
}

View<real, 3> one_step(View<real, 2> v) { return v.reshaped<3>({1, v.dim(0), v.dim(1)}); }

}  // namespace

TextCnn TextCnn::add(Parameters& p, const Config& config, const Features& features, int class_count) {
  TextCnn m;
  m.features = FeatureEmbedding::add(p, config, features);
  m.pools = ConvPools::add(p, "convolution", m.features.columns, config.windows, config.filters);
  m.project = Linear::add(p, "project", config.filters * static_cast<int>(config.windows.size()), class_count);
  m.dropout_input = config.dropout_input;
  m.dropout_output = config.dropout_output;
  return m;
}

void TextCnn::scale_scores(Context& ctx, Parameters& p, real factor) const {
  for (const ParamInfo* info : {project.w.info, project.b.info}) p.scale(ctx, info->name, factor);
}

TextCnn::Saved TextCnn::scores(Context& ctx, const DeviceBatch& batch, bool train, RandomKey key) const {
  Saved s;
  if (features.is_lookup() && !(train && dropout_input > 0)) {
    s.input = features.lookup(batch);
  } else {
    s.features = features.forward(ctx, batch, train);
    if (train) dropout_in_place(ctx, s.features.x, dropout_input, false, with_stream(key, input_stream));
    s.input = {.x = s.features.x};
  }
  s.pools = pools.forward(ctx, s.input, batch.lengths, train);
  if (train) dropout_in_place(ctx, one_step(s.pools.y), dropout_output, false, with_stream(key, output_stream));
  s.scores = project.forward(ctx, s.pools.y);
  return s;
}

void TextCnn::loss_of(Context& ctx, View<const real, 2> scores, const Gold& gold, View<real, 1> loss,
                      View<real, 2> d_scores) const {
  if (gold.labels) {
    run(ctx, SoftmaxLoss{
                 .scores = scores, .labels = gold.labels, .weight = gold.weight, .loss = loss, .d_scores = d_scores});
  } else {
    run(ctx, SigmoidLoss{.scores = scores,
                         .targets = gold.targets,
                         .weight = gold.weight,
                         .class_weight = gold.class_weight,
                         .loss = loss,
                         .d_scores = d_scores});
  }
}

View<real, 1> TextCnn::loss(Context& ctx, const DeviceBatch& batch, const Gold& gold, RandomKey key,
                            TableGradients& table_gradients) const {
  const Saved s = scores(ctx, batch, true, key);
  const View<real, 1> loss = ctx.arena().make<real, 1>({batch.B});
  const View<real, 2> d_scores = ctx.arena().make<real, 2>(s.scores.shape);
  loss_of(ctx, s.scores, gold, loss, d_scores);
  const View<real, 2> d_y = project.backward(ctx, s.pools.y, d_scores);
  dropout_in_place(ctx, one_step(d_y), dropout_output, false, with_stream(key, output_stream));
  const View<real, 3> d_x = pools.backward(ctx, s.pools, s.input, batch.lengths, d_y);
  dropout_in_place(ctx, d_x, dropout_input, false, with_stream(key, input_stream));
  features.backward(ctx, batch, s.features, d_x, table_gradients);
  return loss;
}

}  // namespace bib
