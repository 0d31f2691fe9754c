// Entities against gold: counts, averages, the interval, and what kind of mistake each mistake is.
#include <algorithm>
#include <tuple>

#include "train/metrics.h"

namespace bib {

const char* name_of(SpanErrorKind kind) {
  switch (kind) {
    case SpanErrorKind::wrong_type: return "wrong type";
    case SpanErrorKind::wrong_edge: return "wrong edge";
    case SpanErrorKind::wrong_type_and_edge: return "wrong type and edge";
    case SpanErrorKind::missed: return "missed";
    case SpanErrorKind::spurious: return "spurious";
  }
  return "";
}

namespace {

using SpansBySentence = std::vector<std::vector<Span>>;

/// What one sentence adds to one type: the bootstrap sums these instead of comparing spans again.
struct TypeCount {
  std::size_t type = 0;
  Score score;
};

std::size_t overlap(const Span& a, const Span& b) {
  const std::size_t begin = std::max(a.begin, b.begin), end = std::min(a.end, b.end);
  return end > begin ? end - begin : 0;
}

SpanErrorKind kind_of(const Span& gold, const Span& predicted) {
  const bool edges = gold.begin == predicted.begin && gold.end == predicted.end;
  if (edges) return SpanErrorKind::wrong_type;
  return gold.label == predicted.label ? SpanErrorKind::wrong_edge : SpanErrorKind::wrong_type_and_edge;
}

/// Pairs what is left of gold and predicted, each at most once: same range first, then same type, then any overlap;
/// within a kind the largest overlap first, the leftmost on a tie.
std::vector<SpanError> explain(std::size_t sentence, const std::vector<Span>& gold,
                               const std::vector<Span>& predicted) {
  struct Candidate {
    SpanErrorKind kind;
    std::size_t shared, g, p;
  };
  std::vector<Candidate> candidates;
  for (std::size_t g = 0; g < gold.size(); ++g) {
    for (std::size_t p = 0; p < predicted.size(); ++p) {
      const std::size_t shared = overlap(gold[g], predicted[p]);
      if (shared > 0) candidates.push_back({kind_of(gold[g], predicted[p]), shared, g, p});
    }
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::tuple(a.kind, b.shared, a.g, a.p) < std::tuple(b.kind, a.shared, b.g, b.p);
  });
  std::vector<SpanError> errors;
  std::vector<bool> gold_used(gold.size()), predicted_used(predicted.size());
  for (const Candidate& c : candidates) {
    if (gold_used[c.g] || predicted_used[c.p]) continue;
    gold_used[c.g] = predicted_used[c.p] = true;
    errors.push_back({c.kind, sentence, gold[c.g], predicted[c.p]});
  }
  for (std::size_t g = 0; g < gold.size(); ++g) {
    if (!gold_used[g]) errors.push_back({SpanErrorKind::missed, sentence, gold[g], std::nullopt});
  }
  for (std::size_t p = 0; p < predicted.size(); ++p) {
    if (!predicted_used[p]) errors.push_back({SpanErrorKind::spurious, sentence, std::nullopt, predicted[p]});
  }
  return errors;
}

/// Without repetition, nested ones dropped as asked, sorted.
std::vector<Span> normalised(std::vector<Span> spans, Nested nested) {
  std::sort(spans.begin(), spans.end());
  spans.erase(std::unique(spans.begin(), spans.end()), spans.end());
  return flatten(std::move(spans), nested).kept;
}

std::size_t index_of(const std::vector<std::string>& labels, const std::string& label) {
  return static_cast<std::size_t>(std::lower_bound(labels.begin(), labels.end(), label) - labels.begin());
}

/// Compares sentence by sentence and gathers counts, mistakes and confusion.
class Comparison {
 public:
  explicit Comparison(NerScores& scores) : scores_(scores) {
    for (const auto* side : {&scores.gold, &scores.predicted}) {
      for (const auto& spans : *side) {
        for (const Span& span : spans) scores_.types.try_emplace(span.label);
      }
    }
    for (const auto& [label, score] : scores_.types) scores_.confusion.labels.push_back(label);
    const std::size_t n = scores_.confusion.labels.size() + 1;
    scores_.confusion.counts.assign(n, std::vector<std::size_t>(n));
    for (std::size_t i = 0; i < scores.gold.size(); ++i) add(i, scores.gold[i], scores.predicted[i]);
    for (const auto& sentence : by_sentence_) {
      for (const TypeCount& count : sentence) scores_.types[label_at(count.type)] += count.score;
    }
    scores_.confusion.labels.emplace_back();
  }

  const std::vector<std::vector<TypeCount>>& by_sentence() const { return by_sentence_; }

 private:
  void add(std::size_t sentence, const std::vector<Span>& gold, const std::vector<Span>& predicted) {
    std::map<std::size_t, Score> counts;
    std::vector<Span> missed, extra;
    for (const Span& span : gold) {
      Score& score = counts[type_of(span)];
      ++score.gold;
      if (std::find(predicted.begin(), predicted.end(), span) != predicted.end()) {
        ++score.correct;
        ++scores_.confusion.counts[type_of(span)][type_of(span)];
      } else {
        missed.push_back(span);
      }
    }
    for (const Span& span : predicted) {
      ++counts[type_of(span)].found;
      if (std::find(gold.begin(), gold.end(), span) == gold.end()) extra.push_back(span);
    }
    for (SpanError& error : explain(sentence, missed, extra)) {
      const std::size_t none = scores_.types.size();
      ++scores_.confusion
            .counts[error.gold ? type_of(*error.gold) : none][error.predicted ? type_of(*error.predicted) : none];
      scores_.errors.push_back(std::move(error));
    }
    auto& row = by_sentence_.emplace_back();
    for (const auto& [type, score] : counts) row.push_back({type, score});
  }

  std::size_t type_of(const Span& span) const {
    // While sentences are added, the labels are exactly the sorted types.
    return index_of(scores_.confusion.labels, span.label);
  }
  const std::string& label_at(std::size_t type) const { return scores_.confusion.labels[type]; }

  NerScores& scores_;
  std::vector<std::vector<TypeCount>> by_sentence_;
};

/// The headline of a sample of sentences.
double headline(NerMode mode, const std::vector<Score>& types) {
  Score total;
  double sum = 0;
  std::size_t seen = 0;
  for (const Score& score : types) {
    total += score;
    sum += score.f1();
    seen += score.gold + score.found > 0;
  }
  if (mode != NerMode::klue) return total.f1();
  return seen ? sum / static_cast<double>(seen) : 0;
}

void check_same_length(const char* what, std::size_t gold, std::size_t predicted) {
  if (gold == predicted) return;
  throw DataError(std::string("gold has ") + std::to_string(gold) + " " + what + ", the prediction has " +
                  std::to_string(predicted));
}

}  // namespace

NerScores score_spans(const SpansBySentence& gold, const SpansBySentence& predicted, const NerOptions& options) {
  check_same_length("sentences", gold.size(), predicted.size());
  NerScores scores;
  scores.mode = options.mode;
  scores.sentences = gold.size();
  for (std::size_t i = 0; i < gold.size(); ++i) {
    scores.gold.push_back(normalised(gold[i], options.nested));
    scores.predicted.push_back(normalised(predicted[i], options.nested));
  }
  const Comparison comparison(scores);
  scores.micro = micro_total(scores.types);
  scores.macro = macro_average(scores.types);
  scores.weighted = weighted_average(scores.types);
  const std::size_t types = scores.types.size();
  scores.f1_interval =
      bootstrap_interval(gold.size(), options.bootstrap, [&](const std::vector<std::uint32_t>& sample) {
        std::vector<Score> sums(types);
        for (const std::uint32_t sentence : sample) {
          for (const TypeCount& count : comparison.by_sentence()[sentence]) sums[count.type] += count.score;
        }
        return headline(options.mode, sums);
      });
  return scores;
}

namespace {

/// Tags that mean the same written the same way: "B_PS" and "PS-B" are "B-PS".
Tags canonical(const Tags& tags) {
  Tags out;
  FileTag parts;
  for (const std::string& tag : tags) {
    parts = parse_tag(tag, parts.label);
    out.push_back(parts.label.empty() ? tag : std::string(1, parts.letter) + "-" + std::string(parts.label));
  }
  return out;
}

/// sklearn's f1_score(average="macro", zero_division=1) over every character tag including O, as the KLUE baseline
/// calls it: a label of the set that occurs nowhere counts as 1. Each sentence adds two O that are right: the baseline
/// scores its start and end markers too.
/// The tags are canonical.
double klue_character_f1(const std::vector<Tags>& gold, const std::vector<Tags>& predicted) {
  static const std::vector<std::string> klue_types = {"DT", "LC", "OG", "PS", "QT", "TI"};
  ScoreByLabel labels;
  for (const std::string& type : klue_types) {
    labels["B-" + type];
    labels["I-" + type];
  }
  Score& outside = labels["O"];
  outside = {2 * gold.size(), 2 * gold.size(), 2 * gold.size()};
  for (std::size_t i = 0; i < gold.size(); ++i) {
    for (std::size_t t = 0; t < gold[i].size(); ++t) {
      ++labels[gold[i][t]].gold;
      ++labels[predicted[i][t]].found;
      labels[gold[i][t]].correct += gold[i][t] == predicted[i][t];
    }
  }
  const bool klue_set = labels.size() == 2 * klue_types.size() + 1;
  double sum = 0;
  std::size_t count = 0;
  for (const auto& [label, score] : labels) {
    const bool seen = score.gold + score.found > 0;
    if (!seen && !klue_set) continue;  // another tag set: its own labels only
    sum += seen ? score.f1() : 1;
    ++count;
  }
  return sum / static_cast<double>(count);
}

std::vector<Span> spans_or_throw(const Tags& tags, const NerOptions& options, std::size_t sentence, const char* side) {
  try {
    return spans_of_tags(tags, options.mode, *options.scheme);
  } catch (const TagError& e) {
    throw TagError(std::string(side) + ", sentence " + std::to_string(sentence + 1) + ", token " +
                       std::to_string(e.token + 1) + ": " + e.what(),
                   sentence, e.token);
  }
}

std::size_t tags_outside(const Tags& tags, const std::vector<Span>& spans) {
  std::size_t entity_tags = 0, covered = 0;
  for (const std::string& tag : tags) entity_tags += parse_tag(tag).letter != 'O';
  for (const Span& span : spans) covered += span.end - span.begin;
  return entity_tags - covered;
}

}  // namespace

NerScores score_tags(const std::vector<Tags>& gold, const std::vector<Tags>& predicted, const NerOptions& options) {
  check_same_length("sentences", gold.size(), predicted.size());
  NerOptions resolved = options;
  if (!resolved.scheme) {
    resolved.scheme = detect_scheme(gold);
    if (resolved.scheme == Scheme::iob2) resolved.scheme = detect_scheme(predicted);
  }
  SpansBySentence gold_spans, predicted_spans;
  std::vector<Tags> gold_tags, predicted_tags;
  std::size_t tokens = 0, correct = 0, ignored = 0;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    if (gold[i].size() != predicted[i].size()) {
      throw DataError("sentence " + std::to_string(i + 1) + ": gold has " + std::to_string(gold[i].size()) +
                      " tokens, the prediction has " + std::to_string(predicted[i].size()));
    }
    gold_spans.push_back(spans_or_throw(gold[i], resolved, i, "gold"));
    predicted_spans.push_back(spans_or_throw(predicted[i], resolved, i, "prediction"));
    gold_tags.push_back(canonical(gold[i]));
    predicted_tags.push_back(canonical(predicted[i]));
    tokens += gold[i].size();
    for (std::size_t t = 0; t < gold[i].size(); ++t) correct += gold_tags[i][t] == predicted_tags[i][t];
    ignored += tags_outside(gold[i], gold_spans[i]);
  }
  NerScores scores = score_spans(gold_spans, predicted_spans, resolved);
  scores.tokens = tokens;
  scores.tokens_correct = correct;
  scores.ignored_gold_tags = ignored;
  if (options.mode == NerMode::klue) scores.character_macro_f1 = klue_character_f1(gold_tags, predicted_tags);
  return scores;
}

}  // namespace bib
