// bib's side of scripts/gpu-check beside torch_grid.py: a row's name in, microseconds of one run out, a line each.
//   bib_grid [cpu|cuda]
// Everything runs in Math::fast, the mode that PyTorch's 16 bits and TF32 stand beside; "strict" behind a name asks for
// fp32, "tile16" for BIB_LSTM_TILE=16, "warp4" for BIB_LSTM_WARP=4, "async" for BIB_LSTM_EXCHANGE=async, "own" for
// BIB_GPU_BLAS=bib, "overlap" for BIB_OVERLAP=1, "nographs" for BIB_GRAPHS=0. The row "cublas" is 1 where cuBLAS was
// found.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/layers.h"
#include "bib/cuda_backend.h"
#include "bib/random.h"
#include "bib/train.h"

namespace bib::device {
struct Blas;
const Blas* blas();  // kernels/blas.h, which needs cuBLAS's own header
}  // namespace bib::device

namespace bib::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// lstm_forward/h256/b32/t64/padded: op, sizes by their letter, other words. embedding_adam has sizes v, e and n;
/// without them they are those of the comparison.
struct Row {
  std::string op;
  std::map<char, int> size;
  bool ragged = false, strict = false, async = false, own = false, overlap = false, graphs = true;
  std::string tile, warp;  // BIB_LSTM_TILE, BIB_LSTM_WARP

  explicit Row(const std::string& text) {
    std::istringstream in(text);
    std::getline(in, op, '/');
    for (std::string part; std::getline(in, part, '/');) {
      if (part == "ragged")
        ragged = true;
      else if (part == "strict")
        strict = true;
      else if (part == "async")
        async = true;
      else if (part == "own")
        own = true;
      else if (part == "overlap")
        overlap = true;
      else if (part == "nographs")
        graphs = false;
      else if (part.starts_with("tile"))
        tile = part.substr(4);
      else if (part.starts_with("warp"))
        warp = part.substr(4);
      else if (part.size() > 1 && std::isdigit(static_cast<unsigned char>(part[1])))
        size[part[0]] = std::stoi(part.substr(1));
    }
  }
  int size_or(char letter, int usual) const { return size.contains(letter) ? size.at(letter) : usual; }
  /// As in torch_grid.py: from T down to T/8, evenly.
  int length(int b) const {
    const int T = size.at('t'), B = size.at('b');
    return ragged ? std::max(1, T - (T - T / 8) * b / std::max(1, B - 1)) : T;
  }
};

Run lstm_of(Operands& m, const Row& row) {
  const int H = row.size.at('h'), B = row.size.at('b'), T = row.size.at('t');
  std::vector<int> lengths;
  for (int b = 0; b < B; ++b) lengths.push_back(row.length(b));
  return lstm(m, {.T = T, .I = std::min(H, 256), .H = H, .lengths = lengths}, row.op == "lstm_train");
}

CrfSize crf_size(const Row& row) { return {.T = row.size.at('t'), .B = row.size.at('b'), .K = row.size.at('k')}; }

/// Sets of ids that steps of embedding_adam take in turn, as in torch_grid.py: together their rows, and what Adam keeps
/// of them, are more than a GPU's L2 holds.
constexpr int id_sets = 8;

/// One set's lookups, and what belongs to each row; the index is made beforehand, as the trainer's batches make it.
struct Lookups {
  View<const int, 2> ids;
  View<const int, 1> rows, offsets, positions;

  Lookups(Operands& m, int V, int N) {
    std::map<int, std::vector<int>> places;
    std::vector<int> all(static_cast<std::size_t>(N)), unique, first{0}, at;
    for (int i = 0; i < N; ++i) places[all[static_cast<std::size_t>(i)] = static_cast<int>(m.next() * V)].push_back(i);
    for (const auto& [row, where] : places) {
      unique.push_back(row);
      at.insert(at.end(), where.begin(), where.end());
      first.push_back(static_cast<int>(at.size()));
    }
    const auto values = [&](const std::vector<int>& v) {
      return m.ints({static_cast<int>(v.size())}, [&](int i) { return v[static_cast<std::size_t>(i)]; });
    };
    ids = values(all).reshaped<2>({N, 1});
    rows = values(unique), offsets = values(first), positions = values(at);
  }
};

/// Lookup, gradient by unique rows and Adam of 4,096 tokens in a table of 120,000 rows.
Run embedding_adam(Operands& m, const Row& row) {
  const int V = row.size_or('v', 120000), E = row.size_or('e', 512), N = row.size_or('n', 4096);
  std::vector<Lookups> sets;
  for (int i = 0; i < id_sets; ++i) sets.emplace_back(m, V, N);
  const auto table = m.uniform({V, E}, 0.1f);
  EmbeddingForward forward{.ids = {}, .table = table, .y = m.zeros({N, 1, E})};
  AdamRows adam{.rows = {},
                .d_rows = {},
                .offsets = {},
                .positions = {},
                .d_y = m.uniform({N, 1, E}, 1),
                .scale = m.uniform({1}, 1),
                .value = table,
                .m = m.zeros({V, E}),
                .v = m.zeros({V, E}),
                .last_step = m.zeros<int>({V}),
                .hyper = {.lr = 1e-3f}};
  return [=, step = 0](Context& ctx) mutable {
    const Lookups& set = sets[static_cast<std::size_t>(step % id_sets)];
    forward.ids = set.ids;
    adam.rows = set.rows, adam.offsets = set.offsets, adam.positions = set.positions;
    adam.hyper.step = ++step;
    run(ctx, forward);
    run(ctx, adam);
  };
}

/// Microseconds of one run: the median over groups of runs that are enqueued together, of the device's own events on a
/// GPU, which has had 30 ms to raise its clocks.
double timed(Run f, Context& ctx) {
  const auto group = [&](int n) {
    const auto runs = [&] {
      for (int i = 0; i < n; ++i) f(ctx);
    };
    if (ctx.device() == Device::cuda) return 1e6 * cuda_seconds(ctx.cuda(), runs) / n;
    const auto begin = Clock::now();
    runs();
    return std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / n;
  };
  const auto fitting = [](double microseconds, double one) {
    return static_cast<int>(std::clamp(microseconds / std::max(1.0, one), 1.0, 1000.0));
  };
  group(1);  // which makes kernels and memory ready
  const auto until = Clock::now() + std::chrono::milliseconds(30);
  double one = group(1);
  while (Clock::now() < until) one = group(fitting(10e3, one));
  std::vector<double> times(one > 300e3 ? 3 : 7);
  for (double& time : times) time = group(fitting(20e3, one));
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

/// A document of `units` syllables of 5,000 and, every eighth, an entity of one of 15 types.
Document synthetic(Operands& random, Task task, int units) {
  Document d;
  for (int i = 0; i < units; ++i) {
    const int code = 0xAC00 + static_cast<int>(random.next() * 5000);
    const std::size_t begin = d.text.size();
    for (const int byte : {0xE0 | code >> 12, 0x80 | (code >> 6 & 63), 0x80 | (code & 63)})
      d.text += static_cast<char>(byte);
    if (task == Task::ner && i % 8 == 0)
      d.spans.push_back({{begin, d.text.size()}, "T" + std::to_string(static_cast<int>(random.next() * 15))});
  }
  if (task == Task::tc) d.labels.push_back("C" + std::to_string(static_cast<int>(random.next() * 13)));
  d.annotated = true;
  return d;
}

/// Microseconds of one step of the trainer, the first tenth left out.
double train_step(Context& ctx, Task task) {
  Operands random(ctx);
  Config c = default_config(task);
  c.syllable = task == Task::ner ? 128 : 300, c.bigram = c.jamo = c.shape = 0;
  c.hidden = 256, c.windows = {3, 4, 5}, c.filters = 100;
  c.batch = task == Task::ner ? 32 : 64, c.epochs = 1, c.train_rate = 1, c.ema = 0;
  std::vector<Document> documents;
  for (int i = 0; i < 200 * c.batch; ++i) documents.push_back(synthetic(random, task, 64));
  const auto folder = std::filesystem::temp_directory_path() / "bib_grid";
  std::filesystem::create_directories(folder);
  double begin = 0, end = 0;
  TrainOptions options{.output = (folder / "model.bib").string()};
  options.progress = [&](const TrainProgress& p) {
    if (p.step == 20) begin = p.seconds;
    if (!p.epoch_done) end = p.seconds;
    return true;
  };
  train(ctx, c, std::move(documents), {}, options);
  std::filesystem::remove_all(folder);
  if (ctx.device() == Device::cuda) {
    const GraphCounts graphs = cuda_graph_counts(ctx.cuda());
    std::cerr << "bib_grid: steps as graphs: " << graphs.updated << " updated, " << graphs.prepared << " prepared\n";
  }
  return 1e6 * (end - begin) / (199 - 20);
}

bool cublas_found() {
#if BIB_CUDA
  return device::blas() != nullptr;
#else
  return false;
#endif
}

void ask(const char* variable, const std::string& value) {
  if (value.empty())
    ::unsetenv(variable);
  else
    ::setenv(variable, value.c_str(), 1);
}

double microseconds(const Row& row, Device device) {
  ask("BIB_LSTM_TILE", row.tile);
  ask("BIB_LSTM_WARP", row.warp);
  ::setenv("BIB_LSTM_EXCHANGE", row.async ? "async" : "barrier", 1);
  ::setenv("BIB_GPU_BLAS", row.own ? "bib" : "cublas", 1);
  ::setenv("BIB_OVERLAP", row.overlap ? "1" : "0", 1);
  ::setenv("BIB_GRAPHS", row.graphs ? "1" : "0", 1);
  Context ctx({.device = device, .math = row.strict ? Math::strict : Math::fast});
  if (row.op == "textcnn_step" || row.op == "ner_step")
    return train_step(ctx, row.op == "ner_step" ? Task::ner : Task::tc);
  if (row.op == "cublas") return cublas_found();
  Operands m(ctx);
  if (row.op == "lstm_forward" || row.op == "lstm_train") return timed(lstm_of(m, row), ctx);
  if (row.op == "crf_loss") return timed(crf_loss(m, crf_size(row)), ctx);
  if (row.op == "crf_decode") return timed(crf_decode(m, crf_size(row)), ctx);
  if (row.op == "embedding_adam") return timed(embedding_adam(m, row), ctx);
  throw std::invalid_argument("there is no row " + row.op);
}

}  // namespace
}  // namespace bib::bench

int main(int argc, char** argv) {
  const bib::Device device = argc > 1 && std::string(argv[1]) == "cpu" ? bib::Device::cpu : bib::Device::cuda;
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::printf("%.3f\n", bib::bench::microseconds(bib::bench::Row(line), device));
    } catch (const std::exception& e) {
      std::printf("error %s\n", e.what());
    }
    std::fflush(stdout);
  }
}
