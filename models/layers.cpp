#include "models/layers.h"

#include <cmath>

namespace bib {

EmbeddingBackward TableGradient::by_row(Context& ctx) const {
  const int U = index.rows.dim(0), E = table.value().dim(1);
  return {.offsets = index.offsets,
          .positions = index.positions,
          .d_y = d_y,
          .d_rows = ctx.arena().make<real, 2>({U, E}),
          .column = column};
}

FeatureEmbedding FeatureEmbedding::add(Parameters& p, const Config& config, const Features& features) {
  FeatureEmbedding e;
  for (const Features::Channel& channel : features.channels()) {
    // Uniform with unit variance per row of 100 columns at any width (sqrt(3/dim), as in Ma & Hovy 2016).
    const float a = std::sqrt(3.0f / static_cast<float>(channel.dim));
    e.tables.push_back(p.add_table("embedding." + channel.name, channel.size, channel.dim, Init::uniform(a)));
    e.dims.push_back(channel.dim);
    e.columns += channel.dim;
  }
  if (features.spells()) {
    const int E = config.characters, F = config.character_filters, W = config.character_window;
    e.characters = p.add_table("characters.embedding", features.characters().size(), E,
                               Init::uniform(std::sqrt(3.0f / static_cast<float>(E))));
    e.filters = p.add<3>("characters.filters", {W, E, F}, Init::xavier(W * E, F));
    e.filter_bias = p.add<1>("characters.bias", {F});
    e.filter_count = F;
    e.pad = W / 2;
    e.columns += F;
  }
  return e;
}

FeatureEmbedding::Saved FeatureEmbedding::forward(Context& ctx, const DeviceBatch& batch, bool train) const {
  Saved s;
  s.x = ctx.arena().make<real, 3>({batch.T, batch.B, columns});
  const bool spells = filter_count > 0 && batch.word_of;  // a batch of empty texts has no word to spell
  if (filter_count > 0 && !spells) zero(ctx, s.x);
  std::vector<EmbeddingForward> lookups;
  int column = 0;
  for (std::size_t c = 0; c < tables.size(); ++c) {
    lookups.push_back({.ids = batch.ids[c], .table = tables[c].value(), .y = s.x, .column = column});
    column += dims[c];
  }
  run_all(ctx, lookups);
  if (!spells) return s;
  const int W = batch.character_ids.dim(1);
  const View<real, 2> words = ctx.arena().make<real, 2>({W, filter_count});
  if (train) s.where = ctx.arena().make<int, 2>({W, filter_count});
  run(ctx, ConvPoolForward{.ids = batch.character_ids,
                           .table = characters.value(),
                           .lengths = batch.character_lengths,
                           .w = filters.value(),
                           .b = filter_bias.value(),
                           .y = words,
                           .where = s.where,
                           .pad = pad,
                           .packed = packed_filters.get()});
  run(ctx, EmbeddingForward{.ids = batch.word_of, .table = words, .y = s.x, .column = column});
  return s;
}

void FeatureEmbedding::backward(Context& ctx, const DeviceBatch& batch, const Saved& s, View<const real, 3> d_x,
                                TableGradients& out) const {
  int column = 0;
  for (std::size_t c = 0; c < tables.size(); ++c) {
    out.push_back({tables[c], batch.rows[c], d_x, column});
    column += dims[c];
  }
  if (filter_count == 0 || !batch.word_of) return;
  const View<real, 2> d_words = ctx.arena().make<real, 2>({batch.word_rows.rows.dim(0), filter_count});
  run(ctx, EmbeddingBackward{.offsets = batch.word_rows.offsets,
                             .positions = batch.word_rows.positions,
                             .d_y = d_x,
                             .d_rows = d_words,
                             .column = column});
  const View<const int, 2> ids = batch.character_ids;
  const View<real, 3> d_characters = ctx.arena().make<real, 3>({ids.dim(0), ids.dim(1), characters.value().dim(1)});
  run(ctx, ConvPoolBackward{.ids = ids,
                            .table = characters.value(),
                            .lengths = batch.character_lengths,
                            .w = filters.value(),
                            .where = s.where,
                            .d_y = d_words,
                            .d_x = d_characters,
                            .d_w = filters.grad(),
                            .d_b = filter_bias.grad(),
                            .pad = pad});
  out.push_back({characters, batch.character_rows, d_characters});
}

Linear Linear::add(Parameters& p, const std::string& name, int inputs, int outputs) {
  return {.w = p.add<2>(name + ".w", {outputs, inputs}, Init::xavier(inputs, outputs)),
          .b = p.add<1>(name + ".b", {outputs})};
}

View<real, 2> Linear::forward(Context& ctx, View<const real, 2> x) const {
  const View<real, 2> y = ctx.arena().make<real, 2>({x.dim(0), w.value().dim(0)});
  run(ctx, LinearForward{.x = x, .w = w.value(), .b = b.value(), .y = y});
  return y;
}

View<real, 2> Linear::backward(Context& ctx, View<const real, 2> x, View<const real, 2> d_y) const {
  const View<real, 2> d_x = ctx.arena().make<real, 2>(x.shape);
  run(ctx, LinearBackward{.x = x, .w = w.value(), .d_y = d_y, .d_x = d_x, .d_w = w.grad(), .d_b = b.grad()});
  return d_x;
}

BiLstm BiLstm::add(Parameters& p, const std::string& name, int inputs, int hidden) {
  BiLstm l;
  l.hidden = hidden;
  l.w_x = p.add<3>(name + ".w_x", {2, 4 * hidden, inputs}, Init::xavier(inputs, hidden));
  l.w_h = p.add<3>(name + ".w_h", {2, 4 * hidden, hidden}, Init::xavier(hidden, hidden));
  // Forget gates start open (Gers et al. 2000; Jozefowicz et al. 2015): the second quarter of each direction's bias.
  l.b = p.add<2>(name + ".b", {2, 4 * hidden}, Init::lstm_bias());
  return l;
}

BiLstm::Saved BiLstm::forward(Context& ctx, View<const real, 3> x, View<const int, 1> lengths,
                              View<const real, 3> h_mask, bool train) const {
  const int T = x.dim(0), B = x.dim(1);
  Saved s{.x = x, .h_mask = h_mask};
  s.h = ctx.arena().make<real, 3>({T, B, 2 * hidden});
  if (train) {
    s.gates = ctx.arena().make<real, 4>({2, T, B, 4 * hidden});
    s.c = ctx.arena().make<real, 4>({2, T, B, hidden});
  }
  run(ctx, LstmForward{.x = x,
                       .lengths = lengths,
                       .w_x = w_x.value(),
                       .w_h = w_h.value(),
                       .b = b.value(),
                       .h_mask = h_mask,
                       .h = s.h,
                       .gates = s.gates,
                       .c = s.c,
                       .packed = packed.get()});
  return s;
}

View<real, 3> BiLstm::backward(Context& ctx, const Saved& s, View<const int, 1> lengths,
                               View<const real, 3> d_h) const {
  const View<real, 3> d_x = ctx.arena().make<real, 3>(s.x.shape);
  run(ctx, LstmBackward{.x = s.x,
                        .lengths = lengths,
                        .w_x = w_x.value(),
                        .w_h = w_h.value(),
                        .h_mask = s.h_mask,
                        .h = s.h,
                        .gates = s.gates,
                        .c = s.c,
                        .d_h = d_h,
                        .d_x = d_x,
                        .d_w_x = w_x.grad(),
                        .d_w_h = w_h.grad(),
                        .d_b = b.grad()});
  return d_x;
}

ConvPools ConvPools::add(Parameters& p, const std::string& name, int inputs, const std::vector<int>& windows,
                         int filters) {
  ConvPools c;
  c.windows = windows;
  c.filters = filters;
  for (int window : windows) {
    const std::string prefix = name + "." + std::to_string(c.w.size()) + ".width" + std::to_string(window);
    c.w.push_back(p.add<3>(prefix + ".w", {window, inputs, filters}, Init::xavier(window * inputs, filters)));
    c.b.push_back(p.add<1>(prefix + ".b", {filters}));
  }
  return c;
}

ConvPools::Saved ConvPools::forward(Context& ctx, const ConvInput& in, View<const int, 1> lengths, bool train) const {
  const int B = lengths.dim(0);
  Saved s;
  s.y = ctx.arena().make<real, 2>({B, filters * static_cast<int>(windows.size())});
  std::vector<ConvPoolForward> ops;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    s.where.push_back(train ? ctx.arena().make<int, 2>({B, filters}) : View<int, 2>{});
    ops.push_back({.x = in.x,
                   .ids = in.ids,
                   .table = in.table,
                   .lengths = lengths,
                   .w = w[i].value(),
                   .b = b[i].value(),
                   .y = s.y,
                   .where = s.where[i],
                   .pad = windows[i] / 2,
                   .column = static_cast<int>(i) * filters,
                   .packed = packed.empty() ? nullptr : packed[i].get()});
  }
  run_all(ctx, ops);
  return s;
}

View<real, 3> ConvPools::backward(Context& ctx, const Saved& s, const ConvInput& in, View<const int, 1> lengths,
                                  View<const real, 2> d_y) const {
  const auto [T, B, C] = in.table ? std::array{in.ids.dim(0), in.ids.dim(1), in.table.dim(1)} : in.x.shape;
  const View<real, 3> d_x = ctx.arena().make<real, 3>({T, B, C});
  std::vector<ConvPoolBackward> ops;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    ops.push_back({.x = in.x,
                   .ids = in.ids,
                   .table = in.table,
                   .lengths = lengths,
                   .w = w[i].value(),
                   .where = s.where[i],
                   .d_y = d_y,
                   .d_x = d_x,
                   .d_w = w[i].grad(),
                   .d_b = b[i].grad(),
                   .pad = windows[i] / 2,
                   .column = static_cast<int>(i) * filters,
                   .add_d_x = i > 0});
  }
  run_all(ctx, ops);
  return d_x;
}

void dropout_in_place(Context& ctx, View<real, 3> x, float rate, bool variational, RandomKey key) {
  if (rate > 0) run(ctx, Dropout{.x = x, .y = x, .rate = rate, .variational = variational, .key = key});
}

}  // namespace bib
