// Several trainings beside each other: what each scored, and how far the scores spread.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace bib::cli {

struct FinishedRun {
  std::string name;
  double score = 0;  // a fraction
  int epoch = 0;
  std::optional<double> seconds{};  // where they are known
};

struct Spread {
  double mean = 0;
  std::optional<double> deviation{};  // of a sample; none of less than two
};
Spread spread_of(const std::vector<double>& values);

/// A line a run, then the mean. `what` heads the names, `kept` is the number of the run whose model is kept.
std::string run_table(const std::string& what, const std::string& metric, const std::vector<FinishedRun>& runs,
                      std::optional<std::size_t> kept = {});

}  // namespace bib::cli
