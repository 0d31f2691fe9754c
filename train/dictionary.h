// A dictionary at prediction time: the terms of a text, and what they add to the scores of a batch before the CRF reads
// them. With a term at units [i,j) that has the tags k_i..k_{j-1} and the weight w:
//   scores[t,k_t] += w           for t in [i,j)
//   scores[j,extend] -= w        for the tag that would take the entity on past the term, where the scheme has one
// Of a hard term all other tags of [i,j), and the one that would take it on, get -infinity. The CRF reads the sums as
// it reads any scores, so that the best path, the k best and all probabilities are exact for them.
#pragma once
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "bib/context.h"
#include "bib/ner.h"
#include "models/features.h"
#include "models/tags.h"
#include "models/terms.h"

namespace bib {

/// Windows of long texts overlap by twice as many units, so that one of them holds all of a term that counts.
inline constexpr std::size_t longest_term = 96;

/// A term that a dictionary cannot hold, and which part of it is at fault.
struct TermRefused : std::invalid_argument {
  enum Part { text, label, weight };
  Part part;
  TermRefused(Part p, const std::string& what) : std::invalid_argument(what), part(p) {}
};

struct NerDictionary::Impl {
  explicit Impl(const NerModel& model);
  /// `features`: of the model. Throws TermRefused.
  void add(const Features& features, std::string_view text, std::string_view label, double weight);

  int size() const { return trie_.size(); }
  /// Throws std::invalid_argument unless this is its model, or one with the same labels and units.
  void expect_fits(const Config& config, const TagSet& tags) const;
  std::vector<TermMatch> find(std::string_view text, std::span<const ByteRange> units) const {
    return trie_.find(term_units(config_, text, units));
  }

  /// What the terms add to the scores of a text of `length` units, by unit: a row for the tags.
  using Rows = std::map<int, std::vector<real>>;
  Rows rows(std::span<const TermMatch> terms, int length) const;
  /// Adds them to the scores [T,B,K] of a batch; one list of terms for each of its texts.
  void add_to(Context& ctx, View<real, 3> scores, std::span<const std::vector<TermMatch>* const> terms,
              std::span<const int> lengths) const;

 private:
  /// A term as an entity. A term of several labels has several, of which the CRF chooses.
  struct Reading {
    int label;
    float weight;
    int next;  // of the same term, -1: none
  };
  Config config_;
  TagSet tags_;
  TermTrie trie_;
  std::vector<Reading> readings_;
  std::vector<int> first_;  // of a term
};

}  // namespace bib
