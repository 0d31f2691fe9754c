// Documents as the ids that a model reads.
#pragma once
#include <span>
#include <vector>

#include "bib/context.h"
#include "models/features.h"

namespace bib {

/// On the context's threads; in the order of the documents.
std::vector<EncodedText> encode_apart(Context& ctx, const Features& features, std::span<const Document> documents);

}  // namespace bib
