// TextCNN (Kim, EMNLP 2014): features -> convolutions of several widths, ReLU, max over time -> dropout -> linear.
#pragma once
#include "models/layers.h"

namespace bib {

struct TextCnn {
  struct Saved {
    FeatureEmbedding::Saved features;
    ConvInput input;
    ConvPools::Saved pools;
    View<real, 2> scores;  // [B,K]
  };
  /// Exactly one of labels and targets is given: exclusive classes or multi-label.
  struct Gold {
    View<const int, 1> labels;         // [B]
    View<const real, 2> targets;       // [B,K]
    View<const real, 1> class_weight;  // [K]  with targets
    View<const real, 1> weight;        // [B]
  };
  FeatureEmbedding features;
  ConvPools pools;
  Linear project;
  float dropout_input = 0, dropout_output = 0;

  static TextCnn add(Parameters& p, const Config& config, const Features& features, int class_count);

  /// After the parameters were opened to predict: weights made ready once.
  void pack(Context& ctx) {
    features.pack(ctx);
    pools.pack(ctx);
  }

  /// Multiplies the scores of all classes.
  void scale_scores(Context&, Parameters& p, real factor) const;

  Saved scores(Context&, const DeviceBatch& batch, bool train, RandomKey key = {}) const;
  /// Loss [B]; adds to the dense gradients and appends those of the tables.
  View<real, 1> loss(Context&, const DeviceBatch& batch, const Gold& gold, RandomKey key,
                     TableGradients& table_gradients) const;
  /// Of scores [B,K] alone, without a gradient where d_scores is none.
  void loss_of(Context&, View<const real, 2> scores, const Gold& gold, View<real, 1> loss,
               View<real, 2> d_scores) const;
};

}  // namespace bib
