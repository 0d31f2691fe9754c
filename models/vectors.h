// Pretrained word vectors: only the rows of wanted words are kept, and what is wrong with a file is said before
// training. Formats, told apart by content:
//   text    an optional line "rows dimension", then "word v1 .. vE" a line (word2vec, fastText .vec, GloVe)
//   binary  a line "rows dimension", then word, space, E little-endian floats (word2vec .bin)
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bib/error.h"

namespace bib {

/// Shares of words without a vector at which the caller should warn, and refuse: a misread file covers almost nothing.
inline constexpr double warn_missing = 0.30, refuse_missing = 0.95;

/// Which rows to keep beside those of the words asked for: the file's first, as files list frequent words first.
struct ExtraWords {
  int limit = 0;
  std::function<bool(std::string_view)> wanted;  // none: every word
};

struct PretrainedVectors {
  int dimension = 0;
  std::int64_t rows_in_file = 0;
  std::vector<float> values;        // [words + extra, dimension]  zeros where not found
  std::vector<std::uint8_t> found;  // [words]  0 not found, 1 as it stands, 2 in lower case
  std::vector<std::string> extra;   // in the order of the file

  /// Share of the wanted words without a vector; with counts, share of their occurrences.
  double missing() const;
  double missing(std::span<const std::int32_t> counts) const;

 private:
  friend PretrainedVectors read_vectors(const std::string&, std::span<const std::string>, int, const ExtraWords&);
  std::vector<std::uint8_t> wanted_;
};

/// words[i] is the word of row i; an empty one is not wanted. A word that the file lacks takes the vector of its lower
/// case. Where the file repeats a word, the first row counts. `dimension` 0: whatever the file has.
/// Throws DataError "file:line: what" (binary files: the row) for NaN, infinity, wrong dimension or row count.
PretrainedVectors read_vectors(const std::string& path, std::span<const std::string> words, int dimension = 0,
                               const ExtraWords& extra = {});

}  // namespace bib
