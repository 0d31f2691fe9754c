#include "train/encode.h"

#include <algorithm>

#include "bib/apart.h"

namespace bib {

std::vector<EncodedText> encode_apart(Context& ctx, const Features& features, std::span<const Document> documents) {
  constexpr std::size_t at_once = 16;
  std::vector<EncodedText> texts(documents.size());
  each_apart(ctx, static_cast<int>((documents.size() + at_once - 1) / at_once), [&](Context&, int piece) {
    const std::size_t begin = static_cast<std::size_t>(piece) * at_once;
    for (std::size_t i = begin; i < std::min(begin + at_once, documents.size()); ++i)
      texts[i] = features.encode(documents[i]);
  });
  return texts;
}

}  // namespace bib
