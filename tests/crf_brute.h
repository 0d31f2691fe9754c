// Every tag path of a short sequence, one by one, in double: what the CRF ops are tested against.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/maker.h"

namespace bib::test {

inline constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

/// Operands of all five ops for one random batch.
struct CrfProblem {
  int T, B, K;
  View<real, 3> scores;
  View<int, 2> tags;  // -1: not annotated
  View<int, 1> lengths;
  View<real, 2> transition;
  View<real, 1> first, last, weight;

  CrfProblem(Maker& m, int t, int b, int k, float range)
      : T(t),
        B(b),
        K(k),
        scores(m.uniform({T, B, K}, -range, range)),
        tags(m.ints({T, B}, -1, K - 1)),
        lengths(m.lengths(B, T)),
        transition(m.uniform({K, K}, -range, range)),
        first(m.uniform({K}, -range, range)),
        last(m.uniform({K}, -range, range)),
        weight(m.uniform({B}, 0.5, 2)) {}

  /// A quarter of first, last and transition becomes -infinity.
  void forbid(Maker& m) {
    for (auto v : {View<real, 1>{.data = transition.data, .shape = {K * K}}, first, last}) {
      const auto dice = m.ints({v.dim(0)}, 0, 3);
      for (int i = 0; i < v.dim(0); ++i)
        if (dice[i] == 0) v[i] = -std::numeric_limits<real>::infinity();
    }
  }

  template <class Op>
  Op with(Op op) const {
    op.scores = scores, op.lengths = lengths, op.transition = transition, op.first = first, op.last = last;
    return op;
  }
};

struct Path {
  std::vector<int> tags;
  double score = 0;
};

inline double path_score(const CrfProblem& p, int b, const std::vector<int>& tags) {
  double score = 0;
  for (std::size_t t = 0; t < tags.size(); ++t) {
    score += t == 0 ? p.first[tags[0]] : p.transition[tags[t - 1]][tags[t]];
    score += p.scores[static_cast<int>(t)][b][tags[t]];
  }
  return tags.empty() ? 0 : score + p.last[tags.back()];
}

/// All K^n paths of sequence b in falling order of score, equal ones in the order CrfKBest promises.
inline std::vector<Path> all_paths(const CrfProblem& p, int b) {
  const int n = p.lengths[b];
  std::vector<Path> paths;
  std::vector<int> tags(static_cast<std::size_t>(n), 0);
  for (bool more = true; more;) {
    paths.push_back({tags, path_score(p, b, tags)});
    more = false;
    for (int t = 0; t < n && !more; ++t) {  // counts up with tags[0] as its lowest digit: the promised order
      more = ++tags[t] < p.K;
      if (!more) tags[t] = 0;
    }
  }
  std::stable_sort(paths.begin(), paths.end(), [](const Path& a, const Path& c) { return a.score > c.score; });
  return paths;
}

/// Sum over the paths for which keep(path) holds, relative to exp(shift).
template <class Keep>
double mass(const std::vector<Path>& paths, double shift, Keep&& keep) {
  double sum = 0;
  for (const Path& path : paths)
    if (keep(path) && path.score > minus_infinity) sum += std::exp(path.score - shift);
  return sum;
}

inline bool agrees(const CrfProblem& p, int b, const Path& path) {
  for (std::size_t t = 0; t < path.tags.size(); ++t) {
    const int tag = p.tags[static_cast<int>(t)][b];
    if (tag >= 0 && tag != path.tags[t]) return false;
  }
  return true;
}

/// Loss and gradients by definition: expectations over all paths minus those over the paths that agree.
struct CrfBrute {
  std::vector<double> loss, log_z, d_scores, marginals, d_transition, d_first, d_last;
  bool possible = true;  // every sequence has a path that agrees with its tags

  explicit CrfBrute(const CrfProblem& p)
      : loss(p.B),
        log_z(p.B),
        d_scores(static_cast<std::size_t>(p.scores.size())),
        marginals(d_scores.size()),
        d_transition(static_cast<std::size_t>(p.K) * p.K),
        d_first(p.K),
        d_last(p.K) {
    for (int b = 0; b < p.B; ++b) add(p, b);
  }

 private:
  void add(const CrfProblem& p, int b) {
    const std::vector<Path> paths = all_paths(p, b);
    const auto any = [](const Path&) { return true; };
    const auto gold = [&](const Path& path) { return agrees(p, b, path); };
    double gold_top = minus_infinity;
    bool annotated = false;
    for (int t = 0; t < p.lengths[b]; ++t) annotated = annotated || p.tags[t][b] >= 0;
    for (const Path& path : paths)
      if (gold(path)) gold_top = std::max(gold_top, path.score);
    log_z[b] = minus_infinity;
    possible = possible && (gold_top > minus_infinity || !annotated);
    if (gold_top == minus_infinity) return;
    const double top = paths[0].score, z = mass(paths, top, any), z_gold = mass(paths, gold_top, gold), w = p.weight[b];
    log_z[b] = top + std::log(z);
    loss[b] = w * (top - gold_top + std::log(z) - std::log(z_gold));
    for (const Path& path : paths) {
      if (path.score == minus_infinity) continue;
      const double all = std::exp(path.score - top) / z;
      const double difference = w * (all - (gold(path) ? std::exp(path.score - gold_top) / z_gold : 0));
      count(p, b, path, all, marginals, nullptr);
      count(p, b, path, difference, d_scores, this);
    }
  }

  static void count(const CrfProblem& p, int b, const Path& path, double amount, std::vector<double>& at_scores,
                    CrfBrute* sums) {
    for (std::size_t t = 0; t < path.tags.size(); ++t) {
      const int tag = path.tags[t];
      at_scores[(t * p.B + b) * p.K + tag] += amount;
      if (sums && t > 0) sums->d_transition[static_cast<std::size_t>(path.tags[t - 1]) * p.K + tag] += amount;
    }
    if (!sums || path.tags.empty()) return;
    sums->d_first[path.tags.front()] += amount;
    sums->d_last[path.tags.back()] += amount;
  }
};

}  // namespace bib::test
