// Fused convolution, ReLU and max over time. Each sequence is packed once into contiguous rows with its halo of zeros;
// the forward product and both gradients read windows of these rows.
#include "bib/ops/conv_pool.h"

#include <algorithm>
#include <array>
#include <vector>

#include "cpu/conv_pool.simd.h"
#include "cpu/isa.h"
#include "cpu/minimal_filter.h"
#include "cpu/parallel.h"

namespace bib {

namespace {

constexpr int sequences_per_task = 4, filters_per_task = 16;

const ConvPoolSimd& simd() { return BIB_SELECT(conv_pool); }

/// Sequence b as rows first[b] .. first[b+1]-1 of [.,C]: `pad` rows of zeros, its steps, zeros up to all that groups of
/// positions read.
struct Packed {
  int W, C, pad;
  View<const int, 1> lengths;  // [B]
  View<int, 1> first;          // [B+1]
  View<real, 2> rows;

  int positions(int b) const { return std::max(1, lengths[b] + 2 * pad - W + 1); }
  int longest() const {
    int most = 0;
    for (int b = 0; b + 1 < first.dim(0); ++b) most = std::max(most, first[b + 1] - first[b]);
    return most;
  }
  real* sequence(int b) const { return rows[first[b]].data; }
};

Packed make_packed(Arena& arena, View<const int, 1> lengths, int W, int C, int pad) {
  const int B = lengths.dim(0);
  Packed packed{.W = W, .C = C, .pad = pad, .lengths = lengths, .first = arena.make<int, 1>({B + 1}), .rows = {}};
  packed.first[0] = 0;
  for (int b = 0; b < B; ++b) packed.first[b + 1] = packed.first[b] + minimal::rows_read(packed.positions(b), W);
  const int vector_more = C > 0 ? (simd().lanes + C - 1) / C : 0;
  packed.rows = arena.make<real, 2>({packed.first[B] + vector_more, C});
  return packed;
}

/// Of a forward or a backward op.
template <class Op>
void pack_sequence(const Packed& packed, const Op& op, int b) {
  const int B = op.batch(), C = packed.C;
  real* to = packed.sequence(b);
  real* const end = packed.sequence(b + 1);
  to = std::fill_n(to, packed.pad * C, real(0));
  for (int t = 0; t < op.lengths[b]; ++t) {
    const std::int64_t at = std::int64_t{t} * B + b, row = op.table ? op.ids.data[at] : at;
    to = row < 0 ? std::fill_n(to, C, real(0)) : std::copy_n((op.table ? op.table.data : op.x.data) + row * C, C, to);
  }
  std::fill(to, end, real(0));
}

/// What minimal filtering multiplies with, of the filters from f on: [combinations,C,width], zeros behind the last
/// filter.
void pack_panel(View<const real, 3> w, int f, int width, real* to) {
  const int C = w.dim(1), F = w.dim(2), columns = std::min(width, F - f);
  minimal::for_parts(w.dim(0), [&](const minimal::Plan& plan, int tap, int) {
    for (int j = 0; j < plan.filters; ++j) {
      const minimal::Filter& filter = plan.filter[j];
      for (int c = 0; c < C; ++c, to += width) {
        std::fill(to, to + width, real(0));
        for (int t = 0; t < plan.taps; ++t) {
          if (filter.tap[t] == 0) continue;
          const real factor = static_cast<real>(filter.tap[t]) * (filter.half ? real(0.5) : real(1));
          simd().add(factor, w[tap + t][c].data + f, to, columns);
        }
      }
    }
  });
}

/// Columns of a panel of F filters that are computed.
int panel_width(int F, int panel) {
  const int left = F - panel * simd().panel;
  return std::min(simd().panel, (left + simd().lanes - 1) / simd().lanes * simd().lanes);
}

/// Room for the filters of w as panels.
View<real, 3> make_filters(Arena& arena, View<const real, 3> w) {
  const int panels = (w.dim(2) + simd().panel - 1) / simd().panel;
  return arena.make<real, 3>({panels, minimal::filters_of(w.dim(0)) * w.dim(1), simd().panel});
}

void pack_filters(View<const real, 3> w, int panel, View<real, 3> filters) {
  pack_panel(w, panel * simd().panel, panel_width(w.dim(2), panel), filters[panel].data);
}

}  // namespace

struct ConvPoolPacked {
  std::array<int, 3> shape;  // of w
  Arena memory{Device::cpu};
  View<real, 3> filters{};
};

std::shared_ptr<const ConvPoolPacked> pack_conv_pool(Context& ctx, View<const real, 3> w) {
  if (ctx.device() != Device::cpu) return nullptr;
  const auto packed = std::make_shared<ConvPoolPacked>();
  packed->shape = w.shape;
  packed->filters = make_filters(packed->memory, w);
  for (int panel = 0; panel < packed->filters.dim(0); ++panel) pack_filters(w, panel, packed->filters);
  return packed;
}

void on_cpu(Context& ctx, const ConvPoolForward& op) {
  const int B = op.batch(), W = op.w.dim(0), C = op.w.dim(1), F = op.w.dim(2);
  const ConvPoolSimd& loops = simd();
  const int panels = (F + loops.panel - 1) / loops.panel, to_pack = op.packed ? 0 : panels;
  expect(!op.packed || op.packed->shape == op.w.shape, "conv_pool_forward: packed is of filters of another shape");
  ArenaScope scratch(ctx.arena());
  const Packed packed = make_packed(ctx.arena(), op.lengths, W, C, op.pad);
  const auto filters = op.packed ? op.packed->filters : make_filters(ctx.arena(), op.w);
  const auto best = ctx.arena().make<real, 3>({B, panels, loops.panel});
  const auto where = ctx.arena().make<int, 3>({B, panels, loops.panel});
  parallel_for(ctx, to_pack + B, [&](int i) {
    if (i < to_pack) return pack_filters(op.w, i, filters);
    pack_sequence(packed, op, i - to_pack);
  });

  // All panels of a sequence share the rows that are made for them; they are divided where there are few sequences.
  const int groups = (B + sequences_per_task - 1) / sequences_per_task;
  const int parts = groups < ctx.threads() ? panels : 1, most = (panels + parts - 1) / parts;
  struct Room {
    real* scratch;
    std::vector<ConvPoolPanel> panels;
  };
  const auto room = [&] {
    return Room{.scratch = ctx.arena().make<real, 1>({loops.scratch_size(C, most)}).data,
                .panels = std::vector<ConvPoolPanel>(static_cast<std::size_t>(most))};
  };
  parallel_for_with(ctx, groups * parts, room, [&](Room& r, int i) {
    const int group = i / parts, begin = i % parts * most, count = std::min(most, panels - begin);
    for (int b = group * sequences_per_task; b < std::min(B, (group + 1) * sequences_per_task); ++b) {
      for (int k = 0; k < count; ++k) {
        const int panel = begin + k;
        r.panels[static_cast<std::size_t>(k)] = {.w = filters[panel].data,
                                                 .width = panel_width(F, panel),
                                                 .best = best[b][panel].data,
                                                 .where = where[b][panel].data};
      }
      loops.best(packed.sequence(b), packed.positions(b), C, W, r.panels.data(), count, r.scratch);
      for (int f = begin * loops.panel; f < std::min(F, (begin + count) * loops.panel); ++f) {
        const real y = best[b].data[f] + op.b[f];
        const bool cut = y <= 0;
        op.y[b][op.column + f] = cut ? real(0) : y;
        if (op.where) op.where[b][f] = cut ? -1 : where[b].data[f];
      }
    }
  });
}

void on_cpu(Context& ctx, const ConvPoolBackward& op) {
  const int T = op.steps(), B = op.batch(), W = op.w.dim(0), C = op.w.dim(1), F = op.w.dim(2), K = W * C;
  const ConvPoolSimd& loops = simd();
  ArenaScope scratch(ctx.arena());
  const Packed packed = make_packed(ctx.arena(), op.lengths, W, C, op.pad);
  const int groups = op.d_x ? (B + sequences_per_task - 1) / sequences_per_task : 0;
  const auto d_packed = ctx.arena().make<real, 2>({groups, packed.longest() * C});  // one sequence at a time each
  const auto w_rows = ctx.arena().make<real, 2>({F, K});  // a filter's weights side by side, as its window of x is
  const auto d_w_rows = ctx.arena().make<real, 2>({F, K});
  const int chunks = (F + filters_per_task - 1) / filters_per_task;
  parallel_for(ctx, chunks + B, [&](int i) {
    if (i >= chunks) return pack_sequence(packed, op, i - chunks);
    const int begin = i * filters_per_task, end = std::min(F, begin + filters_per_task);
    loops.turn(op.w.data + begin, F, K, end - begin, false, w_rows[begin].data, K);
  });

  const auto filter_gradients = [&](int begin, int end) {
    std::vector<real> factor(static_cast<std::size_t>(B));
    std::vector<const real*> window(static_cast<std::size_t>(B));
    for (int f = begin; f < end; ++f) {
      int winners = 0;
      real d_b = 0;
      for (int b = 0; b < B; ++b) {
        if (op.where[b][f] < 0) continue;
        factor[winners] = op.d_y[b][op.column + f];
        window[winners] = packed.sequence(b) + std::int64_t{op.where[b][f]} * C;
        d_b += factor[winners++];
      }
      std::fill_n(d_w_rows[f].data, K, real(0));
      loops.add_all(factor.data(), window.data(), winners, d_w_rows[f].data, K);
      op.d_b[f] += d_b;
    }
    loops.turn(d_w_rows[begin].data, K, end - begin, K, true, op.d_w.data + begin, F);
  };
  const auto input_gradient = [&](int b, real* d_x) {
    std::fill_n(d_x, (packed.first[b + 1] - packed.first[b]) * C, real(0));
    for (int f = 0; f < F; ++f) {
      if (op.where[b][f] < 0) continue;
      loops.add(op.d_y[b][op.column + f], w_rows[f].data, d_x + std::int64_t{op.where[b][f]} * C, K);
    }
    d_x += std::int64_t{op.pad} * C;
    for (int t = 0; t < T; ++t, d_x += C) {
      real* to = op.d_x[t][b].data;
      if (t >= op.lengths[b]) {
        if (!op.add_d_x) std::fill_n(to, C, real(0));
      } else if (op.add_d_x) {
        loops.add(1, d_x, to, C);
      } else {
        std::copy_n(d_x, C, to);
      }
    }
  };
  parallel_for(ctx, chunks + groups, [&](int i) {
    if (i < chunks) return filter_gradients(i * filters_per_task, std::min(F, (i + 1) * filters_per_task));
    const int group = i - chunks, end = std::min(B, (group + 1) * sequences_per_task);
    for (int b = group * sequences_per_task; b < end; ++b) input_gradient(b, d_packed[group].data);
  });
}

}  // namespace bib
