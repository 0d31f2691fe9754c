// One model on two devices: what every layer computes and what the model answers, value by value. `bib verify` runs it
// with the CPU as reference and the user's GPU beside it.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bib/ner.h"
#include "bib/tc.h"

namespace bib {

/// One layer's values. `share` is the largest difference in units of what rounding allows for (docs/numerics.md): above
/// 1 something is wrong.
struct LayerDifference {
  std::string name;  // "features", "lstm.0", "convolution", "emissions", "probabilities"
  std::int64_t values = 0;
  double largest = 0, share = 0;  // largest: absolute; both infinite where one of the two is not a number
  std::size_t document = 0;       // where the share is largest
};

/// An answer that differs: the tag of a unit (NER), the class, or whether a class is an answer (TC).
struct LabelFlip {
  std::size_t document = 0;
  std::string what, reference, other;  // the unit's text or the class; the two answers
  bool tie = false;                    // the reference itself scores both alike within the tolerance: either is right
};

struct VerifyReport {
  std::size_t texts = 0, units = 0, answers = 0;
  std::vector<LayerDifference> layers;  // in the order of the model
  std::vector<LabelFlip> flips;

  /// Every layer within what is allowed, and no answer differs but ties.
  bool passed() const;
  /// One line for the user, empty when passed.
  std::string failure() const;
};

/// Runs the documents through the reference's model and the other's, each on its context's device. The two must be the
/// same model; a difference between them is found as one between the devices would be. Longer texts are cut at 1,024
/// units.
VerifyReport verify(Context& reference, const NerModel& model, Context& other, const NerModel& other_model,
                    std::span<const Document> documents);
VerifyReport verify(Context& reference, const TcModel& model, Context& other, const TcModel& other_model,
                    std::span<const Document> documents);

/// Texts made of what the model's vocabularies hold, frequent entries more often, of 0 to about 200 units: the same
/// for the same model.
std::vector<Document> sample_texts(const NerModel& model);
std::vector<Document> sample_texts(const TcModel& model);

}  // namespace bib
