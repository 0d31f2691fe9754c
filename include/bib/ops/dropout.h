// Inverted dropout (Srivastava et al. 2014): y = x / (1-rate) where a random number is >= rate, else 0.
// The mask is a function of (key, index), so the backward pass is the same op on d_y with the same key and no mask is
// stored.   plain: index = (t*B + b)*C + c        variational (Gal & Ghahramani 2016): index = b*C + c, equal for all t
#pragma once
#include <span>
#include <tuple>

#include "bib/context.h"
#include "bib/random.h"

namespace bib {

struct Dropout {
  static constexpr std::string_view name = "dropout";
  View<const real, 3> x;  // [T,B,C]  may be left out: all 1, which makes y the mask
  View<real, 3> y;        // [T,B,C]  may be x itself
  float rate = 0;         // 0 <= rate < 1
  bool variational = false;
  RandomKey key;
  static auto operands(auto& o) { return std::tie(o.x, o.y); }
  void check() const {
    expect_shape_or_none(name, "x", x, y.shape);
    expect(rate >= 0 && rate < 1, "dropout: rate must be in [0, 1)");
  }
};

void on_cpu(Context&, const Dropout&);
void on_cuda(Context&, std::span<const Dropout>);

}  // namespace bib
