// Named-entity recognition: load a model, give it texts, get entities with exact probabilities.
//   bib::Context ctx;
//   const auto model = bib::NerModel::load("ner.bib", ctx);
//   for (const bib::Entity& e : model.predict(ctx, "서울에 사는 김민수").entities) ...
#pragma once
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bib/config.h"
#include "bib/context.h"
#include "bib/document.h"
#include "bib/stages.h"

namespace bib {

/// `score` is the exact probability of the entity: that its units carry its tags and that it does not go on, summed
/// over everything else the sentence could be. Absent where it was not asked for.
struct Entity : Span {
  std::optional<double> score;
};

/// One of the k best readings of a text, with its probability among all readings (not only among the k).
struct NerAlternative {
  std::vector<Entity> entities;
  double probability = 0;
};

struct NerPrediction {
  std::vector<Entity> entities;              // by position; byte ranges of the text given
  std::vector<NerAlternative> alternatives;  // best first, when nbest > 0
  // When confidence is asked for: the probability of the best reading, its geometric mean over the units, so that long
  // texts do not count as doubtful ones (the MNLP of Shen et al., ICLR 2018). 1 of a text without units.
  std::optional<double> confidence;
  std::vector<double> span_scores;  // when asked for: of what was read in the place of each span of the document
};

/// A term that is an entity wherever it stands, as far as its weight says: every unit of it, and that the entity ends
/// behind it, multiplies the odds of a reading by e^weight.
struct NerTerm {
  static constexpr double usual = 1, most = 100,
                          hard = std::numeric_limits<double>::infinity();  // hard: no other reading
  std::string text, label;
  double weight = usual;
};

class NerModel;

/// Terms and their labels, for one model or others with the same labels and units. Immutable: share it between threads.
/// The formula is in docs/formats.md.
class NerDictionary {
 public:
  struct Impl;
  explicit NerDictionary(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  /// Of a term that comes twice with the same label, the last weight counts. Throws std::invalid_argument for a term
  /// without a unit or with more than 96, a label that the model lacks, a weight that is not above 0, or above `most`
  /// and not hard.
  NerDictionary(const NerModel& model, std::span<const NerTerm> terms);
  /// Reads term<TAB>label[<TAB>weight] lines. Throws DataError "file:line:column: what".
  static NerDictionary load(const std::string& path, const NerModel& model);

  int size() const;  // terms, however many labels each has
  const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

struct NerPredictOptions {
  bool scores = true;        // entity probabilities: one forward-backward pass more
  bool confidence = false;   // of the whole reading
  bool span_scores = false;  // how probable what was read is where the document's own spans are, 0 without a unit
  int nbest = 0;             // alternatives per text, up to 10,000; a text longer than 1,024 units gets none
  PredictStages* stages = nullptr;            // where the time goes; added to
  const NerDictionary* dictionary = nullptr;  // made for this model; read while the call lasts
};

/// Immutable after loading: share one model between threads, each with a Context of its own on the model's device.
class NerModel {
 public:
  struct Impl;
  explicit NerModel(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

  /// Maps the file; throws ModelError when it is damaged, foreign, of another task, or made by a newer bib.
  static NerModel load(const std::string& path, Context& ctx);

  const Config& config() const;
  const std::vector<std::string>& labels() const;

  NerPrediction predict(Context& ctx, std::string_view text, const NerPredictOptions& options = {}) const;
  /// Batches by length inside; predictions come in the order of the texts. A document's own tokens are its units when
  /// the model's unit is the word; one that is no range of its text is std::invalid_argument.
  std::vector<NerPrediction> predict(Context& ctx, std::span<const Document> documents,
                                     const NerPredictOptions& options = {}) const;

  const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace bib
