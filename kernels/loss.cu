// Classification losses, one warp per example; sums over the classes in the order of the warp's butterfly.
#include "bib/ops/loss.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"

namespace bib {
namespace device {
namespace {

constexpr int warps = 4;

/// Example of this warp, or -1.
__device__ int example(int B) {
  const int b = static_cast<int>(blockIdx.x) * warps + warp_id();
  return b < B ? b : -1;
}

__device__ float sigmoid_of(float x) {
  const float e = expf(-fabsf(x));  // never overflows
  return (x >= 0 ? 1.0f : e) / (1 + e);
}

/// log(1 + e^x) without overflow. NaN stays.
__device__ float softplus(float x) { return (x > 0 || x != x ? x : 0.0f) + log1pf(expf(-fabsf(x))); }

struct Exponentials {
  float largest, sum;
};

/// exp(scores - largest) summed over the row, and kept in `to` where given.
__device__ Exponentials exponentials(const float* scores, int K, float* to) {
  float largest = scores[0];
  for (int k = lane_id(); k < K; k += warp_lanes)
    largest = scores[k] > largest || scores[k] != scores[k] ? scores[k] : largest;
  largest = warp_max(largest);
  float sum = 0;
  for (int k = lane_id(); k < K; k += warp_lanes) {
    const float x = expf(scores[k] - largest);
    if (to) to[k] = x;
    sum += x;
  }
  return {largest, warp_sum(sum)};
}

__global__ void softmax_loss(const float* scores, const int* labels, const float* weight, float* loss, float* d_scores,
                             int B, int K) {
  after_previous();
  const int b = example(B);
  if (b < 0) return;
  const std::int64_t row = static_cast<std::int64_t>(b) * K;
  float* d = d_scores ? d_scores + row : nullptr;
  const int label = labels[b];
  const float w = weight[b];
  const Exponentials e = exponentials(scores + row, K, d);
  if (lane_id() == 0) loss[b] = w * (logf(e.sum) - (scores[row + label] - e.largest));
  if (!d) return;
  const float scale = w / e.sum;
  for (int k = lane_id(); k < K; k += warp_lanes) d[k] = d[k] * scale - (k == label ? w : 0.0f);
}

__global__ void sigmoid_loss(const float* scores, const float* targets, const float* weight, const float* class_weight,
                             float* loss, float* d_scores, int B, int K) {
  after_previous();
  const int b = example(B);
  if (b < 0) return;
  const std::int64_t row = static_cast<std::int64_t>(b) * K;
  const float w = weight[b];
  float sum = 0;
  for (int k = lane_id(); k < K; k += warp_lanes) {
    const float score = scores[row + k], target = targets[row + k];
    sum += class_weight[k] * (softplus(score) - target * score);
    if (d_scores) d_scores[row + k] = w * class_weight[k] * (sigmoid_of(score) - target);
  }
  sum = warp_sum(sum);
  if (lane_id() == 0) loss[b] = w * sum;
}

__global__ void softmax(const float* scores, float* probability, int B, int K) {
  after_previous();
  const int b = example(B);
  if (b < 0) return;
  const std::int64_t row = static_cast<std::int64_t>(b) * K;
  const float scale = 1 / exponentials(scores + row, K, probability + row).sum;
  for (int k = lane_id(); k < K; k += warp_lanes) probability[row + k] *= scale;
}

struct SigmoidOf {
  const float* scores;
  float* probability;
  __device__ void operator()(std::int64_t i) const { probability[i] = sigmoid_of(scores[i]); }
};

Grid examples(int B) {
  return {.blocks = dim3(static_cast<unsigned>((B + warps - 1) / warps)), .threads = warps * warp_lanes};
}

}  // namespace
}  // namespace device

void on_cuda(Context& ctx, const SoftmaxLoss& op) {
  const int B = op.scores.dim(0), K = op.scores.dim(1);
  device::launch(ctx, op.name, device::softmax_loss, device::examples(B), op.scores.data, op.labels.data,
                 op.weight.data, op.loss.data, op.d_scores.data, B, K);
}

void on_cuda(Context& ctx, const SigmoidLoss& op) {
  const int B = op.scores.dim(0), K = op.scores.dim(1);
  device::launch(ctx, op.name, device::sigmoid_loss, device::examples(B), op.scores.data, op.targets.data,
                 op.weight.data, op.class_weight.data, op.loss.data, op.d_scores.data, B, K);
}

void on_cuda(Context& ctx, const Softmax& op) {
  const int B = op.scores.dim(0), K = op.scores.dim(1);
  device::launch(ctx, op.name, device::softmax, device::examples(B), op.scores.data, op.probability.data, B, K);
}

void on_cuda(Context& ctx, const Sigmoid& op) {
  device::for_each(ctx, op.name, op.scores.size(), device::SigmoidOf{op.scores.data, op.probability.data});
}

}  // namespace bib
