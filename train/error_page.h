// Mistakes as one HTML file that needs nothing else: no network, no fonts, no other files.
#pragma once
#include <string>
#include <vector>

#include "train/metrics.h"

namespace bib {

struct ErrorPageOptions {
  std::string gold_name, predicted_name;  // what was compared, for the heading
  FileOf file_of{};                       // where the gold documents come from several files
  std::size_t limit = 2000;               // texts shown; more make a page that browsers scroll badly
};

/// Every sentence with a mistake, gold above prediction, filtered by kind, type and text; the confusion matrix, whose
/// cells are filters too; the most frequent mistakes. Everything that comes from the data is escaped.
std::string error_page(const NerScores& scores, const std::vector<Document>& gold, const ErrorPageOptions& options);
std::string error_page(const TcScores& scores, const std::vector<Document>& gold, const ErrorPageOptions& options);

}  // namespace bib
