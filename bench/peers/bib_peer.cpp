// bib's side of bench/peers/run: one line "WORKLOAD THREADS SECONDS" on standard input, the seconds of one run (the
// median of as many as fit into SECONDS) on standard output. Sizes and data are those of the other sides.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/layers.h"
#include "bench/roof.h"
#include "bib/corpus.h"
#include "bib/ner.h"
#include "bib/tc.h"
#include "bib/train.h"

namespace bib::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

/// Sizes of the other sides: 256 units a direction; 15 entity types under IOB2.
LstmSize lstm_size(std::vector<int> lengths) {
  const int T = *std::max_element(lengths.begin(), lengths.end());
  return {.T = T, .I = 256, .H = 256, .lengths = std::move(lengths)};
}
constexpr CrfSize crf_size{.T = 64, .B = 32, .K = 31};

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
    if (name == "lstm_forward_32") return lstm(operands_, lstm_size(std::vector<int>(32, 64)), false);
    if (name == "lstm_forward_1") return lstm(operands_, lstm_size({64}), false);
    if (name == "lstm_forward_4") return lstm(operands_, lstm_size({64, 47, 31, 12}), false);
    if (name == "lstm_train_32") return lstm(operands_, lstm_size(std::vector<int>(32, 64)), true);
    if (name == "crf_loss") return crf_loss(operands_, crf_size);
    if (name == "crf_decode") return crf_decode(operands_, crf_size);
    if (name == "ner_predict") return predict_all(data_);
    if (name == "ner_one") return predict_one<NerModel>(data_, Task::ner);
    if (name == "tc_one") return predict_one<TcModel>(data_, Task::tc);
    throw std::invalid_argument("no workload " + name);
  }

  Data data_;
  Context host_;  // where operands are filled
  Operands operands_{host_};
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
