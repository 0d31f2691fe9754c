// Numbers in files and messages, alike whatever the locale of the program that bib is part of: printf, strtod and
// std::to_string follow it, and a German one would write 0,93.
#pragma once
#include <charconv>
#include <string>
#include <string_view>

namespace bib {

/// As printf's %.*f.
inline std::string fixed_text(double x, int digits) {
  char text[400];  // the largest number has 309 digits before the point
  return {text, std::to_chars(text, text + sizeof text, x, std::chars_format::fixed, digits).ptr};
}

/// The shortest text that reads back as the same number.
template <class T>
std::string exact_text(T x) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, x).ptr};
}

/// Reads what exact_text wrote, or printf's %a, and takes it off the text. Whether there was a number.
inline bool take_number(std::string_view& text, double& x) {
  const bool hex = text.starts_with("0x");
  const char* const begin = text.data() + (hex ? 2 : 0);
  const auto [end, error] =
      std::from_chars(begin, text.data() + text.size(), x, hex ? std::chars_format::hex : std::chars_format::general);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return error == std::errc{};
}

}  // namespace bib
