#include "train/dictionary.h"

#include <algorithm>
#include <cmath>

#include "bib/ops.h"
#include "models/model_parts.h"
#include "models/nearest.h"
#include "models/number.h"

namespace bib {
namespace {

constexpr real forbidden = -std::numeric_limits<real>::infinity();

std::string unknown_label(std::string_view label, const std::vector<std::string>& labels) {
  std::string known;
  for (const std::string& one : labels) known += (known.empty() ? "" : ", ") + one;
  const std::string close = nearest(label, labels);
  return "the model has no label '" + std::string(label) + "'; " +
         (close.empty() ? "" : "did you mean " + close + "? ") + "it has " + known;
}

}  // namespace

NerDictionary::NerDictionary(const NerModel& model, std::span<const NerTerm> terms) {
  const auto impl = std::make_shared<Impl>(model);
  for (std::size_t i = 0; i < terms.size(); ++i) {
    try {
      impl->add(model.impl().features, terms[i].text, terms[i].label, terms[i].weight);
    } catch (const TermRefused& e) {
      throw std::invalid_argument("NerDictionary: term " + std::to_string(i + 1) + ": " + e.what());
    }
  }
  impl_ = impl;
}

int NerDictionary::size() const { return impl_->size(); }

NerDictionary::Impl::Impl(const NerModel& model) : config_(model.impl().config), tags_(model.impl().tags) {}

void NerDictionary::Impl::add(const Features& features, std::string_view text, std::string_view label, double weight) {
  const std::optional<int> known = tags_.label_of(label);
  if (!known) throw TermRefused(TermRefused::label, unknown_label(label, tags_.labels()));
  if (!(weight > 0 && (weight <= NerTerm::most || weight == NerTerm::hard)))
    throw TermRefused(TermRefused::weight, "the weight " + exact_text(weight) + " is not above 0 and at most " +
                                               exact_text(NerTerm::most) + ", nor hard");
  const Document document{.text = std::string(text)};
  const std::vector<ByteRange> units = features.units(document);
  if (units.empty()) throw TermRefused(TermRefused::text, "the term is empty");
  if (units.size() > longest_term)
    throw TermRefused(TermRefused::text, "the term has " + std::to_string(units.size()) + " units, the longest has " +
                                             std::to_string(longest_term));
  const auto term = static_cast<std::size_t>(trie_.add(term_units(config_, text, units)));
  if (term == first_.size()) first_.push_back(-1);
  for (int i = first_[term]; i >= 0; i = readings_[static_cast<std::size_t>(i)].next) {
    Reading& reading = readings_[static_cast<std::size_t>(i)];
    if (reading.label == *known) return void(reading.weight = static_cast<float>(weight));
  }
  readings_.push_back({*known, static_cast<float>(weight), first_[term]});
  first_[term] = static_cast<int>(readings_.size()) - 1;
}

void NerDictionary::Impl::expect_fits(const Config& config, const TagSet& tags) const {
  expect(tags.labels() == tags_.labels() && tags.scheme() == tags_.scheme() && config.unit == config_.unit &&
             config.lowercase == config_.lowercase,
         "NerPredictOptions: the dictionary was made for a model with other labels or units; make one for this model");
}

NerDictionary::Impl::Rows NerDictionary::Impl::rows(std::span<const TermMatch> terms, int length) const {
  const auto K = static_cast<std::size_t>(tags_.size());
  Rows rows;
  const auto row = [&](int unit) -> std::vector<real>& { return rows.try_emplace(unit, K, real(0)).first->second; };
  for (const TermMatch& term : terms) {
    std::vector<Reading> readings;
    for (int i = first_[static_cast<std::size_t>(term.term)]; i >= 0; i = readings.back().next)
      readings.push_back(readings_[static_cast<std::size_t>(i)]);
    const bool hard =
        std::any_of(readings.begin(), readings.end(), [](const Reading& r) { return std::isinf(r.weight); });
    const int n = term.end - term.begin;
    std::vector<std::vector<real>> own(static_cast<std::size_t>(n), std::vector<real>(K, hard ? forbidden : real(0)));
    for (const Reading& reading : readings) {
      const UnitSpan span{0, n, reading.label};
      const std::vector<int> tags = tags_.encode(n, std::span(&span, 1));
      const auto favour = [&](int unit, int tag) {
        own[static_cast<std::size_t>(unit)][static_cast<std::size_t>(tag)] =
            std::isinf(reading.weight) ? 0 : reading.weight;
      };
      for (int t = 0; t < n; ++t) favour(t, tags[static_cast<std::size_t>(t)]);
      favour(0, tags_.touching(tags.front()));
      if (const int on = tags_.extend(tags.back()); on >= 0 && term.end < length)
        row(term.end)[static_cast<std::size_t>(on)] += hard ? forbidden : static_cast<real>(-reading.weight);
    }
    for (int t = 0; t < n; ++t) {
      std::vector<real>& sum = row(term.begin + t);  // the term before may have said what must not go on
      std::transform(sum.begin(), sum.end(), own[static_cast<std::size_t>(t)].begin(), sum.begin(), std::plus<>());
    }
  }
  return rows;
}

void NerDictionary::Impl::add_to(Context& ctx, View<real, 3> scores,
                                 std::span<const std::vector<TermMatch>* const> terms,
                                 std::span<const int> lengths) const {
  const int B = scores.dim(1), K = scores.dim(2);
  std::vector<int> at;
  std::vector<real> value;
  for (int b = 0; b < B; ++b) {
    for (const auto& [unit, row] : rows(*terms[static_cast<std::size_t>(b)], lengths[static_cast<std::size_t>(b)])) {
      for (int k = 0; k < K; ++k) {
        if (row[static_cast<std::size_t>(k)] == 0) continue;
        at.push_back((unit * B + b) * K + k);
        value.push_back(row[static_cast<std::size_t>(k)]);
      }
    }
  }
  if (at.empty()) return;
  const int U = static_cast<int>(at.size());
  run(ctx, AddAt{.at = upload<int, 1>(ctx, at, {U}),
                 .value = upload<real, 1>(ctx, value, {U}),
                 .y = scores.reshaped<1>({static_cast<int>(scores.size())})});
}

}  // namespace bib
