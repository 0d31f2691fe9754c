// Dropout: random words are drawn into a small buffer and applied from there; the mask itself is never stored.
#include "bib/ops/dropout.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cpu/dropout.simd.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace bib {

namespace {

constexpr int drawn = 1024;                // words at a time: 4 KiB, a multiple of 8 blocks of 4
constexpr std::int64_t grain = 8 * drawn;  // a task

}  // namespace

void on_cpu(Context& ctx, const Dropout& op) {
  const DropoutSimd& simd = BIB_SELECT(dropout);
  // uniform >= rate, with uniform = (word >> 8) / 2^24, is word >= threshold: both sides are exact.
  const auto threshold = static_cast<std::uint32_t>(std::ceil(std::ldexp(double{op.rate}, 24))) << 8;
  const real scale = 1 / (1 - real(op.rate));
  const std::int64_t row = op.variational ? std::int64_t{op.y.dim(1)} * op.y.dim(2) : op.y.size();
  const int repeats = op.variational ? op.y.dim(0) : 1;  // the same words for every step
  std::array<real, drawn> ones;                          // for x where it is left out
  ones.fill(1);
  parallel_chunks(ctx, row, op.variational ? drawn : grain, [&](std::int64_t begin, std::int64_t end) {
    std::uint32_t words[drawn];
    for (std::int64_t i = begin; i < end; i += drawn) {
      const int n = static_cast<int>(std::min<std::int64_t>(drawn, end - i));
      simd.philox(op.key.seed, op.key.step, op.key.stream, static_cast<std::uint64_t>(i) / 4, (n + 3) / 4, words);
      for (int t = 0; t < repeats; ++t)
        simd.keep(words, threshold, scale, n, op.x ? op.x.data + t * row + i : ones.data(), op.y.data + t * row + i);
    }
  });
}

}  // namespace bib
