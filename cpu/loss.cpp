// Classification losses, one example per iteration. Scalar on purpose: a NaN score must come out as a NaN loss, and
// the C library's exp and log keep it.
#include "bib/ops/loss.h"

#include <algorithm>
#include <cmath>

#include "cpu/parallel.h"

namespace bib {

namespace {

std::int64_t rows_per_task(int K) { return std::max(1, 2048 / std::max(1, K)); }

/// exp(scores - largest), which go to `to` where one is given, and their sum.
struct Exponentials {
  real largest, sum;
};

real largest_of(View<const real, 1> scores) {
  real largest = scores[0];
  for (int k = 1; k < scores.dim(0); ++k) largest = std::max(largest, scores[k]);
  return largest;
}

Exponentials exponentials(View<const real, 1> scores, real* to) {
  Exponentials e{.largest = largest_of(scores), .sum = 0};
  for (int k = 0; k < scores.dim(0); ++k) {
    const real x = std::exp(scores[k] - e.largest);
    if (to) to[k] = x;
    e.sum += x;
  }
  return e;
}

real sigmoid(real x) {
  const real e = std::exp(-std::abs(x));  // never overflows
  return (x >= 0 ? real(1) : e) / (1 + e);
}

/// log(1 + e^x) without overflow.
real softplus(real x) { return std::max(x, real(0)) + std::log1p(std::exp(-std::abs(x))); }

}  // namespace

void on_cpu(Context& ctx, const SoftmaxLoss& op) {
  const int K = op.scores.dim(1);
  parallel_chunks(ctx, op.scores.dim(0), rows_per_task(K), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      real* d = op.d_scores ? op.d_scores[b].data : nullptr;
      const int label = op.labels[b];
      const Exponentials e = exponentials(op.scores[b], d);
      op.loss[b] = op.weight[b] * (std::log(e.sum) - (op.scores[b][label] - e.largest));
      if (!d) continue;
      const real scale = op.weight[b] / e.sum;
      for (int k = 0; k < K; ++k) d[k] *= scale;
      d[label] -= op.weight[b];
    }
  });
}

void on_cpu(Context& ctx, const SigmoidLoss& op) {
  const int K = op.scores.dim(1);
  parallel_chunks(ctx, op.scores.dim(0), rows_per_task(K), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      real loss = 0;
      for (int k = 0; k < K; ++k) {
        const real score = op.scores[b][k], target = op.targets[b][k];
        loss += op.class_weight[k] * (softplus(score) - target * score);
        if (op.d_scores) op.d_scores[b][k] = op.weight[b] * op.class_weight[k] * (sigmoid(score) - target);
      }
      op.loss[b] = op.weight[b] * loss;
    }
  });
}

void on_cpu(Context& ctx, const Softmax& op) {
  const int K = op.scores.dim(1);
  parallel_chunks(ctx, op.scores.dim(0), rows_per_task(K), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      real* p = op.probability[b].data;
      const real scale = 1 / exponentials(op.scores[b], p).sum;
      for (int k = 0; k < K; ++k) p[k] *= scale;
    }
  });
}

void on_cpu(Context& ctx, const Sigmoid& op) {
  parallel_chunks(ctx, op.scores.size(), 2048, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) op.probability.data[i] = sigmoid(op.scores.data[i]);
  });
}

}  // namespace bib
