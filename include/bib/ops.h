// Every operation, and run(): the only dispatch there is. To add an op, see docs/add_a_layer.md.
#pragma once
#include <tuple>
#include <type_traits>

#include "bib/context.h"
#include "bib/ops/adam.h"
#include "bib/ops/conv1d.h"
#include "bib/ops/conv_pool.h"
#include "bib/ops/crf.h"
#include "bib/ops/dropout.h"
#include "bib/ops/ema.h"
#include "bib/ops/embedding.h"
#include "bib/ops/linear.h"
#include "bib/ops/loss.h"
#include "bib/ops/lstm.h"
#include "bib/ops/max_pool.h"
#include "bib/ops/norm.h"
#include "bib/ops/sgd.h"

namespace bib {

template <class... Ops>
struct OpList {
  template <class Op>
  static constexpr bool has = (std::is_same_v<Op, Ops> || ...);
};

using AllOps =
    OpList<EmbeddingForward, EmbeddingBackward, LinearForward, LinearBackward, LstmForward, LstmBackward, CrfLoss,
           CrfDecode, CrfMarginals, CrfSpanProbability, CrfKBest, Conv1dForward, Conv1dBackward, MaxPoolForward,
           MaxPoolBackward, ConvPoolForward, ConvPoolBackward, SoftmaxLoss, SigmoidLoss, Softmax, Sigmoid, Dropout,
           NormSquared, ClipScale, AdamStep, AdamRows, SgdStep, SgdRows, EmaStep, EmaRows>;

/// Checks the operands and runs the op on the context's device.
/// Throws std::invalid_argument when shapes or devices disagree, std::runtime_error when the device fails.
template <class Op>
void run(Context& ctx, const Op& op) {
  static_assert(AllOps::has<Op>, "list it in include/bib/ops.h: that is what makes it tested and timed");
  op.check();
  std::apply([&](const auto&... v) { (expect(!v || v.device == ctx.device(), Op::name), ...); }, Op::operands(op));
  if (ctx.device() == Device::cpu) {
    on_cpu(ctx, op);
  } else if constexpr (has_cuda) {
    on_cuda(ctx, op);
  }
  if (ctx.careful()) ctx.wait();
}

}  // namespace bib
