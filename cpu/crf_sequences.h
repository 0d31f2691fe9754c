// What the CRF ops share about their batch: where a sequence lies, and what is wrong with an operand.
#pragma once
#include <string>

#include "bib/ops/crf.h"
#include "cpu/crf_lattice.h"

namespace bib::crf {

/// Elements from one time step of a [T,B,K] to the next.
template <class T>
std::int64_t step_of(const View<T, 3>& v) {
  return std::int64_t{v.dim(1)} * v.dim(2);
}

template <class Op>
Sequence sequence_of(const Op& op, int b) {
  return {.length = op.lengths[b],
          .scores = op.scores.data + std::int64_t{b} * op.scores.dim(2),
          .score_step = step_of(op.scores)};
}

[[noreturn]] inline void refuse(std::string_view op, int b, int t, const std::string& why) {
  throw std::invalid_argument(std::string(op) + ": sequence " + std::to_string(b) + ", step " + std::to_string(t) +
                              ": " + why);
}

template <class Op>
void expect_batch(const Op& op) {
  const int T = op.scores.dim(0);
  expect(op.scores.dim(2) > 0, std::string(op.name) + ": there are no tags (K = 0)");
  for (int b = 0; b < op.lengths.dim(0); ++b) {
    if (op.lengths[b] >= 0 && op.lengths[b] <= T) continue;
    throw std::invalid_argument(std::string(op.name) + ": lengths[" + std::to_string(b) + "] is " +
                                std::to_string(op.lengths[b]) + ", expected 0.." + std::to_string(T));
  }
}

}  // namespace bib::crf
