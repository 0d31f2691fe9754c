// Viterbi without back-pointers: the forward pass only adds and takes maxima, and keeps both; the way back looks for
// the tag whose sum is that very maximum, O(K) for the one column that matters.
#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "cpu/crf_decode.simd.h"
#include "cpu/crf_sequences.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace bib {
namespace {

constexpr real lowest = -std::numeric_limits<real>::infinity();

/// Rows padded to `stride` with -infinity; `from[j]` is column j of the transitions.
struct Padded {
  int K, stride;
  real *transition, *from, *last;  // [stride,stride] twice, [stride]
};

Padded pad(Context& ctx, const CrfDecode& op) {
  const int K = op.scores.dim(2), stride = (K + 15) / 16 * 16;
  Padded p{.K = K,
           .stride = stride,
           .transition = ctx.arena().make<real, 2>({stride, stride}).data,
           .from = ctx.arena().make<real, 2>({stride, stride}).data,
           .last = ctx.arena().make<real, 1>({stride}).data};
  const auto value = [&](int i, int j) {
    return i < K && j < K ? op.transition.data[std::int64_t{i} * K + j] : lowest;
  };
  for (int i = 0; i < stride; ++i) {
    p.last[i] = i < K ? op.last[i] : lowest;
    for (int j = 0; j < stride; ++j) {
      p.transition[std::int64_t{i} * stride + j] = value(i, j);
      p.from[std::int64_t{i} * stride + j] = value(j, i);
    }
  }
  return p;
}

/// In double: independent of the order in which the forward pass rounded.
double path_score(const CrfDecode& op, int b, int n) {
  const int B = op.scores.dim(1), K = op.scores.dim(2);
  double score = 0;
  int before = -1;
  for (int t = 0; t < n; ++t) {
    const std::int64_t row = std::int64_t{t} * B + b;
    const int tag = op.tags.data[row];
    score += double{op.scores.data[row * K + tag]} +
             (t == 0 ? op.first[tag] : op.transition.data[std::int64_t{before} * K + tag]);
    before = tag;
  }
  return n == 0 ? 0 : score + op.last[before];
}

/// A sequence on its way: its paths, and for the way back the column and the sum to look for.
struct Decoding {
  int b = 0;
  CrfPaths paths{};
  const real* next = nullptr;
  real sum = 0;
};

void begin(const CrfDecode& op, const Padded& p, Decoding& d, int b) {
  d.b = b, d.paths.n = op.lengths[b];
  const crf::Sequence s = crf::sequence_of(op, b);
  for (int t = 0; t < d.paths.n; ++t) {
    const real* scores = s.scores + t * s.score_step;
    real* row = d.paths.best + std::int64_t{t} * p.stride;
    std::copy(scores, scores + p.K, row);
    std::fill(row + p.K, row + p.stride, lowest);
  }
  for (int k = 0; k < p.K && d.paths.n > 0; ++k) d.paths.best[k] += op.first[k];
}

/// Two sequences side by side (or one): each step waits for the one before it, the other sequence fills the gaps.
void decode(const CrfDecode& op, const CrfDecodeSimd& simd, const Padded& p, Decoding* some, int count) {
  if (count == 2 && some[1].paths.n > some[0].paths.n) std::swap(some[0], some[1]);
  std::array<CrfPaths, crf::at_once> paths;
  for (int i = 0; i < count; ++i) paths[i] = some[i].paths;
  simd.forward(p.transition, p.K, p.stride, paths.data(), count);
  const auto row = [&](const real* rows, int t) { return rows + std::int64_t{t} * p.stride; };
  for (int t = some[0].paths.n; t-- > 0;)
    for (int i = 0; i < count; ++i) {
      Decoding& d = some[i];
      if (t >= d.paths.n) continue;
      const real* best = row(d.paths.best, t);
      if (t == d.paths.n - 1) d.next = p.last, d.sum = simd.max_of_sum(best, d.next, p.stride);
      const int found = simd.find_sum(best, d.next, p.stride, d.sum);
      const int tag = found < p.K ? found : 0;  // no way there: all scores are NaN, and only the padding is -infinity
      op.tags.data[std::int64_t{t} * op.tags.dim(1) + d.b] = tag;
      d.next = row(p.from, tag);
      d.sum = row(d.paths.into, t)[tag];
    }
}

void finish(const CrfDecode& op, int b) {
  const int n = op.lengths[b], T = op.tags.dim(0);
  const double score = path_score(op, b, n);
  op.score[b] = static_cast<real>(score);
  const bool exists = score != -std::numeric_limits<double>::infinity();
  for (int t = exists ? n : 0; t < T; ++t) op.tags[t][b] = -1;
}

}  // namespace

void on_cpu(Context& ctx, const CrfDecode& op) {
  const int T = op.scores.dim(0), B = op.scores.dim(1);
  const CrfDecodeSimd& simd = BIB_SELECT(crf_decode);
  ArenaScope scratch(ctx.arena());
  const Padded padded = pad(ctx, op);
  using Decodings = std::array<Decoding, crf::at_once>;
  const auto make = [&] {
    Decodings some;
    for (Decoding& d : some) {
      d.paths.best = ctx.arena().make<real, 2>({T, padded.stride}).data;
      d.paths.into = ctx.arena().make<real, 2>({T, padded.stride}).data;
    }
    return some;
  };
  const int chunk = crf::chunk_of(ctx, B);
  parallel_for_with(ctx, (B + chunk - 1) / chunk, make, [&](Decodings& some, int c) {
    const int first = c * chunk, count = std::min(chunk, B - first);
    for (int i = 0; i < count; ++i) begin(op, padded, some[i], first + i);
    decode(op, simd, padded, some.data(), count);
    for (int i = 0; i < count; ++i) finish(op, first + i);
  });
}

}  // namespace bib
