// Training: documents in, a model file out. Same data, configuration and seed give the same bytes, for any number of
// threads and however often it was interrupted and resumed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bib/config.h"
#include "bib/context.h"
#include "bib/document.h"

namespace bib {

/// Where training stands; reported after every step.
struct TrainProgress {
  int epoch = 0, epochs = 0;  // from 1
  int step = 0, steps = 0;    // over all epochs, from 1
  double loss = 0;            // mean per document over this epoch so far
  float lr = 0;
  std::int64_t units = 0;           // trained on in this run
  double seconds = 0;               // of this run
  double remaining = 0;             // estimate, seconds
  bool epoch_done = false;          // the scores below are new
  std::optional<double> dev_score;  // NER: micro F1; TC: accuracy, multi-label: micro F1
  std::optional<double> best_score;
  int best_epoch = 0;
};

/// Where the time of a run went, in seconds of the clock; they add up to the run. On a GPU the host enqueues and goes
/// on: what the device takes is found where the host waits for it, in `network`; `update` is then the time to enqueue.
struct TrainProfile {
  double encode = 0;    // vocabularies, texts to ids, parameters
  double batch = 0;     // padding and row indices; on a GPU, where another thread makes them ahead, the wait for it
  double network = 0;   // copies to the device, forward and backward passes, the loss on the host
  double update = 0;    // clipping, optimiser, weight average
  double evaluate = 0;  // dev scores
  double other = 0;     // checkpoints, the model file, progress
};

struct TrainOptions {
  std::string output{};                      // the model's path; the checkpoint stands beside it as <output>.checkpoint
  std::vector<std::byte>* memory = nullptr;  // takes the model's file in place of `output`: nothing is written
  std::string base{};              // a model to go on from: its vocabularies, labels and weights, and what the data add
  bool resume = false;             // go on from the checkpoint if there is one
  double checkpoint_seconds = 60;  // least time between checkpoints; they are written at the end of an epoch
  // Called in the thread that called train(); what they throw ends training and comes out of it.
  std::function<bool(const TrainProgress&)> progress{};  // false: save a checkpoint and stop
  std::function<void(const std::string&)> note{};        // what is worth knowing, such as the vectors' coverage
  std::function<void(const std::string&)> warn{};        // what the user should know but need not stop for
  TrainProfile* profile = nullptr;                       // filled while training, where given
};

struct TrainResult {
  bool interrupted = false;
  int epochs = 0, best_epoch = 0;    // run; the model's
  std::optional<double> best_score;  // on the dev set; none without one
  std::optional<double> base_score;  // of TrainOptions::base on it, before the first epoch
  double train_loss = 0;             // of the last epoch
};

/// Trains config.task on `train`. `dev` chooses the epoch to keep and the temperature of its scores; when it is empty,
/// 1 - train_rate of `train` is set aside for that (train_rate 1: none is, and the last epoch is kept).
/// With options.base the config must have its features and network: continued(model.config()) does, and train's own
/// settings may be changed.
/// Throws DataError for data that cannot be learned from, such as a span that is no range of bytes of its text, and for
/// settings that the base cannot take; ModelError for a base that is no model of the task; and
/// std::runtime_error when the loss is no longer finite, or another training writes the same output.
TrainResult train(Context& ctx, const Config& config, std::vector<Document> train, std::vector<Document> dev,
                  const TrainOptions& options);

}  // namespace bib
