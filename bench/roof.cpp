#include "bench/roof.h"

#include <algorithm>
#include <bit>
#include <chrono>

#include "bench/roof.simd.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace bib::bench {
namespace {

constexpr double least_seconds = 4e-3;  // of a run: far above the cost of starting threads
constexpr int repeats = 5;

const RoofSimd& simd() { return BIB_SELECT(roof); }

/// Best rate of f(n), which does `amount` per n, n doubled until it takes long enough.
template <class F>
double best_rate(double amount, F&& f) {
  double best = 0;
  std::int64_t n = 1;
  for (int done = 0; done < repeats;) {
    const auto begin = std::chrono::steady_clock::now();
    f(n);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (seconds < least_seconds) {
      n *= 2;
    } else {
      best = std::max(best, amount * static_cast<double>(n) / seconds);
      ++done;
    }
  }
  return best;
}

}  // namespace

double Roof::flops() {
  if (flops_ > 0) return flops_;
  std::vector<real> results(static_cast<std::size_t>(ctx_.threads()));
  return flops_ = best_rate(simd().flops_per_round * ctx_.threads(), [&](std::int64_t n) {
           parallel_for(ctx_, ctx_.threads(), [&](int i) { results[i] = simd().multiply_add(n); });
         });
}

double Roof::integer_ops(int bits) {
  const int kind = bits == 8;
  std::vector<int> results(static_cast<std::size_t>(ctx_.threads()));
  return best_rate(simd().dot_ops_per_round[kind] * ctx_.threads(), [&](std::int64_t n) {
    parallel_for(ctx_, ctx_.threads(), [&](int i) { results[i] = simd().dot[kind][has_dot()](n); });
  });
}

double Roof::bandwidth(double size) {
  constexpr std::int64_t least = 1 << 12, most = 1 << 25;  // elements of each of two arrays: 32 KiB to 256 MiB
  const auto wanted = static_cast<std::uint64_t>(size / (2 * sizeof(real)));
  const auto n = std::clamp(static_cast<std::int64_t>(std::bit_ceil(wanted)), least, most);
  double& known = bandwidth_[n];
  if (known > 0) return known;
  ArenaScope scope(ctx_.arena());
  const View<real, 1> x = ctx_.arena().make<real, 1>({static_cast<int>(n)}),
                      y = ctx_.arena().make<real, 1>({static_cast<int>(n)});
  zero(ctx_, x), zero(ctx_, y);
  const std::int64_t part = n / ctx_.threads();
  return known = best_rate(3.0 * sizeof(real) * static_cast<double>(part * ctx_.threads()), [&](std::int64_t passes) {
           parallel_for(ctx_, ctx_.threads(), [&](int i) {
             for (std::int64_t pass = 0; pass < passes; ++pass)
               simd().stream(x.data + i * part, y.data + i * part, part);
           });
         });
}

double Roof::seconds(double flops, double bytes, double size) {
  const double computing = flops > 0 ? flops / this->flops() : 0;
  return std::max(computing, bytes > 0 ? bytes / bandwidth(size) : 0);
}

}  // namespace bib::bench
