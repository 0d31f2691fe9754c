// How good predictions are: entities and classes against gold annotation, with every number that papers and the usual
// scorers report. Counts come first and every rate is derived from them, so that no two figures can disagree.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bib/document.h"
#include "bib/error.h"
#include "models/tags.h"
#include "train/calibration.h"

namespace bib {

// ---- Parts shared by both tasks ----

/// What was there, what was found, and what of it was right. Rates are fractions; 0/0 is 0.
struct Score {
  std::size_t gold = 0, found = 0, correct = 0;
  double precision() const { return found ? static_cast<double>(correct) / static_cast<double>(found) : 0; }
  double recall() const { return gold ? static_cast<double>(correct) / static_cast<double>(gold) : 0; }
  double f1() const { return correct ? 2.0 * static_cast<double>(correct) / static_cast<double>(gold + found) : 0; }
  Score& operator+=(const Score& other);
  bool operator==(const Score&) const = default;
};

struct Average {
  double precision = 0, recall = 0, f1 = 0;
};

using ScoreByLabel = std::map<std::string, Score>;  // sorted by label: reports are the same on every machine

Score micro_total(const ScoreByLabel& labels);
/// Mean over the labels seen in gold or prediction: a label that is only predicted counts as 0.
Average macro_average(const ScoreByLabel& labels);
/// Mean weighted by how often a label is gold.
Average weighted_average(const ScoreByLabel& labels);

/// counts[gold][predicted] over `labels`; for NER the last row and column, labelled empty, stand for "no entity".
struct Confusion {
  std::vector<std::string> labels;
  std::vector<std::vector<std::size_t>> counts;
};

/// The range that holds 95 % of the resampled values.
struct Interval {
  double low = 0, high = 0;
};

struct Bootstrap {
  int resamples = 1000;  // 0: no interval
  std::uint64_t seed = 1;
};

/// Percentile bootstrap over `items` (Efron, 1979): `statistic` of `items` indices drawn with replacement, many times.
/// Draw r depends on (seed, r, position) alone, so the interval is the same on every machine.
std::optional<Interval> bootstrap_interval(std::size_t items, Bootstrap how,
                                           const std::function<double(const std::vector<std::uint32_t>&)>& statistic);

// ---- Entities ----

/// The file of a document by its number, where documents come from several; null where they do not.
using FileOf = std::function<std::string(std::size_t)>;

/// How tags become entities, and which figure is the headline.
enum class NerMode {
  conll,    // as conlleval.pl: any tag that is not O belongs to an entity; headline micro F1
  strict,   // as seqeval's strict mode: only well-formed entities count; headline micro F1
  seqeval,  // as seqeval's default mode: conll, but S and E are understood; headline micro F1
  klue,     // the KLUE benchmark: strict IOB2 over characters without the spaces; headline macro F1
};

struct NerOptions {
  NerMode mode = NerMode::conll;
  std::optional<Scheme> scheme;       // of the tags; none: detect_scheme decides
  Nested nested = Nested::outermost;  // flat models know only one level
  Bootstrap bootstrap;
};

/// A tag that does not exist in the scheme asked for.
struct TagError : DataError {
  TagError(const std::string& what, std::size_t sentence_index, std::size_t token_index)
      : DataError(what), sentence(sentence_index), token(token_index) {}
  std::size_t sentence, token;
};

using Tags = std::vector<std::string>;

/// bioes (which also reads BILOU) where S or U, or both B and E occur; iob2 otherwise (in conll and seqeval mode this
/// also reads IOB1, IOE1 and IOE2).
Scheme detect_scheme(const std::vector<Tags>& sentences);

/// The entities of one sentence as token ranges. Throws TagError (with `sentence` 0) in strict and klue mode on a
/// prefix that the scheme lacks; std::invalid_argument there for iob1, which has no strict reading.
std::vector<Span> spans_of_tags(const Tags& tags, NerMode mode, Scheme scheme);

/// IOB2 tags of `spans` over `tokens`: a token belongs to the first span that it overlaps.
Tags iob2_tags(const std::vector<ByteRange>& tokens, const std::vector<Span>& spans);

enum class SpanErrorKind { wrong_type, wrong_edge, wrong_type_and_edge, missed, spurious };
const char* name_of(SpanErrorKind kind);

/// A mistake: gold and predicted entity where they overlap, one of them where nothing does.
struct SpanError {
  SpanErrorKind kind = SpanErrorKind::missed;
  std::size_t sentence = 0;
  std::optional<Span> gold, predicted;
  std::optional<double> certainty{};  // probability that the model gave to what it read here, where that is known
};

struct NerScores {
  NerMode mode = NerMode::conll;
  std::size_t sentences = 0, tokens = 0, tokens_correct = 0;
  bool characters = false;  // `tokens` counts characters: the files had no tokens of their own
  ScoreByLabel types;
  Score micro;
  Average macro, weighted;
  std::optional<double> character_macro_f1;        // klue only
  std::size_t ignored_gold_tags = 0;               // strict and klue: tags outside any well-formed entity
  std::vector<std::vector<Span>> gold, predicted;  // what was compared, by sentence
  std::vector<SpanError> errors;                   // by sentence; within one, by kind, then position
  Confusion confusion;
  std::optional<Interval> f1_interval;     // of the headline
  std::optional<Calibration> calibration;  // where it was asked for

  double accuracy() const { return tokens ? static_cast<double>(tokens_correct) / static_cast<double>(tokens) : 0; }
  double f1() const { return mode == NerMode::klue ? macro.f1 : micro.f1(); }
};

/// Entities of tag sequences, one per sentence; both sides must have the same number of sentences and of tags in each.
/// klue mode takes the sequences as they are: leave the spaces out first.
NerScores score_tags(const std::vector<Tags>& gold, const std::vector<Tags>& predicted, const NerOptions& options);

/// Entities given as spans: correct where begin, end and label agree. No accuracy, since there are no tokens.
NerScores score_spans(const std::vector<std::vector<Span>>& gold, const std::vector<std::vector<Span>>& predicted,
                      const NerOptions& options);

/// Documents, paired by position. A side with tags is read by `mode`'s rules, a side without gives its spans; the
/// spans of errors are byte ranges of the gold text. Throws DataError where the two sides do not belong together.
NerScores evaluate_ner(const std::vector<Document>& gold, const std::vector<Document>& predicted,
                       const NerOptions& options);

// ---- Classes ----

struct TcError {
  std::size_t document = 0;
  std::vector<std::string> gold, predicted;
  std::optional<double> certainty{};  // as SpanError's
};

struct TcScores {
  bool multi_label = false;  // some document has no class, or several
  std::size_t documents = 0, exact = 0;
  ScoreByLabel labels;
  Score micro;
  Average macro, weighted;
  Confusion confusion;  // empty for multi-label
  std::vector<TcError> errors;
  std::optional<Interval> accuracy_interval, f1_interval;
  std::optional<Calibration> calibration;  // where it was asked for

  /// For multi-label this is subset accuracy: every class of the document right.
  double accuracy() const { return documents ? static_cast<double>(exact) / static_cast<double>(documents) : 0; }
  double f1() const { return macro.f1; }
};

TcScores evaluate_tc(const std::vector<Document>& gold, const std::vector<Document>& predicted, Bootstrap bootstrap);

}  // namespace bib
