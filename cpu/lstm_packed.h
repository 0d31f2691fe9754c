// An LSTM layer's weights as the CPU's kernels read them: made once, then shared by all threads.
#pragma once
#include <vector>

#include "bib/arena.h"
#include "bib/context.h"
#include "bib/ops/lstm.h"
#include "cpu/lstm_integer.simd.h"

namespace bib {

struct LstmPacked {
  /// One direction's weights times 16- or 8-bit codes.
  struct Integers {
    IntegerWeights x, h;
    float* b;  // [4 padded(H)]  in the order of `scale`
  };
  LstmPacked(int D_, int I_, int H_, Math math_) : D(D_), I(I_), H(H_), math(math_) {}

  int D, I, H;
  Math math;
  Arena memory{Device::cpu};
  // strict: every direction one after the other, as LstmForwardUnit wants them.
  real *w_x = nullptr, *w_h = nullptr, *b = nullptr;
  // fast, int8
  bool dot = false;                // by the CPU's instructions for it
  std::vector<Integers> integers;  // [D]
};

/// The forward pass with packed integers (cpu/lstm_integer.cpp).
void forward_in_integers(Context& ctx, const LstmForward& op);
void pack_integers(View<const real, 3> w_x, View<const real, 3> w_h, View<const real, 2> b, LstmPacked& to);

}  // namespace bib
