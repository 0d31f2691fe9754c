// Documents to what the entity metrics compare: tags where the files have them, spans where they do not.
#include <algorithm>

#include "models/text.h"
#include "train/metrics.h"

namespace bib {

namespace {

bool has_tags(const Document& document) {
  return !document.tags.empty() && document.tags.size() == document.tokens.size();
}

bool any_tags(const std::vector<Document>& documents) {
  return std::any_of(documents.begin(), documents.end(), has_tags);
}

std::vector<ByteRange> tokens_of(const Document& document) {
  if (!document.tokens.empty()) return document.tokens;
  std::vector<ByteRange> tokens;
  for (const CodePoint& c : characters(document.text)) tokens.push_back(c.bytes);
  return tokens;
}

std::string place(const Document& document, std::size_t index) {
  std::string text = "sentence " + std::to_string(index + 1);
  if (document.line > 0) text += " (gold line " + std::to_string(document.line) + ")";
  return text;
}

void check_pairs(const std::vector<Document>& gold, const std::vector<Document>& predicted, bool by_tags) {
  const std::size_t shared = std::min(gold.size(), predicted.size());
  for (std::size_t i = 0; i < shared; ++i) {
    if (by_tags && gold[i].tokens.size() != predicted[i].tokens.size()) {
      throw DataError(place(gold[i], i) + ": gold has " + std::to_string(gold[i].tokens.size()) +
                      " tokens, the prediction has " + std::to_string(predicted[i].tokens.size()) + " (its line " +
                      std::to_string(predicted[i].line) + "); the two files must hold the same sentences");
    }
    if (!by_tags && gold[i].text != predicted[i].text) {
      throw DataError(place(gold[i], i) + ": gold and prediction are different texts (prediction line " +
                      std::to_string(predicted[i].line) + "); the two files must hold the same sentences");
    }
  }
  if (gold.size() != predicted.size()) {
    throw DataError("gold has " + std::to_string(gold.size()) + " sentences, the prediction has " +
                    std::to_string(predicted.size()) + "; the first " + std::to_string(shared) +
                    " agree, so one file is cut short");
  }
}

/// Token ranges to byte ranges of the text: what an error page can point at.
std::vector<Span> in_bytes(std::vector<Span> spans, const std::vector<ByteRange>& tokens) {
  for (Span& span : spans) {
    span.begin = tokens[span.begin].begin;
    span.end = tokens[span.end - 1].end;
  }
  return spans;
}

bool is_blank(std::string_view text) {
  const std::vector<CodePoint> points = decode(text);
  return std::all_of(points.begin(), points.end(), [](const CodePoint& c) { return is_space(c.value); });
}

/// Both sides of one document as tags over the gold tokens, the tokens being the same on both sides.
struct TaggedPair {
  std::vector<ByteRange> tokens;
  Tags gold, predicted;
};

TaggedPair tagged(const Document& gold, const Document& predicted, bool keep_file_tags) {
  TaggedPair pair{.tokens = tokens_of(gold), .gold = {}, .predicted = {}};
  pair.gold = keep_file_tags && has_tags(gold) ? gold.tags : iob2_tags(pair.tokens, gold.spans);
  pair.predicted = keep_file_tags && has_tags(predicted) ? predicted.tags : iob2_tags(pair.tokens, predicted.spans);
  return pair;
}

/// The KLUE scorer sees no spaces: an entity continues across one.
void leave_out_spaces(TaggedPair& pair, const std::string& text) {
  TaggedPair kept;
  for (std::size_t t = 0; t < pair.tokens.size(); ++t) {
    const ByteRange token = pair.tokens[t];
    if (is_blank(std::string_view(text).substr(token.begin, token.end - token.begin))) continue;
    kept.tokens.push_back(token);
    kept.gold.push_back(std::move(pair.gold[t]));
    kept.predicted.push_back(std::move(pair.predicted[t]));
  }
  pair = std::move(kept);
}

/// Spans of a side for comparison in bytes.
std::vector<Span> byte_spans(const Document& document, const std::vector<ByteRange>& tokens,
                             const NerOptions& options) {
  if (!has_tags(document)) return document.spans;
  return in_bytes(spans_of_tags(document.tags, options.mode, *options.scheme), tokens);
}

NerScores evaluate_by_spans(const std::vector<Document>& gold, const std::vector<Document>& predicted,
                            NerOptions options) {
  if (!options.scheme) {
    std::vector<Tags> all;
    for (const auto* side : {&gold, &predicted}) {
      for (const Document& document : *side) all.push_back(document.tags);
    }
    options.scheme = detect_scheme(all);
  }
  std::vector<std::vector<Span>> gold_spans, predicted_spans;
  std::size_t tokens = 0, correct = 0;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    Document gold_side{.text = gold[i].text, .tokens = gold[i].tokens}, predicted_side = gold_side;
    gold_side.spans = byte_spans(gold[i], gold[i].tokens, options);
    predicted_side.spans = byte_spans(predicted[i], gold[i].tokens, options);
    const TaggedPair pair = tagged(gold_side, predicted_side, false);
    tokens += pair.tokens.size();
    for (std::size_t t = 0; t < pair.tokens.size(); ++t) correct += pair.gold[t] == pair.predicted[t];
    gold_spans.push_back(std::move(gold_side.spans));
    predicted_spans.push_back(std::move(predicted_side.spans));
  }
  NerScores scores = score_spans(gold_spans, predicted_spans, options);
  scores.tokens = tokens;
  scores.tokens_correct = correct;
  scores.characters =
      std::all_of(gold.begin(), gold.end(), [](const Document& document) { return document.tokens.empty(); });
  return scores;
}

NerScores evaluate_by_tags(const std::vector<Document>& gold, const std::vector<Document>& predicted,
                           const NerOptions& options) {
  std::vector<std::vector<ByteRange>> tokens;
  std::vector<Tags> gold_tags, predicted_tags;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    TaggedPair pair = tagged(gold[i], predicted[i], true);
    if (options.mode == NerMode::klue) leave_out_spaces(pair, gold[i].text);
    tokens.push_back(std::move(pair.tokens));
    gold_tags.push_back(std::move(pair.gold));
    predicted_tags.push_back(std::move(pair.predicted));
  }
  NerScores scores = score_tags(gold_tags, predicted_tags, options);
  for (SpanError& error : scores.errors) {
    for (auto* span : {&error.gold, &error.predicted}) {
      if (*span) *span = in_bytes({**span}, tokens[error.sentence]).front();
    }
  }
  for (std::size_t i = 0; i < gold.size(); ++i) {
    scores.gold[i] = in_bytes(std::move(scores.gold[i]), tokens[i]);
    scores.predicted[i] = in_bytes(std::move(scores.predicted[i]), tokens[i]);
  }
  return scores;
}

}  // namespace

NerScores evaluate_ner(const std::vector<Document>& gold, const std::vector<Document>& predicted,
                       const NerOptions& options) {
  const bool both_tagged = any_tags(gold) && any_tags(predicted);
  check_pairs(gold, predicted, both_tagged);
  for (std::size_t i = 0; i < gold.size(); ++i) {
    if (!gold[i].annotated) {
      throw DataError(place(gold[i], i) + ": gold is not annotated, so that nothing can be compared with it");
    }
  }
  if (both_tagged || options.mode == NerMode::klue) return evaluate_by_tags(gold, predicted, options);
  return evaluate_by_spans(gold, predicted, options);
}

}  // namespace bib
