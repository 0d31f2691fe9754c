// What the trainer needs of a task: examples, their loss and gradients, the score on the dev set, the model file.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bib/train.h"
#include "models/layers.h"
#include "models/model_file.h"
#include "train/temperature.h"

namespace bib {

class Learner {
 public:
  virtual ~Learner() = default;

  virtual Parameters& parameters() = 0;
  /// Time steps of each training example.
  virtual std::span<const int> lengths() const = 0;
  virtual bool has_dev() const = 0;

  /// The examples as a batch, on the host. Reads only what training does not change, so that another thread may make
  /// the next batch meanwhile.
  virtual Batch prepare(std::span<const std::size_t> examples, RandomKey key) const = 0;
  /// The losses of the batch's examples, each over the batch size; adds to the dense gradients and appends those of the
  /// tables. Memory is taken from the context's arena, which the caller rewinds. Waits for nothing.
  virtual View<real, 1> loss(Context& ctx, const Batch& batch, RandomKey key, TableGradients& tables) const = 0;
  /// Score on the dev set of the model that training goes on from, as it came; none without either.
  virtual std::optional<double> base_score() const = 0;
  /// Score of the weights as they are now, between 0 and 1; higher is better.
  virtual double evaluate(Context& ctx) = 0;
  /// Scales the scores so that their probabilities fit the dev set, which there must be.
  virtual Temperature calibrate(Context& ctx) = 0;
  virtual void save(Context& ctx, ModelFile& file) = 0;
};

/// Where a document stands, for messages: its line in its file, or its number where a program made it.
inline std::string place_of(const Document& document, const std::vector<Document>& all) {
  return document.line > 0 ? "line " + std::to_string(document.line)
                           : "document " + std::to_string(&document - all.data() + 1);
}

/// Counts vocabularies, encodes the texts, initialises the parameters from the seed and, where it is given, the base.
std::unique_ptr<Learner> make_ner_learner(Context& ctx, const Config& config, std::vector<Document> train,
                                          std::vector<Document> dev, const TrainOptions& options,
                                          std::shared_ptr<const ModelFile> base);
std::unique_ptr<Learner> make_tc_learner(Context& ctx, const Config& config, std::vector<Document> train,
                                         std::vector<Document> dev, const TrainOptions& options,
                                         std::shared_ptr<const ModelFile> base);

/// Stream of the random numbers that hide feature entries; models use lower ones.
inline constexpr std::uint32_t unknown_stream = 1000;

/// The weight of every document of a batch: its own over the batch size, so that the gradient is a mean.
std::vector<real> batch_weights(std::span<const std::size_t> examples, std::span<const float> weights);

}  // namespace bib
