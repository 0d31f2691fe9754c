// One optimiser step over all parameters: clip by the global norm, Adam or SGD on the dense ones, the same on the rows
// of the tables that the batch touched, and the running average of the weights.
#pragma once
#include <memory>
#include <vector>

#include "bib/config.h"
#include "models/layers.h"
#include "models/model_file.h"

namespace bib {

class Updater {
 public:
  Updater(Context& ctx, const Config& config, Parameters& parameters);

  /// Consumes the gradients: afterwards the dense ones are zero. `step` counts from 1. Returns nothing to the host, so
  /// a GPU is not waited for.
  void step(Context& ctx, const TableGradients& tables, int step, float lr);

  /// From this step on the weights are averaged (until then evaluate the weights themselves).
  void start_average(Context& ctx, int step);
  bool averaging() const { return average_from_ > 0; }
  /// Puts the averages in the place of the weights, and back. Training goes on only after swap_back().
  void swap_in_average(Context& ctx, int step);
  void swap_back(Context& ctx);

  /// Optimiser state as tensors "state.*", borrowed: write before the next step.
  void save(Context& ctx, ModelFile& file) const;
  void load(Context& ctx, const ModelFile& file);

 private:
  /// Zeros of the layout of Parameters::everything(), dense part first.
  struct Buffer {
    View<real, 1> all;
    std::shared_ptr<real> memory;
  };
  struct TableState {
    View<real, 2> m, v, average;
    View<int, 1> last_step, averaged_step;
    View<const int, 1> all_rows;
    std::shared_ptr<int> memory;
  };
  /// A table's gradient as NormSquared, AdamRows and SgdRows take it.
  struct RowSource {
    int table = 0;
    View<const int, 1> rows;
    View<const real, 2> d_rows;
    View<const int, 1> offsets, positions;
    View<const real, 3> d_y;
    int column = 0;

    NormSquared norm(int E, View<real, 1> sum) const {
      if (!d_y) return {.x = d_rows.reshaped<1>({static_cast<int>(d_rows.size())}), .sum = sum};
      return {.offsets = offsets, .positions = positions, .d_y = d_y, .sum = sum, .column = column, .E = E};
    }
    template <class Op>
    Op read_by(Op op) const {
      op.rows = rows, op.d_rows = d_rows;
      op.offsets = offsets, op.positions = positions;
      op.d_y = d_y, op.column = column;
      return op;
    }
  };
  std::vector<RowSource> sum_rows(Context& ctx, const TableGradients& gradients) const;
  Buffer make_buffer(Context& ctx) const;
  View<real, 1> dense(const Buffer& buffer) const;
  View<real, 2> table(const Buffer& buffer, int index) const;
  EmaRows average_of(int table, View<const int, 1> rows, int step) const;
  template <class Self, class F>
  static void each_tensor(Self& self, F&& f);

  Config config_;
  Parameters& parameters_;
  Buffer m_, v_, average_, backup_;  // m_ is the velocity for SGD, which has no v_
  std::vector<TableState> tables_;
  int average_from_ = 0;
};

/// The schedule: linear warm-up, then constant, linear or cosine decay towards 0 at the last step.
float learning_rate(const Config& config, int step, int steps);

}  // namespace bib
