// bib's side of bench/peers/run: one line "WORKLOAD THREADS SECONDS" on standard input, the seconds of one run (the
// median of as many as fit into SECONDS) on standard output. Sizes and data are those of the other sides.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/roof.h"
#include "bib/corpus.h"
#include "bib/ner.h"
#include "bib/ops.h"
#include "bib/tc.h"
#include "bib/train.h"
#include "tests/maker.h"

namespace bib::bench {
namespace {

using test::Maker;
using Clock = std::chrono::steady_clock;
using Run = std::function<void(Context&)>;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

View<int, 1> lengths_of(Maker& m, const std::vector<int>& values) {
  const View<int, 1> lengths = m.ints({static_cast<int>(values.size())}, 0, 0);
  std::copy(values.begin(), values.end(), lengths.data);
  return lengths;
}

/// A bidirectional layer: inputs of 256, 256 units a direction, as many steps as the longest sequence has.
Run lstm(Maker& m, const std::vector<int>& lengths, bool train) {
  constexpr int I = 256, H = 256, D = 2;
  const int T = *std::max_element(lengths.begin(), lengths.end()), B = static_cast<int>(lengths.size());
  LstmForward forward{.x = m.uniform({T, B, I}),
                      .lengths = lengths_of(m, lengths),
                      .w_x = m.uniform({D, 4 * H, I}, -0.06f, 0.06f),
                      .w_h = m.uniform({D, 4 * H, H}, -0.06f, 0.06f),
                      .b = m.uniform({D, 4 * H}),
                      .h = m.output({T, B, D * H})};
  if (!train) return [forward](Context& ctx) { run(ctx, forward); };
  forward.gates = m.output({D, T, B, 4 * H}), forward.c = m.output({D, T, B, H});
  const LstmBackward backward{.x = forward.x,
                              .lengths = forward.lengths,
                              .w_x = forward.w_x,
                              .w_h = forward.w_h,
                              .h = forward.h,
                              .gates = forward.gates,
                              .c = forward.c,
                              .d_h = m.uniform({T, B, D * H}),
                              .d_x = m.output({T, B, I}),
                              .d_w_x = m.zeros({D, 4 * H, I}),
                              .d_w_h = m.zeros({D, 4 * H, H}),
                              .d_b = m.zeros({D, 4 * H})};
  return [forward, backward](Context& ctx) {
    run(ctx, forward);
    zero(ctx, backward.d_w_x), zero(ctx, backward.d_w_h), zero(ctx, backward.d_b);
    run(ctx, backward);
  };
}

constexpr int crf_steps = 64, crf_batch = 32, crf_tags = 31;  // 15 entity types under IOB2

Run crf_loss(Maker& m) {
  constexpr int T = crf_steps, B = crf_batch, K = crf_tags;
  const CrfLoss op{.scores = m.uniform({T, B, K}),
                   .tags = m.ints({T, B}, 0, K - 1),
                   .lengths = lengths_of(m, std::vector<int>(B, T)),
                   .transition = m.uniform({K, K}),
                   .first = m.uniform({K}),
                   .last = m.uniform({K}),
                   .weight = m.uniform({B}, 1, 1),
                   .loss = m.output({B}),
                   .d_scores = m.output({T, B, K}),
                   .d_transition = m.zeros({K, K}),
                   .d_first = m.zeros({K}),
                   .d_last = m.zeros({K})};
  return [op](Context& ctx) { run(ctx, op); };
}

Run crf_decode(Maker& m) {
  constexpr int T = crf_steps, B = crf_batch, K = crf_tags;
  const CrfDecode op{.scores = m.uniform({T, B, K}),
                     .lengths = lengths_of(m, std::vector<int>(B, T)),
                     .transition = m.uniform({K, K}),
                     .first = m.uniform({K}),
                     .last = m.uniform({K}),
                     .tags = m.output<int>({T, B}),
                     .score = m.output({B})};
  return [op](Context& ctx) { run(ctx, op); };
}

/// Where the corpora are, and how many training documents the workloads with models take.
struct Data {
  std::string folder, models;
  std::size_t documents;

  std::vector<Document> read(const std::string& file, Task task, std::size_t limit) const {
    std::vector<Document> all = read_documents(folder + "/bib/" + file, task);
    if (all.size() > limit) all.resize(limit);
    return all;
  }
};

/// The model of torch_peer.py: characters and bigrams of 64, 128 units a direction.
Config same_ner() {
  Config c = default_config(Task::ner);
  c.jamo = c.shape = 0;
  c.hidden = 128;
  c.dropout_recurrent = 0;
  return c;
}

/// Trains one epoch and returns seconds per unit (`per_unit`) or per step, the first steps left out: they grow memory.
double train_once(const Data& data, Context& ctx, Config config, const std::string& file, bool per_unit) {
  config.epochs = 1, config.train_rate = 1, config.ema = 0;
  constexpr int warm_up = 3;
  double begin = 0, end = 0;
  std::int64_t units_before = 0, units = 0;
  int steps = 0;
  TrainOptions options{.output = data.models + "/trained.bib"};
  options.progress = [&](const TrainProgress& p) {
    if (p.step == warm_up) begin = p.seconds, units_before = p.units;
    if (p.step > warm_up && !p.epoch_done) end = p.seconds, units = p.units - units_before, steps = p.step - warm_up;
    return true;
  };
  train(ctx, config, data.read(file, config.task, data.documents), {}, options);
  return (end - begin) / (per_unit ? static_cast<double>(units) : steps);
}

template <class Model>
std::string trained(const Data& data, const Config& wanted, const std::string& file, const std::string& name) {
  const std::string path = data.models + "/" + name + ".bib";
  if (std::filesystem::exists(path)) return path;
  Config config = wanted;
  config.epochs = 1, config.train_rate = 1;
  Context ctx;
  train(ctx, config, data.read(file, config.task, 640), {}, {.output = path});
  return path;
}

/// All texts of a file in one call, without scores: the other side gives none.
Run predict_all(const Data& data) {
  auto texts = std::make_shared<std::vector<Document>>(data.read("ner_predict.txt", Task::tc, 1000));
  auto model = std::make_shared<std::unique_ptr<NerModel>>();
  return [=, &data](Context& ctx) {
    if (!*model) {
      *model = std::make_unique<NerModel>(
          NerModel::load(trained<NerModel>(data, same_ner(), "split/ner.train.txt", "same_ner"), ctx));
    }
    (*model)->predict(ctx, *texts, {.scores = false});
  };
}

/// One text a run, in turn; the default model, scores included.
template <class Model>
Run predict_one(const Data& data, Task task) {
  const std::string name = task == Task::ner ? "ner" : "tc";
  auto texts = std::make_shared<std::vector<Document>>(data.read(name + "_predict.txt", Task::tc, 1000));
  auto model = std::make_shared<std::unique_ptr<Model>>();
  auto next = std::make_shared<std::size_t>(0);
  return [=, &data](Context& ctx) {
    if (!*model) {
      *model = std::make_unique<Model>(
          Model::load(trained<Model>(data, default_config(task), "split/" + name + ".train.txt", name), ctx));
    }
    (*model)->predict(ctx, (*texts)[(*next)++ % texts->size()].text);
  };
}

double timed(const Run& f, Context& ctx, double at_least) {
  std::vector<double> seconds;
  for (double sum = 0; sum < at_least || seconds.size() < 3; sum += seconds.back()) {
    const auto begin = Clock::now();
    f(ctx);
    seconds.push_back(seconds_since(begin));
  }
  return median(seconds);
}

/// Makes what a workload needs when it is first asked for.
class Workloads {
 public:
  explicit Workloads(Data data) : data_(std::move(data)) {}

  double seconds(const std::string& name, int threads, double at_least) {
    auto& ctx = contexts_[threads];
    if (!ctx) ctx = std::make_unique<Context>(ContextOptions{.threads = threads});
    if (name == "ner_epoch") return train_once(data_, *ctx, same_ner(), "split/ner.train.txt", true);
    if (name == "tc_step") return train_once(data_, *ctx, default_config(Task::tc), "split/tc.train.txt", false);
    if (name == "peak") return 1e9 / Roof(threads).flops();  // seconds of 1e9 operations at best
    Run& f = ready_[name];
    if (!f) {
      f = make(name);
      f(*ctx);
    }
    return timed(f, *ctx, at_least);
  }

 private:
  Run make(const std::string& name) {
    if (name == "lstm_forward_32") return lstm(maker_, std::vector<int>(32, 64), false);
    if (name == "lstm_forward_1") return lstm(maker_, {64}, false);
    if (name == "lstm_forward_4") return lstm(maker_, {64, 47, 31, 12}, false);
    if (name == "lstm_train_32") return lstm(maker_, std::vector<int>(32, 64), true);
    if (name == "crf_loss") return crf_loss(maker_);
    if (name == "crf_decode") return crf_decode(maker_);
    if (name == "ner_predict") return predict_all(data_);
    if (name == "ner_one") return predict_one<NerModel>(data_, Task::ner);
    if (name == "tc_one") return predict_one<TcModel>(data_, Task::tc);
    throw std::invalid_argument("no workload " + name);
  }

  Data data_;
  Maker maker_;
  std::map<int, std::unique_ptr<Context>> contexts_;
  std::map<std::string, Run> ready_;
};

}  // namespace
}  // namespace bib::bench

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "use: bib_peer DATA FOLDER_FOR_MODELS DOCUMENTS   (bench/peers/run starts it)\n");
    return 2;
  }
  bib::bench::Workloads workloads({.folder = argv[1], .models = argv[2], .documents = std::stoul(argv[3])});
  std::string name;
  int threads = 0;
  for (double at_least = 0; std::cin >> name >> threads >> at_least;) {
    try {
      std::printf("%.9f\n", workloads.seconds(name, threads, at_least));
    } catch (const std::exception& e) {
      std::printf("error %s\n", e.what());
    }
    std::fflush(stdout);
  }
}
