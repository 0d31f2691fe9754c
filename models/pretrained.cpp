#include "models/pretrained.h"

#include <algorithm>

#include "bib/expect.h"
#include "models/number.h"

namespace bib {
namespace {

std::string percent(double share) { return fixed_text(100 * share, 1) + " %"; }

/// How many of the words have a vector, and how much of the text that is.
void tell_coverage(const std::string& path, const PretrainedVectors& v, std::span<const std::int32_t> counts,
                   const TrainOptions& options) {
  const auto words = v.found.size() - 1;  // without the unknown one
  const auto found = words - static_cast<std::size_t>(std::count(v.found.begin() + 1, v.found.end(), 0));
  const auto lower = std::count(v.found.begin() + 1, v.found.end(), 2);
  const double missing = v.missing(counts);
  const std::string text = path + ": " + std::to_string(found) + " of " + std::to_string(words) +
                           " entries have a vector, " + percent(1 - missing) + " of the training text";
  if (missing > refuse_missing) {
    throw DataError("vectors " + text + "; are they of this language, of these units (" +
                    "features.unit), in this spelling?");
  }
  if (options.note) {
    options.note("vectors " + text + (lower ? ", " + std::to_string(lower) + " of them by their lower case" : "") +
                 "; " + std::to_string(v.extra.size()) + " more entries that it lacks");
  }
  if (missing > warn_missing && options.warn) {
    options.warn("vectors " + path + ": " + percent(missing) +
                 " of the training text has no vector; check that spelling, case and units are the same");
  }
}

}  // namespace

PretrainedRows PretrainedRows::read(const Config& config, Features& features, const TrainOptions& options) {
  PretrainedRows rows;
  if (config.vectors.empty()) return rows;
  const int c = features.vector_channel();
  expect(c >= 0, "pretrained vectors: there is no channel for them");
  const Vocabulary& vocabulary = features.vocabulary(c);
  std::vector<std::string> words;
  std::vector<std::int32_t> counts;
  for (int i = 0; i < vocabulary.size(); ++i) {
    words.emplace_back(vocabulary[i]);
    counts.push_back(vocabulary.count(i));
  }
  const int room = config.max_entries > 0 ? config.max_entries - (vocabulary.size() - 1) : config.vector_words;
  rows.vectors = read_vectors(config.vectors, words, 0,
                              {.limit = std::min(config.vector_words, room),
                               .wanted = [&](std::string_view word) { return features.may_occur(word); }});
  const Features::Channel& channel = features.channels()[static_cast<std::size_t>(c)];
  if (rows.vectors.dimension != channel.dim) {
    const std::string E = std::to_string(rows.vectors.dimension);
    throw DataError("vectors " + config.vectors + ": dimension " + E + ", but features." + channel.name + " is " +
                    std::to_string(channel.dim) + "; set features." + channel.name + " = " + E);
  }
  tell_coverage(config.vectors, rows.vectors, counts, options);
  rows.parameter = "embedding." + channel.name;
  features.extend(rows.vectors.extra);
  return rows;
}

void PretrainedRows::initialise(Context& ctx, Parameters& parameters) const {
  if (parameter.empty()) return;
  std::vector<real> table = parameters.get(ctx, parameter);
  expect(table.size() == vectors.values.size(), "pretrained vectors: not the rows of this table");
  const auto E = static_cast<std::size_t>(vectors.dimension);
  for (std::size_t row = 0; row < table.size() / E; ++row) {
    if (row < vectors.found.size() && !vectors.found[row]) continue;
    std::copy_n(vectors.values.begin() + static_cast<std::ptrdiff_t>(row * E), E,
                table.begin() + static_cast<std::ptrdiff_t>(row * E));
  }
  parameters.set(ctx, parameter, table);
}

}  // namespace bib
