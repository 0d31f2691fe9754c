// Whole models through the public API, with the default configuration on the sample corpora of data/: a training step,
// one text at a time, many texts, loading. docs/benchmarks.md says how to read what it prints.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "bib/corpus.h"
#include "bib/ner.h"
#include "bib/tc.h"
#include "bib/train.h"

namespace bib::bench {
namespace {

namespace fs = std::filesystem;
using benchmark::Counter, benchmark::State;

constexpr Counter::Flags per_second = Counter::kIsIterationInvariantRate;

/// What the suites of both tasks need of a task.
struct Ner {
  using Model = NerModel;
  static constexpr Task task = Task::ner;
  static constexpr const char* name = "ner";
};
struct Tc {
  using Model = TcModel;
  static constexpr Task task = Task::tc;
  static constexpr const char* name = "tc";
};

template <class T>
std::vector<Document> corpus(const char* part) {
  const fs::path path = fs::path(BIB_SOURCE) / "data" / T::name / part;
  return read_documents(path.string(), T::task);
}

/// A folder that goes when the program ends.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("bib_bench." + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

template <class T>
std::string model_path() {
  static const Folder folder;
  return (folder.path / (std::string(T::name) + ".bib")).string();
}

/// Seconds per step of one epoch, the first steps left out: they grow the memory of a step.
struct Pace {
  static constexpr int warm_up = 3;
  double begin = 0, end = 0;
  std::int64_t units_at_begin = 0, units = 0;
  int steps = 0;

  bool operator()(const TrainProgress& p) {
    if (p.step == warm_up) begin = p.seconds, units_at_begin = p.units;
    if (p.step > warm_up) end = p.seconds, units = p.units - units_at_begin, steps = p.step - warm_up;
    return true;
  }
};

template <class T>
Pace train_model(int documents, int epochs) {
  Config config = default_config(T::task);
  config.epochs = epochs, config.train_rate = 1;
  std::vector<Document> train_set = corpus<T>("train.txt");
  if (train_set.size() > static_cast<std::size_t>(documents)) train_set.resize(static_cast<std::size_t>(documents));
  Context ctx;
  Pace pace;
  TrainOptions options{.output = model_path<T>()};
  options.progress = [&](const TrainProgress& p) { return pace(p); };
  train(ctx, config, std::move(train_set), {}, options);
  return pace;
}

/// The model that the other suites ask.
template <class T>
const std::string& trained() {
  static const std::string path = [] {
    train_model<T>(500, 2);
    return model_path<T>();
  }();
  return path;
}

template <class T>
void train_step(State& state) {
  double units = 0, seconds = 0;
  for (auto _ : state) {
    const Pace pace = train_model<T>(640, 1);
    const double once = (pace.end - pace.begin) / pace.steps;
    state.SetIterationTime(once);
    units += static_cast<double>(pace.units) / pace.steps;
    seconds += once;
  }
  state.counters["units/s"] = units / seconds;
}

/// Latency: one text after another, on one thread as a server would answer it.
template <class T>
void one_text(State& state) {
  Context ctx({.threads = static_cast<int>(state.range(0))});
  const typename T::Model model = T::Model::load(trained<T>(), ctx);
  const std::vector<Document> texts = corpus<T>("predict.txt");
  std::size_t next = 0;
  for (auto _ : state) benchmark::DoNotOptimize(model.predict(ctx, texts[next++ % texts.size()].text));
}

/// Throughput: all texts of a file at once, on all threads.
template <class T>
void many_texts(State& state) {
  Context ctx;
  const typename T::Model model = T::Model::load(trained<T>(), ctx);
  std::vector<Document> texts;
  const std::vector<Document> file = corpus<T>("predict.txt");
  while (texts.size() < 1000) texts.insert(texts.end(), file.begin(), file.end());
  for (auto _ : state) benchmark::DoNotOptimize(model.predict(ctx, texts));
  state.counters["texts/s"] = Counter(static_cast<double>(texts.size()), per_second);
}

template <class T>
void load(State& state) {
  const std::string path = trained<T>();
  Context ctx;
  for (auto _ : state) benchmark::DoNotOptimize(T::Model::load(path, ctx));
  state.counters["bytes"] = static_cast<double>(fs::file_size(path));
}

template <class T>
void add_task() {
  const auto add = [](const char* what, void (*suite)(State&)) {
    return benchmark::RegisterBenchmark((std::string(T::name) + "/" + what).c_str(), suite);
  };
  add("train_step", train_step<T>)->UseManualTime()->Iterations(3)->Unit(benchmark::kMillisecond);
  add("one_text/threads", one_text<T>)->Arg(1)->Arg(available_threads())->UseRealTime()->Unit(benchmark::kMicrosecond);
  add("many_texts", many_texts<T>)->UseRealTime()->Unit(benchmark::kMillisecond);
  add("load", load<T>)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

}  // namespace
}  // namespace bib::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("instruction set", bib::cpu_isa_name());
  benchmark::AddCustomContext("threads", std::to_string(bib::available_threads()));
  bib::bench::add_task<bib::bench::Ner>();
  bib::bench::add_task<bib::bench::Tc>();
  return benchmark::RunSpecifiedBenchmarks() > 0 ? 0 : 1;
}
