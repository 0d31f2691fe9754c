// Inline annotation of one text, for whoever writes it.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "bib/document.h"

namespace bib::formats {

/// `<서울:LC>에 간다`. Reads back exactly where the labels are tags and the text is one line: brackets of the text that
/// would read as annotation are written `\<` and `\>`. Spans are sorted, outer ones first, and do not cross.
std::string to_inline(std::string_view text, std::span<const Span> spans);

}  // namespace bib::formats
