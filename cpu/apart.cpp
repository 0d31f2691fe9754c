#include "bib/apart.h"

#include <algorithm>

#include "cpu/parallel.h"

namespace bib {

void each_apart(Context& ctx, int n, const std::function<void(Context&, int)>& piece) {
  const auto call = [&](Context& with, int i) {
    const ArenaScope scope(with.arena());
    piece(with, i);
  };
  if (ctx.device() == Device::cuda || ctx.threads() <= 1 || n < ctx.threads()) {
    for (int i = 0; i < n; ++i) call(ctx, i);
    return;
  }
  int made = 0;
  parallel_for_with(
      ctx, n, [&] { return &ctx.single(made++); }, [&](Context* one, int i) { call(*one, i); });
}

}  // namespace bib
