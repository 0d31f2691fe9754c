// Scores as text for people, as JSON for programs, and single mistakes as JSON lines.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "train/metrics.h"

namespace bib {

/// The layout of conlleval.pl, digit for digit.
std::string conlleval_text(const NerScores& scores);

/// conll mode: conlleval_text, then averages, interval and kinds of mistakes; other modes: a table first.
std::string report_text(const NerScores& scores);
std::string report_text(const TcScores& scores);

/// One JSON object, rates as fractions.
std::string report_json(const NerScores& scores);
std::string report_json(const TcScores& scores);

/// One JSON object a mistake, with its file where file_of tells it. Offsets are code points of the gold text.
std::string errors_jsonl(const NerScores& scores, const std::vector<Document>& gold, const FileOf& file_of = {});
std::string errors_jsonl(const TcScores& scores, const std::vector<Document>& gold, const FileOf& file_of = {});

/// The figures that a gate may name, as fractions: f1 (the mode's headline; macro F1 for classes), precision, recall,
/// accuracy, micro-f1, macro-f1, weighted-f1, char-f1 (klue).
std::map<std::string, double> figures(const NerScores& scores);
std::map<std::string, double> figures(const TcScores& scores);

std::map<SpanErrorKind, std::size_t> count_kinds(const NerScores& scores);

}  // namespace bib
