// The way of a text to the network, on one thread: reading a corpus, encoding it, making batches. docs/benchmarks.md
// says how to read what it prints.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "bib/corpus.h"
#include "models/batch.h"
#include "models/features.h"
#include "train/batching.h"

namespace bib::bench {
namespace {

namespace fs = std::filesystem;
using benchmark::Counter, benchmark::State;

/// The sample corpus `copies` times in one file, which goes when the program ends.
class Grown {
 public:
  Grown(Task task, int copies) : task_(task) {
    const char* name = task == Task::ner ? "ner" : "tc";
    const fs::path source = fs::path(BIB_SOURCE) / "data" / name / "train.txt";
    path_ = fs::temp_directory_path() / ("bib_bench." + std::to_string(::getpid()) + "." + name);
    std::ofstream out(path_, std::ios::binary);
    for (int i = 0; i < copies; ++i) out << std::ifstream(source, std::ios::binary).rdbuf();
  }
  ~Grown() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  Grown(const Grown&) = delete;
  Grown& operator=(const Grown&) = delete;

  std::vector<Document> read() const { return read_documents(path_.string(), task_); }
  double bytes() const { return static_cast<double>(fs::file_size(path_)); }

 private:
  Task task_;
  fs::path path_;
};

void count_bytes(State& state, double bytes) {
  state.counters["MB/s"] = Counter(bytes * 1e-6, Counter::kIsIterationInvariantRate);
}

double text_bytes(const std::vector<Document>& documents) {
  double bytes = 0;
  for (const Document& d : documents) bytes += static_cast<double>(d.text.size());
  return bytes;
}

/// File to documents.
void read(State& state, Task task) {
  const Grown corpus(task, static_cast<int>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(corpus.read());
  count_bytes(state, corpus.bytes());
  state.SetComplexityN(state.range(0));
}

/// Documents to ids, with the vocabulary of the default configuration.
void encode(State& state, Task task) {
  const std::vector<Document> documents = Grown(task, 1).read();
  const Features features = Features::build(default_config(task), documents);
  for (auto _ : state)
    for (const Document& d : documents) benchmark::DoNotOptimize(features.encode(d));
  count_bytes(state, text_bytes(documents));
}

/// Ids to the arrays of a training batch, unknown-word dropout included.
void batch(State& state, Task task) {
  const std::vector<Document> documents = Grown(task, 1).read();
  const Config config = default_config(task);
  const Features features = Features::build(config, documents);
  std::vector<EncodedText> texts;
  std::vector<int> lengths;
  for (const Document& d : documents) {
    texts.push_back(features.encode(d));
    lengths.push_back(static_cast<int>(texts.back().units.size()));
  }
  const std::vector<Group> groups = shuffled_batches(lengths, config.batch, {.seed = 1});
  for (auto _ : state) {
    for (const Group& group : groups) {
      std::vector<const EncodedText*> members;
      for (std::size_t i : group) members.push_back(&texts[i]);
      benchmark::DoNotOptimize(make_batch(features, members, true, {.rate = config.unknown_rate, .key = {.seed = 1}}));
    }
  }
  count_bytes(state, text_bytes(documents));
}

void add(Task task, const std::string& name) {
  using benchmark::RegisterBenchmark;
  RegisterBenchmark((name + "/read/copies").c_str(), [=](State& state) { read(state, task); })
      ->RangeMultiplier(4)
      ->Range(1, 64)
      ->Unit(benchmark::kMillisecond)
      ->Complexity(benchmark::oN);
  RegisterBenchmark((name + "/encode").c_str(), [=](State& state) {
    encode(state, task);
  })->Unit(benchmark::kMillisecond);
  RegisterBenchmark((name + "/batch").c_str(), [=](State& state) {
    batch(state, task);
  })->Unit(benchmark::kMillisecond);
}

}  // namespace
}  // namespace bib::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  bib::bench::add(bib::Task::ner, "ner");
  bib::bench::add(bib::Task::tc, "tc");
  return benchmark::RunSpecifiedBenchmarks() > 0 ? 0 : 1;
}
