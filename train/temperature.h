// Temperature scaling (Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017): all
// scores are divided by one number T, for which the negative log-likelihood (NLL) of held-out data is least. The order
// of readings and classes stays; probabilities move towards even ones (T > 1) or away from them (T < 1). A trained
// model's last parameters are divided, so that predicting knows nothing of it.
#pragma once
#include <functional>
#include <vector>

#include "bib/context.h"
#include "bib/document.h"

namespace bib {

struct Temperature {
  double value = 1;
  double before = 0, after = 0;  // mean NLL of the data at 1 and at `value`
};

/// Golden-section search over log T (Kiefer, 1953), with a fixed number of steps. `nll`, a mean over `examples`, is
/// given 1/T. A few examples that a model gets all right would ask for T = 0, so that T has a prior: log T is normal
/// about 0 with deviation 1/2, which weighs as much as an example or two.
Temperature best_temperature(const std::function<double(double)>& nll, std::size_t examples);

/// Batches of examples: their scores, and their losses [B] when all scores of the model are multiplied by `factor`.
struct ScoredBatches {
  std::size_t examples = 0;
  int batches = 0;
  std::function<std::vector<real>(Context&, int batch)> scores;
  std::function<View<real, 1>(Context&, int batch, const std::vector<real>& scores, real factor)> loss;
};
Temperature best_temperature(Context& ctx, const ScoredBatches& data);

/// values * factor, in the context's arena.
View<real, 1> times(Context& ctx, std::vector<real> values, real factor);

/// What of a dev set a temperature is found by: it is one number, so that 2,000 texts of a large one give it as well.
std::vector<Document> temperature_sample(const std::vector<Document>& dev);

}  // namespace bib
