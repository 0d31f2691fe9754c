#include "train/updater.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

namespace bib {
namespace {

template <class T>
std::shared_ptr<T> device_array(Context& ctx, std::int64_t n) {
  std::shared_ptr<T> p(static_cast<T*>(allocate_bytes(ctx, sizeof(T) * static_cast<std::size_t>(n))),
                       [device = ctx.device()](T* q) { free_bytes(device, q); });
  zero_bytes(ctx, p.get(), sizeof(T) * static_cast<std::size_t>(n));
  return p;
}

}  // namespace

float learning_rate(const Config& c, int step, int steps) {
  const int warmup = std::min(c.warmup, steps / 10);  // a small corpus may have fewer steps than that in all
  if (step <= warmup) return c.lr * static_cast<float>(step) / static_cast<float>(warmup);
  const double done = static_cast<double>(step - warmup) / std::max(1, steps - warmup + 1);
  switch (c.schedule) {
    case Schedule::linear: return static_cast<float>(c.lr * (1 - done));
    case Schedule::cosine: return static_cast<float>(c.lr * 0.5 * (1 + std::cos(std::numbers::pi * done)));
    case Schedule::constant: break;
  }
  return c.lr;
}

Updater::Updater(Context& ctx, const Config& config, Parameters& parameters)
    : config_(config), parameters_(parameters) {
  m_ = make_buffer(ctx);
  if (config.optimizer == Optimizer::adam) v_ = make_buffer(ctx);
  for (int i = 0; i < parameters.tables(); ++i) {
    const int V = parameters.table(i).dim(0);
    TableState& t = tables_.emplace_back();
    t.memory = device_array<int>(ctx, 3 * std::int64_t{V});
    const auto part = [&](int k) {
      return View<int, 1>{.data = t.memory.get() + std::int64_t{k} * V, .shape = {V}, .device = ctx.device()};
    };
    t.m = table(m_, i);
    if (v_.all) t.v = table(v_, i);
    t.last_step = part(0);
    t.averaged_step = part(1);
    std::vector<int> rows(static_cast<std::size_t>(V));
    for (int r = 0; r < V; ++r) rows[static_cast<std::size_t>(r)] = r;
    copy_bytes(ctx, part(2).data, ctx.device(), rows.data(), Device::cpu, rows.size() * sizeof(int));
    t.all_rows = part(2);
  }
}

Updater::Buffer Updater::make_buffer(Context& ctx) const {
  const View<real, 1> like = parameters_.everything();
  Buffer b;
  b.memory = device_array<real>(ctx, like.size());
  b.all = {.data = b.memory.get(), .shape = like.shape, .device = ctx.device()};
  return b;
}

View<real, 1> Updater::dense(const Buffer& buffer) const {
  return {.data = buffer.all.data, .shape = parameters_.values().shape, .device = buffer.all.device};
}

View<real, 2> Updater::table(const Buffer& buffer, int index) const {
  View<real, 2> t = parameters_.table(index);
  t.data = buffer.all.data + (t.data - parameters_.everything().data);
  return t;
}

EmaRows Updater::average_of(int table, View<const int, 1> rows, int step) const {
  const TableState& t = tables_[static_cast<std::size_t>(table)];
  return {.rows = rows,
          .value = parameters_.table(table),
          .average = t.average,
          .averaged_step = t.averaged_step,
          .decay = config_.ema,
          .step = step};
}

/// What the norm and the row optimisers read: sums by row or, where every row occurs but a few times, what they are the
/// sums of. A row that occurs often, as that of unknown entries does, is summed by many threads.
std::vector<Updater::RowSource> Updater::sum_rows(Context& ctx, const TableGradients& gradients) const {
  constexpr int few = 8;
  std::vector<RowSource> sources;
  std::vector<EmbeddingBackward> sums;
  for (const TableGradient& g : gradients) {
    RowSource& s = sources.emplace_back(RowSource{.table = g.table.index(), .rows = g.index.rows});
    if (g.index.most <= few) {
      s.offsets = g.index.offsets, s.positions = g.index.positions;
      s.d_y = g.d_y, s.column = g.column;
    } else {
      s.d_rows = sums.emplace_back(g.by_row(ctx)).d_rows;
    }
  }
  run_all(ctx, sums);
  return sources;
}

void Updater::step(Context& ctx, const TableGradients& gradients, int step, float lr) {
  const std::vector<RowSource> sources = sum_rows(ctx, gradients);
  const View<real, 1> sum = ctx.arena().make<real, 1>({1}), scale = ctx.arena().make<real, 1>({1});
  zero(ctx, sum);
  if (config_.clip > 0) {
    std::vector<NormSquared> norms{{.x = parameters_.grads(), .sum = sum}};
    for (const RowSource& s : sources) norms.push_back(s.norm(parameters_.table(s.table).dim(1), sum));
    run_all(ctx, norms);
  }
  run(ctx, ClipScale{.sum = sum, .scale = scale, .max_norm = config_.clip});

  // A row's average must be complete before its value changes.
  if (averaging()) {
    std::vector<EmaRows> averages;
    for (const TableGradient& g : gradients) averages.push_back(average_of(g.table.index(), g.index.rows, step - 1));
    run_all(ctx, averages);
  }
  if (config_.optimizer == Optimizer::adam) {
    const AdamHyper hyper{.lr = lr, .weight_decay = config_.weight_decay, .step = step};
    run(ctx, AdamStep{.grad = parameters_.grads(),
                      .scale = scale,
                      .value = parameters_.values(),
                      .m = dense(m_),
                      .v = dense(v_),
                      .hyper = hyper});
    std::vector<AdamRows> rows;
    for (const RowSource& s : sources) {
      const TableState& t = tables_[static_cast<std::size_t>(s.table)];
      rows.push_back(s.read_by(AdamRows{.scale = scale,
                                        .value = parameters_.table(s.table),
                                        .m = t.m,
                                        .v = t.v,
                                        .last_step = t.last_step,
                                        .hyper = hyper}));
    }
    run_all(ctx, rows);
  } else {
    const SgdHyper hyper{.lr = lr, .momentum = config_.momentum, .weight_decay = config_.weight_decay};
    run(ctx, SgdStep{.grad = parameters_.grads(),
                     .scale = scale,
                     .value = parameters_.values(),
                     .velocity = dense(m_),
                     .hyper = hyper});
    std::vector<SgdRows> rows;
    for (const RowSource& s : sources) {
      rows.push_back(s.read_by(SgdRows{.scale = scale,
                                       .value = parameters_.table(s.table),
                                       .velocity = tables_[static_cast<std::size_t>(s.table)].m,
                                       .hyper = hyper}));
    }
    run_all(ctx, rows);
  }
  if (averaging()) {
    run(ctx, EmaStep{.value = parameters_.values(), .average = dense(average_), .decay = config_.ema});
  }
  zero(ctx, parameters_.grads());
}

void Updater::start_average(Context& ctx, int step) {
  average_ = make_buffer(ctx);
  backup_ = make_buffer(ctx);
  average_from_ = step;
  copy<real, 1>(ctx, average_.all, parameters_.everything());
  for (int i = 0; i < static_cast<int>(tables_.size()); ++i) {
    TableState& t = tables_[static_cast<std::size_t>(i)];
    t.average = table(average_, i);
    const std::vector<int> steps(static_cast<std::size_t>(t.averaged_step.size()), step);
    copy_bytes(ctx, t.averaged_step.data, ctx.device(), steps.data(), Device::cpu, steps.size() * sizeof(int));
  }
}

void Updater::swap_in_average(Context& ctx, int step) {
  std::vector<EmaRows> averages;
  for (std::size_t i = 0; i < tables_.size(); ++i)
    averages.push_back(average_of(static_cast<int>(i), tables_[i].all_rows, step));
  run_all(ctx, averages);
  copy<real, 1>(ctx, backup_.all, parameters_.everything());
  copy<real, 1>(ctx, parameters_.everything(), average_.all);
}

void Updater::swap_back(Context& ctx) { copy<real, 1>(ctx, parameters_.everything(), backup_.all); }

/// f("name", view) for every array that makes up the state.
template <class Self, class F>
void Updater::each_tensor(Self& self, F&& f) {
  f("state.m", self.m_.all);
  if (self.v_.all) f("state.v", self.v_.all);
  if (self.averaging()) f("state.average", self.average_.all);
  for (std::size_t i = 0; i < self.tables_.size(); ++i) {
    f("state.last_step." + std::to_string(i), self.tables_[i].last_step);
    f("state.averaged_step." + std::to_string(i), self.tables_[i].averaged_step);
  }
}

void Updater::save(Context& ctx, ModelFile& file) const {
  file.metadata["state.average_from"] = std::to_string(average_from_);
  each_tensor(*this, [&]<class T>(const std::string& name, View<T, 1> v) {
    if constexpr (!std::is_same_v<T, double>) file.add(name, download(ctx, v), {static_cast<int>(v.size())});
  });
}

void Updater::load(Context& ctx, const ModelFile& file) {
  const int from = std::stoi(file.text("state.average_from"));
  if (from > 0) start_average(ctx, from);
  each_tensor(*this, [&]<class T>(const std::string& name, View<T, 1> v) {
    if constexpr (!std::is_same_v<T, double>) {
      const View<const T, 1> stored = file.get<T, 1>(name);
      if (stored.size() != v.size()) file.fail(name + " has another size than the model to be trained");
      copy_bytes(ctx, v.data, v.device, stored.data, Device::cpu, sizeof(T) * static_cast<std::size_t>(v.size()));
    }
  });
}

}  // namespace bib
