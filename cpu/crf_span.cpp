// Exact span probabilities. The posterior of a linear chain is itself a Markov chain:
//   p(y_b..y_e) = p(y_b) prod_t p(y_t, y_t+1) / p(y_t)
#include <algorithm>

#include "cpu/crf_lattice.h"
#include "cpu/crf_sequences.h"
#include "cpu/parallel.h"

namespace bib {
namespace {

using crf::Lattice;
using crf::Weights;

struct SpanOf {
  int b, begin, end;
};

SpanOf span_of(const CrfSpanProbability& op, int s) {
  return {op.spans.data[3 * std::int64_t{s}], op.spans.data[3 * std::int64_t{s} + 1],
          op.spans.data[3 * std::int64_t{s} + 2]};
}

double probability(const CrfSpanProbability& op, const Weights& weights, const Lattice& l, const SpanOf& span) {
  const auto tag = [&](int t) { return op.tags.data[std::int64_t{t} * op.tags.dim(1) + span.b]; };
  const auto marginal = [&](int t, int k) { return l.marginal[std::int64_t{t} * l.stride + k]; };
  double p = marginal(span.begin, tag(span.begin));
  for (int t = span.begin; t + 1 < span.end && p > 0; ++t)
    p *= crf::pair_probability(weights, l, t, tag(t), tag(t + 1)) / marginal(t, tag(t));
  const int final = span.end - 1, extend = op.extend[tag(final)];
  if (p > 0 && extend >= 0 && span.end < op.lengths[span.b]) {
    double stops = 0;  // summed, not 1 - p(extend): exact also where nearly every path goes on
    for (int j = 0; j < l.K; ++j)
      if (j != extend) stops += crf::pair_probability(weights, l, final, tag(final), j);
    p *= stops / marginal(final, tag(final));
  }
  return std::min(p, 1.0);
}

}  // namespace

void CrfSpanProbability::check_values() const {
  const int B = scores.dim(1), K = scores.dim(2);
  expect_values(name, "lengths", lengths, 0, scores.dim(0));
  expect_values(name, "extend", extend, -1, K - 1);
  for (int s = 0; s < spans.dim(0); ++s) {
    const auto [b, begin, end] = span_of(*this, s);
    if (b < 0 || b >= B || begin < 0 || begin >= end || end > lengths[b]) {
      throw std::invalid_argument("crf_span_probability: span " + std::to_string(s) + " is sequence " +
                                  std::to_string(b) + ", [" + std::to_string(begin) + "," + std::to_string(end) +
                                  "), which is empty or not inside its sequence");
    }
    for (int t = begin; t < end; ++t) {
      const int tag = tags.data[std::int64_t{t} * B + b];
      if (tag < 0 || tag >= K) crf::refuse(name, b, t, "tag " + std::to_string(tag) + " is not one of 0..K-1");
    }
  }
}

void on_cpu(Context& ctx, const CrfSpanProbability& op) {
  const int B = op.scores.dim(1), K = op.scores.dim(2), S = op.spans.dim(0);
  ArenaScope scratch(ctx.arena());
  const Weights weights = crf::make_weights(ctx, K, op.transition.data, op.first.data, op.last.data);
  // Spans sorted by sequence: those of b are order[ends[b-1]] .. order[ends[b]-1].
  const auto ends = ctx.arena().make<int, 1>({B + 1}), order = ctx.arena().make<int, 1>({S});
  std::fill(ends.data, ends.data + B + 1, 0);
  for (int s = 0; s < S; ++s) ++ends[span_of(op, s).b + 1];
  for (int b = 0; b < B; ++b) ends[b + 1] += ends[b];
  for (int s = 0; s < S; ++s) order[ends[span_of(op, s).b]++] = s;
  const auto first_of = [&](int b) { return b == 0 ? 0 : ends[b - 1]; };
  const auto wanted = [&](int b) { return first_of(b) < ends[b]; };
  crf::with_marginals(ctx, op, weights, wanted, [&](const Lattice& l, int b) {
    for (int i = first_of(b); i < ends[b]; ++i)
      op.probability[order[i]] = static_cast<real>(probability(op, weights, l, span_of(op, order[i])));
  });
}

}  // namespace bib
