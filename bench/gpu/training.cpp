#include "bench/gpu/training.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "bench/gpu/answers.h"
#include "bib/cuda_backend.h"
#include "bib/train.h"

namespace bib::bench {
namespace {

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

}  // namespace

Trained trained(Context& ctx, const Row& row) {
  const Task task = row.op == "ner_step" ? Task::ner : Task::tc;
  const int steps = row.size_or('s', 200), first = steps / 10;
  Operands random(ctx);
  Config c = default_config(task);
  c.syllable = task == Task::ner ? 128 : 300, c.bigram = c.jamo = c.shape = 0;
  c.hidden = row.size_or('h', 256), c.windows = {3, 4, 5}, c.filters = 100;
  c.batch = row.size_or('b', task == Task::ner ? 32 : 64), c.epochs = 1, c.train_rate = 1, c.ema = 0;
  std::vector<Document> documents;
  for (int i = 0; i < steps * c.batch; ++i) documents.push_back(synthetic(random, task, row.size_or('t', 64)));
  const auto folder = std::filesystem::temp_directory_path() / ("bib_grid_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  Trained result;
  double begin = 0, end = 0;
  TrainOptions options{.output = (folder / "model.bib").string()};
  options.progress = [&](const TrainProgress& p) {
    if (p.step == first) begin = p.seconds;
    if (!p.epoch_done) end = p.seconds;
    result.losses.push_back(p.loss);
    return true;
  };
  train(ctx, c, std::move(documents), {}, options);
  std::ifstream file(options.output, std::ios::binary);
  result.model.assign(std::istreambuf_iterator<char>(file), {});
  std::filesystem::remove_all(folder);
  if (ctx.device() == Device::cuda) {
    const GraphCounts graphs = cuda_graph_counts(ctx.cuda());
    std::cerr << "bib_grid: steps as graphs: " << graphs.updated << " updated, " << graphs.prepared << " prepared\n";
  }
  result.microseconds = 1e6 * (end - begin) / (steps - 1 - first);
  return result;
}

void expect_same(const Trained& got, const Trained& other, const std::string& whose) {
  const auto step = std::ranges::mismatch(got.losses, other.losses);
  if (step.in1 != got.losses.end() && step.in2 != other.losses.end()) {
    const auto n = step.in1 - got.losses.begin() + 1;
    std::ostringstream text;
    text.precision(17);
    text << "the loss of step " << n << " is " << *step.in1 << ", and " << *step.in2 << " " << whose;
    throw WrongAnswer(text.str());
  }
  if (got.model == other.model) return;
  const auto byte = std::ranges::mismatch(got.model, other.model).in1 - got.model.begin();
  throw WrongAnswer("the trained model's byte " + std::to_string(byte) + " of " + std::to_string(got.model.size()) +
                    " is not what it is " + whose);
}

}  // namespace bib::bench
