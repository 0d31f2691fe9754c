// Text classification: load a model, give it texts, get classes with probabilities.
//   bib::Context ctx;
//   const auto model = bib::TcModel::load("tc.bib", ctx);
//   std::string best = model.predict(ctx, "배송이 빨라요").classes.front().label;
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bib/config.h"
#include "bib/context.h"
#include "bib/document.h"
#include "bib/stages.h"

namespace bib {

struct ClassScore {
  std::string label;
  double score = 0;  // probability: over exclusive classes they sum to 1, in a multi-label model each stands alone
};

struct TcPrediction {
  std::vector<std::string> labels;  // the answer: the best class, or every class at or above the threshold
  std::vector<ClassScore> classes;  // the top_k classes and all answers, best first
  // The probability of the best class; multi-label: of the decision, class or not, that is the least sure one.
  double confidence = 0;
};

struct TcPredictOptions {
  int top_k = 1;                    // classes listed at least; 0: all
  double threshold = 0.5;           // multi-label: what counts as an answer
  PredictStages* stages = nullptr;  // where the time goes; added to
};

/// Immutable after loading: share one model between threads, each with a Context of its own on the model's device.
class TcModel {
 public:
  struct Impl;
  explicit TcModel(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

  /// Maps the file; throws ModelError when it is damaged, foreign, of another task, or made by a newer bib.
  static TcModel load(const std::string& path, Context& ctx);

  const Config& config() const;
  const std::vector<std::string>& labels() const;

  TcPrediction predict(Context& ctx, std::string_view text, const TcPredictOptions& options = {}) const;
  /// Batches by length inside; predictions come in the order of the texts.
  std::vector<TcPrediction> predict(Context& ctx, std::span<const Document> documents,
                                    const TcPredictOptions& options = {}) const;

  const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace bib
