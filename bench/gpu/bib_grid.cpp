// bib's side of scripts/gpu-check beside torch_grid.py: a row's name in, microseconds of one run out, a line each.
//   bib_grid [cpu|cuda]
// Everything runs in Math::fast, the mode that PyTorch's 16 bits and TF32 stand beside; "strict" behind a name asks for
// fp32, "tile16" for BIB_LSTM_TILE=16, "warp4" for BIB_LSTM_WARP=4, "async" for BIB_LSTM_EXCHANGE=async, "own" for
// BIB_GPU_BLAS=bib, "overlap" for BIB_OVERLAP=1, "nographs" for BIB_GRAPHS=0. The row "cublas" is 1 where cuBLAS was
// found.
// A row whose answer is wrong has no time: it runs twice more, and has to give the same bits again, those that it gives
// without the choices asked for where these compute alike, and what strict math or the CPU gives within their
// tolerance (docs/numerics.md). "rigged1" has the other answer of the first comparison changed, so that a test sees
// that it is noticed, "rigged2" that of the second.
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/gpu/answers.h"
#include "bench/gpu/row.h"
#include "bench/gpu/training.h"
#include "bench/layers.h"
#include "bib/cuda_backend.h"

namespace bib::device {
struct Blas;
const Blas* blas();  // kernels/blas.h, which needs cuBLAS's own header
}  // namespace bib::device

namespace bib::bench {
namespace {

using Clock = std::chrono::steady_clock;

LstmSize lstm_size(const Row& row) {
  const int H = row.size.at('h'), B = row.size.at('b'), T = row.size.at('t');
  LstmSize size{.T = T, .I = std::min(H, 256), .H = H, .lengths = {}};
  for (int b = 0; b < B; ++b) size.lengths.push_back(row.length(b));
  return size;
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
  constexpr auto updated = Output::Kind::updated;
  const auto table = m.answer("table", m.uniform({V, E}, 0.1f), updated);
  EmbeddingForward forward{.ids = {}, .table = table, .y = m.answer("y", m.zeros({N, 1, E}))};
  AdamRows adam{.rows = {},
                .d_rows = {},
                .offsets = {},
                .positions = {},
                .d_y = m.uniform({N, 1, E}, 1),
                .scale = m.uniform({1}, 1),
                .value = table,
                .m = m.answer("m", m.zeros({V, E}), Output::Kind::state),
                .v = m.answer("v", m.zeros({V, E}), Output::Kind::state),
                .last_step = m.answer("last_step", m.zeros<int>({V}), updated),
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

Run made(const Row& row, Operands& m) {
  if (row.is_lstm()) return lstm(m, lstm_size(row), row.op == "lstm_train");
  if (row.op == "crf_loss") return crf_loss(m, crf_size(row));
  if (row.op == "crf_decode") return crf_decode(m, crf_size(row));
  if (row.op == "embedding_adam") return embedding_adam(m, row);
  throw std::invalid_argument("there is no row " + row.op);
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

/// A context for the row, and the environment that its kernels are chosen by.
ContextOptions chosen(const Row& row, Device device) {
  ask("BIB_LSTM_TILE", row.tile);
  ask("BIB_LSTM_WARP", row.warp);
  ::setenv("BIB_LSTM_EXCHANGE", row.async ? "async" : "barrier", 1);
  ::setenv("BIB_GPU_BLAS", row.own ? "bib" : "cublas", 1);
  ::setenv("BIB_OVERLAP", row.overlap ? "1" : "0", 1);
  ::setenv("BIB_GRAPHS", row.graphs ? "1" : "0", 1);
  return {.device = device, .math = row.strict ? Math::strict : Math::fast};
}

/// Compares a row's answer, and spoils the other one where the row asks for it.
class Comparisons {
 public:
  explicit Comparisons(const Row& row) : row_(row) {}

  void same(const Answers& got, Answers other, const std::string& whose) {
    rig(other);
    expect_same(got, other, whose);
  }
  void close(const Answers& got, Answers other, const Tolerance& tolerance, const std::string& whose) {
    rig(other);
    const double most = expect_close(got, other, tolerance, whose);
    std::cerr << "bib_grid: " << row_.name << ": " << most << " of the difference allowed from the one " << whose
              << "\n";
  }
  void same(const Trained& got, Trained other, const std::string& whose) {
    if (++count_ == row_.rigged) other.model.back() ^= 1;
    expect_same(got, other, whose);
  }

 private:
  void rig(Answers& other) {
    if (++count_ == row_.rigged) other.back().bits.front() ^= 1u << 30;
  }

  const Row& row_;
  int count_ = 0;
};

/// What fp32 sums of different order may differ by: that of tests/harness.h.
Tolerance of_rounding(const Row& row) {
  const auto of = [](double terms) {
    return 8.0 * std::numeric_limits<real>::epsilon() * std::ceil(std::log2(2 + terms));
  };
  const double T = row.size.at('t'), B = row.size.at('b');
  if (!row.is_lstm())
    return {.forward = of(T * row.size.at('k')), .backward = of(T * row.size.at('k')), .magnitude = 1};
  const double H = row.size.at('h'), I = lstm_size(row).I;
  return {.forward = of(T * (I + H)), .backward = 2 * of(T * std::max(B, 4 * H))};
}

/// Whether the CPU answers in a tenth of a second or two.
bool small(const Row& row) {
  if (row.op == "embedding_adam") return false;  // few sums, and large tables
  if (!row.is_lstm()) return true;
  const double T = row.size.at('t'), B = row.size.at('b'), H = row.size.at('h');
  return 16 * T * B * H * (H + lstm_size(row).I) * (row.op == "lstm_train" ? 3 : 1) < 2e10;
}

/// Throws WrongAnswer where the row's answer is not what it should be.
void check(const Row& row, Context& ctx, const Operands& m, const Run& f) {
  const int times = row.op == "embedding_adam" ? 2 * id_sets : 1;
  Comparisons compare(row);
  const Answers got = answers_of(ctx, m, f, times, Before::bits);
  compare.same(got, answers_of(ctx, m, f, times, Before::zeros), "when it runs again");
  expect_numbers(got);
  Row other = row.without_choices();
  const auto on_device = [&](bool only_first = false) {
    Context second(chosen(other, ctx.device()));
    return answers_of(second, m, f, times, Before::zeros, only_first);
  };
  if (row.chooses_kernel() || row.chooses_order()) {
    other.own = row.own;
    compare.same(got, on_device(row.chooses_kernel()), "without the choice");
  } else if (row.is_lstm() && !row.strict) {
    other.strict = true;
    compare.close(got, on_device(), {.forward = 0x1p-8, .backward = 0x1p-6}, "in strict math");
  } else if (small(row) && (row.strict || !row.is_lstm())) {
    Context cpu;
    Operands there(cpu);
    const Run g = made(row, there);
    compare.close(got, answers_of(cpu, there, g, times, Before::zeros), of_rounding(row), "on the CPU");
  }
}

double checked(const Row& row, Device device) {
  Context ctx(chosen(row, device));
  if (row.op == "cublas") return cublas_found();
  double time = 0;
  try {
    if (row.trains_model()) {
      const Trained got = trained(ctx, row);
      time = got.microseconds;
      Row other = row;
      other.overlap = false, other.graphs = true;
      Context second(chosen(other, device));
      Comparisons(row).same(got, trained(second, other),
                            row.chooses_order() ? "without the choice" : "when it runs again");
    } else {
      Operands m(ctx);
      const Run f = made(row, m);
      time = timed(f, ctx);
      check(row, ctx, m, f);
    }
  } catch (const WrongAnswer& e) {
    throw WrongAnswer(row.name + ": " + e.what() + "; a run took " + std::to_string(time) + " us");
  }
  return time;
}

}  // namespace
}  // namespace bib::bench

int main(int argc, char** argv) {
#ifdef M_MMAP_MAX
  ::mallopt(M_MMAP_MAX,
            0);  // a row's host memory is kept for the next: new pages take longer than what is done with them
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
  const bib::Device device = argc > 1 && std::string(argv[1]) == "cpu" ? bib::Device::cpu : bib::Device::cuda;
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::printf("%.3f\n", bib::bench::checked(bib::bench::Row(line), device));
    } catch (const std::exception& e) {
      std::printf("error %s\n", e.what());
    }
    std::fflush(stdout);
  }
}
