// What the CRF ops share about their batch: where a sequence lies, what is wrong with an operand, and the walk over
// all.
#pragma once
#include <algorithm>
#include <array>
#include <string>

#include "bib/ops/crf.h"
#include "cpu/crf_lattice.h"
#include "cpu/parallel.h"

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

/// Sequences of a batch of B that one thread takes at once: 1 where there are too few for the threads.
inline int chunk_of(const Context& ctx, int B) { return B < at_once * ctx.threads() ? 1 : at_once; }

using Lattices = std::array<Lattice, at_once>;

inline Lattices make_lattices(Context& ctx, const Weights& weights, int T) {
  Lattices lattices;
  for (Lattice& l : lattices) l = make_lattice(ctx, weights, T);
  return lattices;
}

/// Calls f(lattice, b) with the marginals of every sequence that has a step and that `wanted(b)` is true for.
template <class Op, class Wanted, class F>
void with_marginals(Context& ctx, const Op& op, const Weights& weights, Wanted&& wanted, F&& f) {
  const int T = op.scores.dim(0), B = op.scores.dim(1);
  const int chunk = chunk_of(ctx, B);
  const auto scratch = [&] { return make_lattices(ctx, weights, T); };
  parallel_for_with(ctx, (B + chunk - 1) / chunk, scratch, [&](Lattices& lattices, int c) {
    std::array<Sequence, at_once> sequences;
    std::array<int, at_once> which;
    int n = 0;
    for (int b = c * chunk; b < std::min(B, (c + 1) * chunk); ++b)
      if (op.lengths[b] > 0 && wanted(b)) which[n] = b, sequences[n++] = sequence_of(op, b);
    sum_paths(weights, sequences.data(), n, lattices.data(), true);
    for (int i = 0; i < n; ++i) f(lattices[i], which[i]);
  });
}

}  // namespace bib::crf
