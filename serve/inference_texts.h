// The texts of an Open Inference request.
#pragma once
#include <string>
#include <vector>

#include "open_inference.pb.h"

namespace bib::serve {

/// From inputs[0].contents or raw_input_contents[0]. Throws Refusal INVALID_ARGUMENT naming the field.
std::vector<std::string> texts_of(const inference::ModelInferRequest& request);

}  // namespace bib::serve
