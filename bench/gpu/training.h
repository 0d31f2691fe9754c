// Rows that train a whole model.
#pragma once
#include <string>
#include <vector>

#include "bench/gpu/row.h"
#include "bib/context.h"

namespace bib::bench {

/// What a training gave.
struct Trained {
  double microseconds = 0;  // of a step, the first tenth left out
  std::vector<double> losses;
  std::string model;  // its file
};

/// With the trainer, on random documents.
Trained trained(Context& ctx, const Row& row);

/// Throws WrongAnswer where losses or the model's bytes differ. `whose`: "in another run".
void expect_same(const Trained& got, const Trained& other, const std::string& whose);

}  // namespace bib::bench
