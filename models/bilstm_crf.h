// BiLSTM-CRF (Huang, Xu & Yu 2015; Lample et al. 2016): features -> BiLSTM layers -> linear -> linear-chain CRF.
#pragma once
#include <vector>

#include "models/layers.h"
#include "models/tags.h"

namespace bib {

struct BiLstmCrf {
  struct Crf {
    Param<2> transition;   // [K,K]
    Param<1> first, last;  // [K] [K]
  };
  /// Emission scores with what backward needs.
  struct Saved {
    FeatureEmbedding::Saved features;
    std::vector<BiLstm::Saved> layers;
    std::vector<View<real, 3>> outputs;  // per layer, after dropout
    View<real, 3> scores;                // [T,B,K]
  };
  FeatureEmbedding features;
  std::vector<BiLstm> layers;
  Linear project;
  Crf crf;
  float dropout_input = 0, dropout_recurrent = 0, dropout_output = 0;

  static BiLstmCrf add(Parameters& p, const Config& config, const Features& features, int tag_count);
  /// Forbids what the tag scheme does not allow: -infinity in the CRF's parameters. Once, before training.
  void forbid(Context&, Parameters& p, const TagSet& tags) const;

  /// After the parameters were opened to predict, in the context's math: weights made ready once.
  void pack(Context& ctx) {
    features.pack(ctx);
    for (BiLstm& layer : layers) layer.pack(ctx);
  }

  /// Multiplies the score of every reading.
  void scale_scores(Context&, Parameters& p, real factor) const;

  Saved scores(Context&, const DeviceBatch& batch, bool train, RandomKey key = {}) const;
  /// Loss [B] of the gold tags; adds to the dense gradients and appends those of the tables.
  View<real, 1> loss(Context&, const DeviceBatch& batch, View<const int, 2> tags, View<const real, 1> weight,
                     RandomKey key, TableGradients& table_gradients) const;
};

}  // namespace bib
