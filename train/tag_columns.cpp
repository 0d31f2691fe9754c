#include "train/tag_columns.h"

#include <algorithm>

#include "bib/error.h"

namespace bib {

namespace {

constexpr std::string_view blanks = " \t\r\v\f";

bool is_blank(std::string_view line) { return line.find_first_not_of(blanks) == std::string_view::npos; }

/// A tab file may hold blanks inside a column, and its token may even be the blank itself.
std::vector<std::string_view> columns_of(std::string_view line) {
  line = line.substr(0, line.find_last_not_of(blanks) + 1);
  std::vector<std::string_view> columns;
  if (line.find('\t') != std::string_view::npos) {
    for (std::size_t begin = 0; begin <= line.size();) {
      const std::size_t end = std::min(line.find('\t', begin), line.size());
      columns.push_back(line.substr(begin, end - begin));
      begin = end + 1;
    }
    return columns;
  }
  for (std::size_t begin = line.find_first_not_of(blanks); begin < line.size();) {
    const std::size_t end = std::min(line.find_first_of(blanks, begin), line.size());
    columns.push_back(line.substr(begin, end - begin));
    begin = std::min(line.find_first_not_of(blanks, end), line.size());
  }
  return columns;
}

/// Calls `use(line number, line)` for every line, without its end of line.
template <typename Use>
void each_line(std::string_view content, Use use) {
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  if (content.substr(0, 3) == byte_order_mark) content.remove_prefix(3);
  std::size_t number = 0;
  while (!content.empty()) {
    const std::size_t end = std::min(content.find('\n'), content.size());
    use(++number, content.substr(0, end));
    content.remove_prefix(std::min(end + 1, content.size()));
  }
}

bool ends_sentence(std::string_view line) { return is_blank(line) || line.substr(0, 10) == "-DOCSTART-"; }

/// Tokens joined to a text: with nothing between them where the blank is itself a token, with a blank otherwise.
void set_text(Document& document, const std::vector<std::string_view>& tokens, bool blank_is_token) {
  for (const std::string_view token : tokens) {
    if (!document.text.empty() && !blank_is_token) document.text += ' ';
    const std::size_t begin = document.text.size();
    document.text += token;
    document.tokens.push_back({begin, document.text.size()});
  }
}

struct Block {
  std::size_t line = 0;
  std::vector<std::string_view> tokens, tags;
};

}  // namespace

std::size_t count_tag_columns(std::string_view content) {
  std::size_t count = 0;
  each_line(content, [&](std::size_t, std::string_view line) {
    if (count == 0 && !ends_sentence(line)) count = columns_of(line).size();
  });
  return count;
}

std::vector<Document> read_tag_columns(std::string_view content, const std::string& name, std::size_t from_end) {
  std::vector<Block> blocks(1);
  std::size_t expected = 0, first_line = 0;
  bool blank_is_token = false;
  each_line(content, [&](std::size_t number, std::string_view line) {
    Block& block = blocks.back();
    if (ends_sentence(line)) {
      if (!block.tokens.empty()) blocks.emplace_back();
      return;
    }
    const std::vector<std::string_view> columns = columns_of(line);
    if (expected == 0) {
      expected = columns.size();
      first_line = number;
    }
    const std::string where = name + ":" + std::to_string(number) + ": ";
    if (columns.size() < std::max<std::size_t>(2, from_end + 1)) {
      throw DataError(where + std::to_string(columns.size()) + " column, expected at least " +
                      std::to_string(std::max<std::size_t>(2, from_end + 1)) + " (a token and its tags)");
    }
    if (columns.size() != expected) {
      throw DataError(where + std::to_string(columns.size()) + " columns, expected " + std::to_string(expected) +
                      " as in line " + std::to_string(first_line));
    }
    if (block.tokens.empty()) block.line = number;
    block.tokens.push_back(columns.front());
    block.tags.push_back(columns[columns.size() - 1 - from_end]);
    blank_is_token |= is_blank(columns.front());
  });
  if (blocks.back().tokens.empty()) blocks.pop_back();

  std::vector<Document> documents;
  for (const Block& block : blocks) {
    Document& document = documents.emplace_back();
    set_text(document, block.tokens, blank_is_token);
    document.tags.assign(block.tags.begin(), block.tags.end());
    document.annotated = true;
    document.line = block.line;
  }
  return documents;
}

}  // namespace bib
