// Layers: parameters, a forward that returns what backward needs, a backward. Plain structs; models call them in order,
// then in reverse. The gradient of an activation is overwritten, of a parameter accumulated (docs/numerics.md).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "bib/ops.h"
#include "models/batch.h"
#include "models/parameters.h"

namespace bib {

/// The gradient of a table, as a lookup's: what EmbeddingBackward makes of it, or an optimiser takes as it is.
struct TableGradient {
  Table table;
  DeviceRows index;
  View<const real, 3> d_y;  // [T,B,Y]
  int column = 0;
  EmbeddingBackward by_row(Context&) const;  // with new d_rows
};
using TableGradients = std::vector<TableGradient>;

/// What a convolution reads: rows [T,B,C], or the lookup of them, which it then does itself (ops/conv_pool.h).
struct ConvInput {
  View<const real, 3> x;
  View<const int, 2> ids;
  View<const real, 2> table;
};

/// Every channel's embedding side by side, then the character convolution of each word: x [T,B,columns].
struct FeatureEmbedding {
  struct Saved {
    View<real, 3> x;     // [T,B,columns]
    View<int, 2> where;  // [W,F]
  };
  std::vector<Table> tables;  // per channel
  std::vector<int> dims;
  int columns = 0;
  Table characters;      // [characters,E]
  Param<3> filters;      // [window,E,F]
  Param<1> filter_bias;  // [F]
  int filter_count = 0, pad = 0;
  std::shared_ptr<const ConvPoolPacked> packed_filters;  // in a model opened to predict

  static FeatureEmbedding add(Parameters& p, const Config& config, const Features& features);
  /// Makes the weights ready once; they must not change from then on.
  void pack(Context& ctx) {
    if (filter_count > 0) packed_filters = pack_conv_pool(ctx, filters.value());
  }
  Saved forward(Context&, const DeviceBatch& batch, bool train) const;
  void backward(Context&, const DeviceBatch& batch, const Saved&, View<const real, 3> d_x, TableGradients& out) const;
  /// Whether one lookup is all there is, so that a convolution may do it.
  bool is_lookup() const { return tables.size() == 1 && filter_count == 0; }
  ConvInput lookup(const DeviceBatch& batch) const { return {.ids = batch.ids[0], .table = tables[0].value()}; }
};

struct Linear {
  Param<2> w;  // [O,I]
  Param<1> b;  // [O]

  static Linear add(Parameters& p, const std::string& name, int inputs, int outputs);
  View<real, 2> forward(Context&, View<const real, 2> x) const;                            // [N,O]
  View<real, 2> backward(Context&, View<const real, 2> x, View<const real, 2> d_y) const;  // d_x
};

/// One bidirectional layer.
struct BiLstm {
  struct Saved {
    View<const real, 3> x, h_mask;
    View<real, 3> h;         // [T,B,2H]
    View<real, 4> gates, c;  // only when training
  };
  Param<3> w_x, w_h;  // [2,4H,I] [2,4H,H]
  Param<2> b;         // [2,4H]
  int hidden = 0;
  std::shared_ptr<const LstmPacked> packed;  // in a model opened to predict

  static BiLstm add(Parameters& p, const std::string& name, int inputs, int hidden);
  /// Makes the weights ready once; they must not change from then on.
  void pack(Context& ctx) { packed = pack_lstm(ctx, w_x.value(), w_h.value(), b.value()); }
  Saved forward(Context&, View<const real, 3> x, View<const int, 1> lengths, View<const real, 3> h_mask,
                bool train) const;
  View<real, 3> backward(Context&, const Saved&, View<const int, 1> lengths, View<const real, 3> d_h) const;  // d_x
};

/// One convolution with ReLU and max over time per window, their outputs side by side: [B, windows*F].
struct ConvPools {
  struct Saved {
    View<real, 2> y;                  // [B, windows*F]
    std::vector<View<int, 2>> where;  // per window [B,F]
  };
  std::vector<Param<3>> w;
  std::vector<Param<1>> b;
  std::vector<int> windows;
  int filters = 0;
  std::vector<std::shared_ptr<const ConvPoolPacked>> packed;  // per window, in a model opened to predict

  static ConvPools add(Parameters& p, const std::string& name, int inputs, const std::vector<int>& windows,
                       int filters);
  void pack(Context& ctx) {
    for (const Param<3>& filter : w) packed.push_back(pack_conv_pool(ctx, filter.value()));
  }
  Saved forward(Context&, const ConvInput& in, View<const int, 1> lengths, bool train) const;
  View<real, 3> backward(Context&, const Saved&, const ConvInput& in, View<const int, 1> lengths,
                         View<const real, 2> d_y) const;  // d_x
};

/// Dropout in place; a rate of 0 does nothing. Backward is the same call on the gradient.
void dropout_in_place(Context&, View<real, 3> x, float rate, bool variational, RandomKey key);

}  // namespace bib
