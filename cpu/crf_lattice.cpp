// The choice between the fast path and log space, and log space itself: slower, right for any finite score.
#include "cpu/crf_lattice.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bib/context.h"
#include "cpu/isa.h"

namespace bib::crf {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

double finite_top(const real* x, std::int64_t n) {
  double top = minus_infinity;
  for (std::int64_t i = 0; i < n; ++i) top = std::max(top, static_cast<double>(x[i]));
  return top == minus_infinity ? 0 : top;
}

double* take(Context& ctx, int rows, int stride) { return ctx.arena().make<double, 2>({rows, stride}).data; }

/// log of the sum of exp(term(i)) over i < K
template <class F>
double log_sum(int K, F&& term) {
  double top = minus_infinity;
  for (int i = 0; i < K; ++i) top = std::max(top, term(i));
  if (top == minus_infinity) return top;
  double sum = 0;
  for (int i = 0; i < K; ++i) sum += std::exp(term(i) - top);
  return top + std::log(sum);
}

}  // namespace

const LatticeKernels& lattice_kernels() { return BIB_SELECT(lattice_kernels); }

Weights make_weights(Context& ctx, int K, const real* transition, const real* first, const real* last) {
  const LatticeKernels& kernels = lattice_kernels();
  const int stride = (K + 7) / 8 * 8;
  Weights w{.K = K, .stride = stride, .transition = transition, .first = first, .last = last};
  w.forward = take(ctx, stride, stride);
  w.backward = take(ctx, stride, stride);
  w.exp_first = take(ctx, 1, stride);
  w.exp_last = take(ctx, 1, stride);
  w.transition_top = finite_top(transition, std::int64_t{K} * K);
  w.first_top = finite_top(first, K);
  w.last_top = finite_top(last, K);
  w.dropped = std::numeric_limits<double>::infinity();
  w.dropped = kernels.exponentials(first, K, stride, w.first_top, w.dropped, w.exp_first);
  w.dropped = kernels.exponentials(last, K, stride, w.last_top, w.dropped, w.exp_last);
  const auto row = [&](double* m, int i) { return m + std::int64_t{i} * stride; };
  for (int i = 0; i < K; ++i) {
    const real* scores = transition + std::int64_t{i} * K;
    w.dropped = kernels.exponentials(scores, K, stride, w.transition_top, w.dropped, row(w.forward, i));
  }
  std::fill(row(w.forward, K), row(w.forward, stride), 0.0);
  for (int j = 0; j < stride; ++j)
    for (int i = 0; i < stride; ++i) row(w.backward, j)[i] = row(w.forward, i)[j];
  return w;
}

Lattice make_lattice(Context& ctx, const Weights& w, int T) {
  return {.K = w.K,
          .stride = w.stride,
          .T = T,
          .emission = take(ctx, T, w.stride),
          .alpha = take(ctx, T, w.stride),
          .ahead = take(ctx, T, w.stride),
          .marginal = take(ctx, T, w.stride),
          .row = take(ctx, 1, w.stride)};
}

void sum_paths_log(const Weights& w, const Sequence& s, Lattice& l, bool marginals) {
  const int n = s.length, K = w.K;
  const auto at = [&](double* rows, int t) { return rows + std::int64_t{t} * l.stride; };
  const auto transition = [&](int i, int j) { return static_cast<double>(w.transition[std::int64_t{i} * K + j]); };
  l.log_space = true;
  for (int t = 0; t < n; ++t) {
    const int tag = s.tags ? s.tags[t * s.tag_step] : -1;
    for (int k = 0; k < K; ++k)
      at(l.emission, t)[k] = tag < 0 || tag == k ? static_cast<double>(s.scores[t * s.score_step + k]) : minus_infinity;
  }
  for (int k = 0; k < K; ++k) l.alpha[k] = w.first[k] + l.emission[k];
  for (int t = 1; t < n; ++t) {
    const double* before = at(l.alpha, t - 1);
    for (int j = 0; j < K; ++j)
      at(l.alpha, t)[j] = at(l.emission, t)[j] + log_sum(K, [&](int i) { return before[i] + transition(i, j); });
  }
  l.log_z = log_sum(K, [&](int k) { return at(l.alpha, n - 1)[k] + w.last[k]; });
  if (!marginals) return;
  for (int k = 0; k < K; ++k) at(l.ahead, n - 1)[k] = w.last[k];
  for (int t = n - 1; t-- > 0;) {
    for (int j = 0; j < K; ++j) l.row[j] = at(l.emission, t + 1)[j] + at(l.ahead, t + 1)[j];
    for (int i = 0; i < K; ++i) at(l.ahead, t)[i] = log_sum(K, [&](int j) { return transition(i, j) + l.row[j]; });
  }
  for (int t = 0; t < n; ++t)
    for (int k = 0; k < K; ++k) {
      const double log_p = at(l.alpha, t)[k] + at(l.ahead, t)[k] - l.log_z;
      at(l.marginal, t)[k] = l.log_z == minus_infinity ? 0 : std::exp(log_p);
    }
}

void sum_paths(const Weights& w, const Sequence* s, int count, Lattice* l, bool marginals) {
  lattice_kernels().sum_paths(w, s, count, l, marginals);
  for (int i = 0; i < count; ++i)
    if (l[i].log_space) sum_paths_log(w, s[i], l[i], marginals);
}

double pair_probability(const Weights& w, const Lattice& l, int t, int i, int j) {
  const std::int64_t here = std::int64_t{t} * l.stride + i, next = std::int64_t{t + 1} * l.stride + j;
  if (!l.log_space) return l.alpha[here] * w.forward[std::int64_t{i} * l.stride + j] * l.ahead[next];
  if (l.log_z == minus_infinity) return 0;
  return std::exp(l.alpha[here] + w.transition[std::int64_t{i} * l.K + j] + l.emission[next] + l.ahead[next] - l.log_z);
}

void add_pairs(const Weights& w, const Lattice& l, int length, double weight, double* pairs) {
  if (!l.log_space) return lattice_kernels().add_pairs(w, l, length, weight, pairs);
  for (int t = 0; t + 1 < length; ++t)
    for (int i = 0; i < l.K; ++i)
      for (int j = 0; j < l.K; ++j) pairs[std::int64_t{i} * l.stride + j] += weight * pair_probability(w, l, t, i, j);
}

}  // namespace bib::crf
