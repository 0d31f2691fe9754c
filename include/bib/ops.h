// Every operation, and run(): the only dispatch there is. To add an op, see docs/add_a_layer.md.
#pragma once
#include <span>
#include <tuple>
#include <type_traits>
#include <vector>

#include "bib/context.h"
#include "bib/ops/adam.h"
#include "bib/ops/add_at.h"
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
           NormSquared, ClipScale, AdamStep, AdamRows, SgdStep, SgdRows, EmaStep, EmaRows, AddAt>;

/// Whether the op reads integers: lengths, indices, labels.
template <class Op>
constexpr bool reads_integers() {
  return []<class... V>(std::type_identity<std::tuple<V&...>>) {
    return ((std::is_same_v<typename V::value_type, int> && !V::is_output) || ...);
  }(std::type_identity<decltype(Op::operands(std::declval<Op&>()))>{});
}

/// op.check_values() with a GPU's integers copied to the host; waits for it.
template <class Op>
void check_values_from(Context& ctx, Op op) {
  std::vector<std::vector<int>> host;
  const auto fetch = [&](auto& v) {
    if constexpr (std::is_same_v<decltype(v.data), const int*>) {
      if (!v) return;
      v.data = host.emplace_back(download(ctx, v)).data();
      v.device = Device::cpu;
    }
  };
  std::apply([&](auto&... v) { (fetch(v), ...); }, Op::operands(op));
  op.check_values();
}

/// Whether the op's CUDA kernels take several ops of its kind at once.
template <class Op>
constexpr bool grouped = requires(Context& ctx, std::span<const Op> ops) {
  on_cuda(ctx, ops);
};

/// Throws what run() throws for wrong operands.
template <class Op>
void check_operands(Context& ctx, const Op& op) {
  static_assert(AllOps::has<Op>, "list it in include/bib/ops.h: that is what makes it tested and timed");
  op.check();
  std::apply([&](const auto&... v) { (expect(!v || v.device == ctx.device(), Op::name), ...); }, Op::operands(op));
  if constexpr (reads_integers<Op>()) {
    if (ctx.device() == Device::cpu) {
      op.check_values();
    } else if (ctx.careful()) {
      check_values_from(ctx, op);
    }
  }
}

/// Runs ops of one kind, in turn or as if in turn: on a GPU, those that models have several of take few launches for
/// all of them. What one writes no other may read or write, unless the op says so. Throws as run() does, and before any
/// of them has run where it is for their operands.
template <class Op>
void run_all(Context& ctx, std::span<const Op> ops) {
  for (const Op& op : ops) check_operands(ctx, op);
  if (ctx.device() == Device::cpu) {
    for (const Op& op : ops) on_cpu(ctx, op);
  } else if constexpr (has_cuda && grouped<Op>) {
    on_cuda(ctx, ops);
  } else if constexpr (has_cuda) {
    for (const Op& op : ops) on_cuda(ctx, op);
  }
  if (ctx.careful()) ctx.wait();
}
template <class Op>
void run_all(Context& ctx, const std::vector<Op>& ops) {
  run_all(ctx, std::span<const Op>(ops));
}

/// Checks the operands and runs the op on the context's device.
/// Throws std::invalid_argument when shapes or devices disagree, std::runtime_error when the device fails. Lengths,
/// indices and labels out of range throw std::invalid_argument too; on a GPU, whose memory is not waited for, only with
/// BIB_CAREFUL=1, else they are undefined behaviour there.
template <class Op>
void run(Context& ctx, const Op& op) {
  run_all(ctx, std::span<const Op>(&op, 1));
}

}  // namespace bib
