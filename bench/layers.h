// Layers of any size as runs to be timed, on either device: what bib_grid (beside PyTorch on a GPU) and bib_peer
// (beside the peers on the CPU) share.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <vector>

#include "bib/ops.h"

namespace bib::bench {

using Run = std::function<void(Context&)>;

/// Where a run leaves its answer.
struct Output {
  enum class Kind : std::uint8_t {
    set,      // whatever it held before
    updated,  // added to, or changed in place
    state,    // changed in place too, and large: seen in what the next run makes of it
    between,  // from one op of the run to the next: nobody else's business
  };
  const char* name;
  std::vector<int> shape;
  void* data;
  std::size_t bytes;
  bool integers;
  Kind kind;
};

/// Operands on the context's device, alive as long as this.
class Operands {
 public:
  explicit Operands(Context& ctx) : ctx_(ctx) {}

  template <class T, std::size_t R>
  View<T, int(R)> zeros(const int (&shape)[R]) {
    View<T, int(R)> v{.shape = std::to_array(shape), .device = ctx_.device()};
    const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(v.size());
    memory_.emplace_back(allocate_bytes(ctx_, bytes), [device = ctx_.device()](void* p) { free_bytes(device, p); });
    v.data = static_cast<T*>(memory_.back().get());
    zero(ctx_, v);
    return v;
  }
  template <std::size_t R>
  View<real, int(R)> zeros(const int (&shape)[R]) {
    return zeros<real>(shape);
  }
  /// Uniform in [-most, most).
  template <std::size_t R>
  View<real, int(R)> uniform(const int (&shape)[R], float most) {
    const auto v = zeros<real>(shape);
    std::vector<real> host(static_cast<std::size_t>(v.size()));
    const std::size_t drawn =
        std::min<std::size_t>(host.size(), 1 << 20);  // then again: drawing takes longer than the op
    for (std::size_t i = 0; i < drawn; ++i) host[i] = most * static_cast<real>(2 * next() - 1);
    for (std::size_t i = drawn; i < host.size(); ++i) host[i] = host[i - drawn];
    fill(v, host);
    return v;
  }
  template <std::size_t R>
  View<int, int(R)> ints(const int (&shape)[R], const std::function<int(int)>& value) {
    const auto v = zeros<int>(shape);
    std::vector<int> host(static_cast<std::size_t>(v.size()));
    for (std::size_t i = 0; i < host.size(); ++i) host[i] = value(static_cast<int>(i));
    fill(v, host);
    return v;
  }
  /// Notes down that runs leave their answer there.
  template <class T, int R>
  View<T, R> answer(const char* name, View<T, R> v, Output::Kind kind = Output::Kind::set) {
    outputs_.push_back({.name = name,
                        .shape = {v.shape.begin(), v.shape.end()},
                        .data = v.data,
                        .bytes = sizeof(T) * static_cast<std::size_t>(v.size()),
                        .integers = std::is_integral_v<T>,
                        .kind = kind});
    return v;
  }
  const std::vector<Output>& outputs() const { return outputs_; }
  /// In [0, 1).
  double next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(state_ >> 33) / static_cast<double>(1u << 31);
  }

 private:
  template <class T, int R>
  void fill(View<T, R> v, const std::vector<T>& host) {
    copy_bytes(ctx_, v.data, v.device, host.data(), Device::cpu, host.size() * sizeof(T));
    ctx_.wait();
  }

  Context& ctx_;
  std::uint64_t state_ = 1;
  std::vector<std::shared_ptr<void>> memory_;
  std::vector<Output> outputs_;
};

struct LstmSize {
  int T, I, H;
  std::vector<int> lengths;  // [B]
};

/// A bidirectional layer's forward pass or, with `train`, forward and backward with gradients cleared.
inline Run lstm(Operands& m, const LstmSize& size, bool train) {
  const auto& [T, I, H, lengths] = size;
  const int B = static_cast<int>(lengths.size()), D = 2;
  LstmForward f{.x = m.uniform({T, B, I}, 1),
                .lengths = m.ints({B}, [&](int b) { return size.lengths[static_cast<std::size_t>(b)]; }),
                .w_x = m.uniform({D, 4 * H, I}, 0.06f),
                .w_h = m.uniform({D, 4 * H, H}, 0.06f),
                .b = m.uniform({D, 4 * H}, 1),
                .h = m.answer("h", m.zeros({T, B, D * H}))};
  if (!train) return [f](Context& ctx) { run(ctx, f); };
  f.gates = m.answer("gates", m.zeros({D, T, B, 4 * H}), Output::Kind::between);
  f.c = m.answer("c", m.zeros({D, T, B, H}), Output::Kind::between);
  const LstmBackward b{.x = f.x,
                       .lengths = f.lengths,
                       .w_x = f.w_x,
                       .w_h = f.w_h,
                       .h = f.h,
                       .gates = f.gates,
                       .c = f.c,
                       .d_h = m.uniform({T, B, D * H}, 1),
                       .d_x = m.answer("d_x", m.zeros({T, B, I})),
                       .d_w_x = m.answer("d_w_x", m.zeros({D, 4 * H, I})),
                       .d_w_h = m.answer("d_w_h", m.zeros({D, 4 * H, H})),
                       .d_b = m.answer("d_b", m.zeros({D, 4 * H}))};
  return [f, b](Context& ctx) {
    run(ctx, f);
    zero(ctx, b.d_w_x), zero(ctx, b.d_w_h), zero(ctx, b.d_b);
    run(ctx, b);
  };
}

/// B sequences of T steps and K tags, all annotated.
struct CrfSize {
  int T, B, K;
};

inline Run crf_loss(Operands& m, const CrfSize& size) {
  const auto& [T, B, K] = size;
  const CrfLoss op{.scores = m.uniform({T, B, K}, 1),
                   .tags = m.ints({T, B}, [&m, K = K](int) { return static_cast<int>(m.next() * K); }),
                   .lengths = m.ints({B}, [T = T](int) { return T; }),
                   .transition = m.uniform({K, K}, 1),
                   .first = m.uniform({K}, 1),
                   .last = m.uniform({K}, 1),
                   .weight = m.uniform({B}, 1),
                   .loss = m.answer("loss", m.zeros({B})),
                   .d_scores = m.answer("d_scores", m.zeros({T, B, K})),
                   .d_transition = m.answer("d_transition", m.zeros({K, K}), Output::Kind::updated),
                   .d_first = m.answer("d_first", m.zeros({K}), Output::Kind::updated),
                   .d_last = m.answer("d_last", m.zeros({K}), Output::Kind::updated)};
  return [op](Context& ctx) { run(ctx, op); };
}

inline Run crf_decode(Operands& m, const CrfSize& size) {
  const auto& [T, B, K] = size;
  const CrfDecode op{.scores = m.uniform({T, B, K}, 1),
                     .lengths = m.ints({B}, [T = T](int) { return T; }),
                     .transition = m.uniform({K, K}, 1),
                     .first = m.uniform({K}, 1),
                     .last = m.uniform({K}, 1),
                     .tags = m.answer("tags", m.zeros<int>({T, B})),
                     .score = m.answer("score", m.zeros({B}))};
  return [op](Context& ctx) { run(ctx, op); };
}

}  // namespace bib::bench
