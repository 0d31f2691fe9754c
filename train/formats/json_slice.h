// Cuts JSON text into values without building them: large files are parsed a record at a time, and each record keeps
// the line it begins on. Linear, no recursion.
#pragma once
#include <algorithm>
#include <string_view>

namespace bib::formats {

inline std::size_t skip_json_blanks(std::string_view text, std::size_t at) {
  return std::min(text.find_first_not_of(" \t\r\n", at), text.size());
}

/// One past the value that begins at `at`. Where the text is not JSON, some place after `at` or the end; `cut` tells
/// whether the text ends inside an array or object.
inline std::size_t skip_json_value(std::string_view text, std::size_t at, bool* cut = nullptr) {
  std::size_t depth = 0;
  if (cut) *cut = false;
  do {
    at = depth == 0 ? at : std::min(text.find_first_of("\"[]{}", at), text.size());
    if (at >= text.size()) {
      if (cut) *cut = depth > 0;
      return at;
    }
    switch (text[at]) {
      case '"':
        for (++at; at < text.size() && text[at] != '"'; at += text[at] == '\\' ? 2 : 1) {
        }
        at = std::min(at + 1, text.size());
        break;
      case '[':
      case '{':
        ++depth;
        ++at;
        break;
      case ']':
      case '}':
        if (depth > 0) --depth;
        ++at;
        break;
      default: at = std::min(text.find_first_of(",]} \t\r\n", at + 1), text.size());
    }
  } while (depth > 0);
  return at;
}

constexpr std::size_t deepest_json = 200;  // of no data that annotate texts

/// Whether arrays and objects nest deeper than that. Parsing them would do no harm, but copying or printing the value
/// takes a frame of the stack for each level, and a file of some hundred kilobytes can use all of it up.
inline bool is_too_deep_json(std::string_view text) {
  const auto opened = std::count(text.begin(), text.end(), '[') + std::count(text.begin(), text.end(), '{');
  if (opened <= static_cast<std::ptrdiff_t>(deepest_json)) return false;  // as good as always, and at once
  std::size_t depth = 0;
  for (std::size_t at = 0; (at = text.find_first_of("\"[]{}", at)) != std::string_view::npos; ++at) {
    if (text[at] == '"') {
      for (++at; at < text.size() && text[at] != '"'; at += text[at] == '\\' ? 2 : 1) {
      }
    } else if (text[at] == '[' || text[at] == '{') {
      if (++depth > deepest_json) return true;
    } else if (depth > 0) {
      --depth;
    }
  }
  return false;
}

/// What a message of nlohmann's says, without its number, its place and what it read last.
inline std::string_view json_error_reason(std::string_view what) {
  if (const std::size_t syntax = what.find("syntax error"); syntax != what.npos) {
    what.remove_prefix(syntax);
  } else if (what.starts_with('[')) {
    what.remove_prefix(std::min(what.find("] ") + 2, what.size()));
  }
  return what.substr(0, what.find("; last read"));
}

/// Calls `use(value)` for each element of the array `text`, or `use(key, value)` for each member of the object.
/// Returns false where the text is cut or no JSON, after the values before that place.
template <class Use>
bool for_each_element(std::string_view text, Use use) {
  if (!text.starts_with('[')) return false;
  std::size_t at = skip_json_blanks(text, 1);
  while (at < text.size() && text[at] != ']') {
    const std::size_t end = skip_json_value(text, at);
    use(text.substr(at, end - at));
    at = skip_json_blanks(text, end);
    if (at < text.size() && text[at] == ',')
      at = skip_json_blanks(text, at + 1);
    else if (at >= text.size() || text[at] != ']')
      return false;
  }
  return at < text.size();
}

template <class Use>
bool for_each_member(std::string_view text, Use use) {
  if (!text.starts_with('{')) return false;
  std::size_t at = skip_json_blanks(text, 1);
  while (at < text.size() && text[at] == '"') {
    const std::size_t key_end = skip_json_value(text, at);
    const std::string_view key = text.substr(at + 1, std::max(key_end, at + 2) - at - 2);
    at = skip_json_blanks(text, key_end);
    if (at >= text.size() || text[at] != ':') return false;
    at = skip_json_blanks(text, at + 1);
    const std::size_t end = skip_json_value(text, at);
    use(key, text.substr(at, end - at));
    at = skip_json_blanks(text, end);
    if (at < text.size() && text[at] == ',') at = skip_json_blanks(text, at + 1);
  }
  return at < text.size() && text[at] == '}';
}

}  // namespace bib::formats
