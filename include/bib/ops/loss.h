// Classification losses with their gradients in one pass, and the probabilities alone for prediction.
#pragma once
#include <tuple>

#include "bib/context.h"

namespace bib {

/// Cross entropy over exclusive classes: loss[b] = -weight[b] log softmax(scores[b])[labels[b]]
struct SoftmaxLoss {
  static constexpr std::string_view name = "softmax_loss";
  View<const real, 2> scores;  // [B,K]
  View<const int, 1> labels;   // [B]    0..K-1
  View<const real, 1> weight;  // [B]    class weight of the label times weight of the example
  View<real, 1> loss;          // [B]    =
  View<real, 2> d_scores;      // [B,K]  =   may be left out
  static auto operands(auto& o) { return std::tie(o.scores, o.labels, o.weight, o.loss, o.d_scores); }
  void check() const {
    const int B = scores.dim(0);
    expect_shape(name, "labels", labels, {B});
    expect_shape(name, "weight", weight, {B});
    expect_shape(name, "loss", loss, {B});
    expect_shape_or_none(name, "d_scores", d_scores, scores.shape);
  }
  void check_values() const { expect_values(name, "labels", labels, 0, scores.dim(1) - 1); }
};

/// Binary cross entropy over independent classes (multi-label):
///   loss[b] = weight[b] sum_k class_weight[k] (softplus(s) - target s),  s = scores[b,k]
struct SigmoidLoss {
  static constexpr std::string_view name = "sigmoid_loss";
  View<const real, 2> scores;        // [B,K]
  View<const real, 2> targets;       // [B,K]  0..1
  View<const real, 1> weight;        // [B]
  View<const real, 1> class_weight;  // [K]
  View<real, 1> loss;                // [B]    =
  View<real, 2> d_scores;            // [B,K]  =   may be left out
  static auto operands(auto& o) { return std::tie(o.scores, o.targets, o.weight, o.class_weight, o.loss, o.d_scores); }
  void check() const {
    const int B = scores.dim(0), K = scores.dim(1);
    expect_shape(name, "targets", targets, {B, K});
    expect_shape(name, "weight", weight, {B});
    expect_shape(name, "class_weight", class_weight, {K});
    expect_shape(name, "loss", loss, {B});
    expect_shape_or_none(name, "d_scores", d_scores, scores.shape);
  }
};

struct Softmax {
  static constexpr std::string_view name = "softmax";
  View<const real, 2> scores;  // [B,K]
  View<real, 2> probability;   // [B,K]  =  rows sum to 1
  static auto operands(auto& o) { return std::tie(o.scores, o.probability); }
  void check() const { expect_shape(name, "probability", probability, scores.shape); }
};

struct Sigmoid {
  static constexpr std::string_view name = "sigmoid";
  View<const real, 2> scores;  // [B,K]
  View<real, 2> probability;   // [B,K]  =
  static auto operands(auto& o) { return std::tie(o.scores, o.probability); }
  void check() const { expect_shape(name, "probability", probability, scores.shape); }
};

void on_cpu(Context&, const SoftmaxLoss&);
void on_cuda(Context&, const SoftmaxLoss&);
void on_cpu(Context&, const SigmoidLoss&);
void on_cuda(Context&, const SigmoidLoss&);
void on_cpu(Context&, const Softmax&);
void on_cuda(Context&, const Softmax&);
void on_cpu(Context&, const Sigmoid&);
void on_cuda(Context&, const Sigmoid&);

}  // namespace bib
