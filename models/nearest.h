// The name that was probably meant, for messages that refuse one.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace bib {

/// The candidate with the fewest edits from `name`, of which going on from it is one, as is swapping two neighbours;
/// empty when all differ by half of it or more. A short name may differ by one edit.
std::string nearest(std::string_view name, std::span<const std::string> candidates);

}  // namespace bib
