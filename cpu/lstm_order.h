// How the LSTM on the CPU shares a batch: sentences sorted by length, dealt out to the threads. Included by the files
// of the op only.
#pragma once
#include <algorithm>
#include <numeric>
#include <vector>

#include "bib/ops/lstm.h"
#include "cpu/lstm.simd.h"

namespace bib {

/// Tokens whose input products are computed at once: they stay in the second-level cache.
inline constexpr int lstm_chunk_rows = 192;

/// The batch by falling length; tokens packed step by step, in this order within a step.
struct LstmOrder {
  std::vector<int> sentence, length;  // [B]
  std::vector<int> packed_row;        // [steps+1]  where step t begins
  int steps = 0;

  explicit LstmOrder(const View<const int, 1>& lengths) : sentence(static_cast<std::size_t>(lengths.dim(0))) {
    const int B = lengths.dim(0);
    std::iota(sentence.begin(), sentence.end(), 0);
    std::stable_sort(sentence.begin(), sentence.end(), [&](int a, int b) { return lengths[a] > lengths[b]; });
    for (int b : sentence) length.push_back(lengths[b]);
    steps = B ? length[0] : 0;
    packed_row.assign(steps + 1, 0);
    for (int t = 0, active = B; t < steps; ++t) {
      while (length[active - 1] <= t) --active;
      packed_row[t + 1] = packed_row[t] + active;
    }
  }
  int tokens() const { return packed_row.back(); }
  struct Token {
    int t, j;  // step, place among the sentences
  };
  Token token(int row) const {
    const auto after = std::upper_bound(packed_row.begin(), packed_row.end(), row);
    const int t = static_cast<int>(after - packed_row.begin()) - 1;
    return {t, row - packed_row[t]};
  }
  int active(int t) const { return packed_row[t + 1] - packed_row[t]; }
};

/// Every G-th sentence of the order, so that the units of one direction cost the same.
struct LstmPart {
  std::vector<int> sentence, active;
  int first, stride;

  LstmPart(const LstmOrder& order, int first_, int stride_) : first(first_), stride(stride_) {
    for (std::size_t j = first; j < order.sentence.size(); j += stride) sentence.push_back(order.sentence[j]);
    const int steps = sentence.empty() ? 0 : order.length[first];
    for (int t = 0; t < steps; ++t) active.push_back((order.active(t) - first + stride - 1) / stride);
    active.push_back(0);
  }
};

inline std::vector<LstmPart> lstm_parts(const Context& ctx, const LstmOrder& order, int D) {
  const int B = static_cast<int>(order.sentence.size());
  const int stride = std::max(1, std::min(B, (ctx.threads() + D - 1) / D));
  std::vector<LstmPart> list;
  for (int first = 0; first < stride; ++first) list.emplace_back(order, first, stride);
  return list;
}

template <class Op>
LstmUnit lstm_unit(const Op& op, const LstmPart& part, int direction) {
  return {.T = op.x.dim(0),
          .B = op.x.dim(1),
          .D = op.w_h.dim(0),
          .I = op.x.dim(2),
          .H = op.w_h.dim(2),
          .direction = direction,
          .count = static_cast<int>(part.sentence.size()),
          .steps = static_cast<int>(part.active.size()) - 1,
          .sentence = part.sentence.data(),
          .active = part.active.data(),
          .mask = op.h_mask ? op.h_mask[direction].data : nullptr};
}

}  // namespace bib
