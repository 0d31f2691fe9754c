// Linear-chain conditional random field (Lafferty, McCallum & Pereira 2001).
//   score(y | x) = first[y_0] + sum_t scores[t,y_t] + sum_t transition[y_{t-1},y_t] + last[y_{n-1}]
//   p(y | x) = exp(score(y|x)) / Z
// A value of -infinity in scores, first, last or transition forbids it: its probability is exactly 0 and its gradient
// exactly 0. Steps at or past a sequence's length do not exist; a sequence of length 0 has Z = 1, loss 0 and no tags.
#pragma once
#include <stdexcept>
#include <string>
#include <tuple>

#include "bib/context.h"

namespace bib {

/// What is wrong with an annotation.
struct CrfFault {
  enum Kind : int { none, not_a_tag, forbidden, no_path };
  int kind = none, sequence = 0, step = 0, tag = -1, before = -1;  // `before`: the gold tag of the step before, if any
  int claimed = 0;                                                 // by one of several threads of a GPU, to write it

  /// Throws std::invalid_argument that says what and where.
  [[noreturn]] void refuse(std::string_view op) const {
    std::string why = "no allowed path agrees with the tags";
    if (kind == not_a_tag) why = "tag " + std::to_string(tag) + " is not one of -1..K-1";
    if (kind == forbidden)
      why = "gold tag " + std::to_string(tag) + (before >= 0 ? " after tag " + std::to_string(before) : "") +
            " is forbidden (score -infinity)";
    throw std::invalid_argument(std::string(op) + ": sequence " + std::to_string(sequence) + ", step " +
                                std::to_string(step) + ": " + why);
  }
};

/// Negative log-likelihood and all its gradients in one pass.
///   loss[b] = weight[b] (log Z - log Z_allowed)    Z_allowed sums over the paths that agree with `tags`
/// A tag of -1 means "not annotated": every tag agrees with it (partial CRF; Tsuboi et al., COLING 2008).
/// Tags that are none, that use a forbidden score, or that no path agrees with (the loss would be infinite) throw
/// std::invalid_argument, which names the sequence and the step: on the CPU from run(); on a GPU, which is not waited
/// for, from the next wait for it (download(), Fetched::values(), Context::wait()), and until then the loss and the
/// gradients are those of nothing in particular.
struct CrfLoss {
  static constexpr std::string_view name = "crf_loss";
  View<const real, 3> scores;       // [T,B,K]
  View<const int, 2> tags;          // [T,B]  -1..K-1
  View<const int, 1> lengths;       // [B]    0..T
  View<const real, 2> transition;   // [K,K]  from,to
  View<const real, 1> first, last;  // [K] [K]
  View<const real, 1> weight;       // [B]    multiplies the loss and gradient of a sequence
  View<real, 1> loss;               // [B]      =
  View<real, 3> d_scores;           // [T,B,K]  =   the four gradients are given together or not at all
  View<real, 2> d_transition;       // [K,K]   +=
  View<real, 1> d_first, d_last;    // [K] [K] +=
  static auto operands(auto& o) {
    return std::tie(o.scores, o.tags, o.lengths, o.transition, o.first, o.last, o.weight, o.loss, o.d_scores,
                    o.d_transition, o.d_first, o.d_last);
  }
  void check() const {
    const int T = scores.dim(0), B = scores.dim(1), K = scores.dim(2);
    expect(K > 0, "crf_loss: there are no tags (K = 0)");
    expect_shape(name, "tags", tags, {T, B});
    expect_shape(name, "lengths", lengths, {B});
    expect_shape(name, "transition", transition, {K, K});
    expect_shape(name, "first", first, {K});
    expect_shape(name, "last", last, {K});
    expect_shape(name, "weight", weight, {B});
    expect_shape(name, "loss", loss, {B});
    expect_shape_or_none(name, "d_scores", d_scores, {T, B, K});
    expect_shape_or_none(name, "d_transition", d_transition, {K, K});
    expect_shape_or_none(name, "d_first", d_first, {K});
    expect_shape_or_none(name, "d_last", d_last, {K});
    expect(!d_scores == !d_transition && !d_scores == !d_first && !d_scores == !d_last,
           "crf_loss: gradients are given together or not at all");
  }
  void check_values() const { expect_values(name, "lengths", lengths, 0, scores.dim(0)); }
};

/// Viterbi: the best path and its score. Ties go to the lower tag. Past a sequence's length tags are -1.
struct CrfDecode {
  static constexpr std::string_view name = "crf_decode";
  View<const real, 3> scores;       // [T,B,K]
  View<const int, 1> lengths;       // [B]
  View<const real, 2> transition;   // [K,K]
  View<const real, 1> first, last;  // [K] [K]
  View<int, 2> tags;                // [T,B]  =
  View<real, 1> score;              // [B]    =  score(best path), 0 for length 0
  static auto operands(auto& o) {
    return std::tie(o.scores, o.lengths, o.transition, o.first, o.last, o.tags, o.score);
  }
  void check() const {
    const int T = scores.dim(0), B = scores.dim(1), K = scores.dim(2);
    expect(K > 0, "crf_decode: there are no tags (K = 0)");
    expect_shape(name, "lengths", lengths, {B});
    expect_shape(name, "transition", transition, {K, K});
    expect_shape(name, "first", first, {K});
    expect_shape(name, "last", last, {K});
    expect_shape(name, "tags", tags, {T, B});
    expect_shape(name, "score", score, {B});
  }
  void check_values() const { expect_values(name, "lengths", lengths, 0, scores.dim(0)); }
};

/// Forward-backward: log Z and p(y_t = k | x); rows past a sequence's length are 0.
struct CrfMarginals {
  static constexpr std::string_view name = "crf_marginals";
  View<const real, 3> scores;       // [T,B,K]
  View<const int, 1> lengths;       // [B]
  View<const real, 2> transition;   // [K,K]
  View<const real, 1> first, last;  // [K] [K]
  View<real, 1> log_z;              // [B]      =
  View<real, 3> marginals;          // [T,B,K]  =
  static auto operands(auto& o) {
    return std::tie(o.scores, o.lengths, o.transition, o.first, o.last, o.log_z, o.marginals);
  }
  void check() const {
    const int T = scores.dim(0), B = scores.dim(1), K = scores.dim(2);
    expect(K > 0, "crf_marginals: there are no tags (K = 0)");
    expect_shape(name, "lengths", lengths, {B});
    expect_shape(name, "transition", transition, {K, K});
    expect_shape(name, "first", first, {K});
    expect_shape(name, "last", last, {K});
    expect_shape(name, "log_z", log_z, {B});
    expect_shape(name, "marginals", marginals, {T, B, K});
  }
  void check_values() const { expect_values(name, "lengths", lengths, 0, scores.dim(0)); }
};

/// Exact probability that a span carries exactly the tags given and does not go on:
///   p(y_t = tags[t] for t in [begin,end), and y_end != extend[y_{end-1}])
/// `extend[k]` is the tag that would continue the entity after tag k (I-X for B-X and I-X under IOB2), -1 if none.
struct CrfSpanProbability {
  static constexpr std::string_view name = "crf_span_probability";
  View<const real, 3> scores;       // [T,B,K]
  View<const int, 1> lengths;       // [B]
  View<const real, 2> transition;   // [K,K]
  View<const real, 1> first, last;  // [K] [K]
  View<const int, 2> tags;          // [T,B]
  View<const int, 1> extend;        // [K]
  View<const int, 2> spans;         // [S,3]  sequence b, begin, end;  0 <= begin < end <= lengths[b]
  View<real, 1> probability;        // [S]  =
  static auto operands(auto& o) {
    return std::tie(o.scores, o.lengths, o.transition, o.first, o.last, o.tags, o.extend, o.spans, o.probability);
  }
  void check() const {
    const int T = scores.dim(0), B = scores.dim(1), K = scores.dim(2);
    expect(K > 0, "crf_span_probability: there are no tags (K = 0)");
    expect_shape(name, "lengths", lengths, {B});
    expect_shape(name, "transition", transition, {K, K});
    expect_shape(name, "first", first, {K});
    expect_shape(name, "last", last, {K});
    expect_shape(name, "tags", tags, {T, B});
    expect_shape(name, "extend", extend, {K});
    expect_shape(name, "spans", spans, {spans.dim(0), 3});
    expect_shape(name, "probability", probability, {spans.dim(0)});
  }
  void check_values() const;  // lengths, extend, spans, and tags within spans
};

/// The N best distinct paths in falling order of score; where fewer exist, score is -infinity and tags are -1.
/// Equal scores are ordered by the path, compared tag by tag from the last step to the first, lower tag first.
struct CrfKBest {
  static constexpr std::string_view name = "crf_k_best";
  View<const real, 3> scores;       // [T,B,K]
  View<const int, 1> lengths;       // [B]
  View<const real, 2> transition;   // [K,K]
  View<const real, 1> first, last;  // [K] [K]
  View<int, 3> tags;                // [N,T,B]  =
  View<real, 2> score;              // [N,B]    =
  static auto operands(auto& o) {
    return std::tie(o.scores, o.lengths, o.transition, o.first, o.last, o.tags, o.score);
  }
  void check() const {
    const int T = scores.dim(0), B = scores.dim(1), K = scores.dim(2);
    expect(K > 0, "crf_k_best: there are no tags (K = 0)");
    expect_shape(name, "lengths", lengths, {B});
    expect_shape(name, "transition", transition, {K, K});
    expect_shape(name, "first", first, {K});
    expect_shape(name, "last", last, {K});
    expect_shape(name, "tags", tags, {tags.dim(0), T, B});
    expect_shape(name, "score", score, {tags.dim(0), B});
  }
  void check_values() const { expect_values(name, "lengths", lengths, 0, scores.dim(0)); }
};

void on_cpu(Context&, const CrfLoss&);
void on_cuda(Context&, const CrfLoss&);
void on_cpu(Context&, const CrfDecode&);
void on_cuda(Context&, const CrfDecode&);
void on_cpu(Context&, const CrfMarginals&);
void on_cuda(Context&, const CrfMarginals&);
void on_cpu(Context&, const CrfSpanProbability&);
void on_cuda(Context&, const CrfSpanProbability&);
void on_cpu(Context&, const CrfKBest&);
void on_cuda(Context&, const CrfKBest&);

}  // namespace bib
