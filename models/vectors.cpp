// Reading word vectors in one pass over the mapped file. Numbers are parsed for kept rows alone, fields counted in all.
#include "models/vectors.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "models/mapped_file.h"
#include "models/text.h"

namespace bib {

namespace {

constexpr int largest_dimension = 100'000;
constexpr std::string_view separators = " \t";

/// The whole text as a number; false when it is none. Infinity and NaN are numbers here.
template <class T>
bool parse(std::string_view text, T& value) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

std::string_view trim_end(std::string_view line) {
  while (!line.empty() && (separators.find(line.back()) != std::string_view::npos || line.back() == '\r')) {
    line.remove_suffix(1);
  }
  return line;
}

std::int64_t count_fields(std::string_view line) {
  std::int64_t fields = 0;
  bool inside = false;
  for (const char c : line) {
    const bool separator = c == ' ' || c == '\t';
    fields += !separator && !inside;
    inside = !separator;
  }
  return fields;
}

/// Takes the last field off the line, with the separators before it.
std::string_view take_last(std::string_view& line) {
  const std::size_t at = line.find_last_of(separators);
  const std::string_view field = line.substr(at == std::string_view::npos ? 0 : at + 1);
  line = trim_end(line.substr(0, at == std::string_view::npos ? 0 : at));
  return field;
}

struct Rows {
  PretrainedVectors result;
  std::unordered_map<std::string_view, std::size_t> exact;
  std::unordered_multimap<std::string, std::size_t> lower;  // lower case of words that are not lower case themselves
  const ExtraWords& extra;
  std::unordered_set<std::string> extra_seen;
  std::vector<float> extra_values;

  /// The word's vector, parsed into the first row that wants it by `fill`, goes to every row that wants it.
  template <class Fill>
  void offer(const std::string& key, Fill&& fill) {
    const auto E = static_cast<std::size_t>(result.dimension);
    const float* source = nullptr;
    const auto put = [&](std::size_t row, std::uint8_t how) {
      std::uint8_t& found = result.found[row];
      if (found == 1 || found == how) return;  // an exact match beats lower case; the first of equals counts
      float* to = result.values.data() + row * E;
      if (source) {
        std::copy(source, source + E, to);
      } else {
        fill(to);
        source = to;
      }
      found = how;
    };
    if (const auto it = exact.find(key); it != exact.end()) put(it->second, 1);
    const auto [first, last] = lower.equal_range(key);
    for (auto it = first; it != last; ++it) put(it->second, 2);
    if (!exact.contains(key) && result.extra.size() < static_cast<std::size_t>(std::max(extra.limit, 0)) &&
        (!extra.wanted || extra.wanted(key)) && extra_seen.insert(key).second) {
      result.extra.push_back(key);
      extra_values.resize(result.extra.size() * E);
      fill(extra_values.data() + extra_values.size() - E);
    }
  }
};

class VectorReader {
 public:
  VectorReader(const std::string& path, std::string_view text, Rows& rows, int dimension)
      : path_(path), text_(text), rows_(rows), dimension_(dimension) {}

  void read() {
    refuse_other_formats();
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") text_.remove_prefix(3);
    const std::string_view rest = text_;
    std::string_view line = next_line();
    std::string_view head = line;
    const std::string_view second = take_last(head);
    int E = 0;
    const bool header = count_fields(line) == 2 && parse(head, promised_) && parse(second, E) && promised_ >= 0;
    if (!header) {
      text_ = rest;
      line_ = 0;
      E = static_cast<int>(std::min<std::int64_t>(count_fields(line) - 1, largest_dimension + 1));
    }
    start(E);
    if (header && is_binary()) {
      read_binary();
    } else {
      read_text();
    }
    if (header && rows_.result.rows_in_file != promised_) {
      fail("its first line promises " + std::to_string(promised_) + " rows, it has " +
           std::to_string(rows_.result.rows_in_file) + "; the file is incomplete, or that line is wrong");
    }
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError("vectors " + path_ + ":" + std::to_string(line_) + ": " + what);
  }

  void refuse_other_formats() {
    std::uint32_t magic = 0;
    if (text_.size() >= sizeof magic) std::memcpy(&magic, text_.data(), sizeof magic);
    if (magic == 793712314) fail("a fastText .bin model, which is not read; give the .vec file beside it");
    if ((magic & 0xFFFF) == 0x8B1F) fail("gzip-compressed; unpack it first: gunzip " + path_);
    if (magic == 0x04034B50) fail("a zip archive; unpack it first: unzip " + path_);
  }

  std::string_view next_line() {
    const std::size_t end = text_.find('\n');
    const std::string_view line = trim_end(text_.substr(0, end));
    text_.remove_prefix(end == std::string_view::npos ? text_.size() : end + 1);
    ++line_;
    return line;
  }

  void start(int E) {
    if (E < 1 || E > largest_dimension) {
      fail("expected 'rows dimension' or 'word number number ...'; this is no file of word vectors");
    }
    if (dimension_ != 0 && E != dimension_) {
      fail("vectors of dimension " + std::to_string(E) + ", expected " + std::to_string(dimension_));
    }
    rows_.result.dimension = E;
    rows_.result.values.assign(rows_.result.found.size() * static_cast<std::size_t>(E), 0.0f);
  }

  /// After a header: is what follows one text row of the right number of fields?
  bool is_binary() const {
    if (text_.empty()) return false;
    const std::size_t word = text_.find(' '), end = text_.find('\n');
    std::string_view line = trim_end(text_.substr(0, end));
    float number = 0;
    const bool text_row = count_fields(line) >= 2 && parse(take_last(line), number);
    return !text_row && word != std::string_view::npos;
  }

  void read_text() {
    const std::int64_t E = rows_.result.dimension;
    while (!text_.empty()) {
      std::string_view line = next_line();
      if (line.empty()) continue;
      ++rows_.result.rows_in_file;
      const std::int64_t fields = count_fields(line);
      if (fields < E + 1) {
        fail("a word and " + std::to_string(fields - 1) + " numbers, expected " + std::to_string(E) + " numbers");
      }
      if (fields == E + 1) {
        const std::size_t begin = line.find_first_not_of(separators);
        key_ = line.substr(begin, line.find_first_of(separators, begin) - begin);
      } else {
        std::string_view word = line;  // words with spaces exist (GloVe 840B): the last E fields are the numbers
        for (std::int64_t i = 0; i < E; ++i) take_last(word);
        key_ = word;
        float number = 0;
        if (parse(take_last(word), number)) {
          fail("more than the " + std::to_string(E) + " numbers of the rows before");
        }
      }
      rows_.offer(key_, [&](float* to) { parse_row(line, to); });
    }
  }

  void parse_row(std::string_view line, float* to) const {
    for (int i = rows_.result.dimension; i-- > 0;) {
      const std::string_view field = take_last(line);
      if (!parse(field, to[i]) || !std::isfinite(to[i])) {
        fail("'" + std::string(field.substr(0, 40)) + "' at number " + std::to_string(i + 1) + " of '" + key_ +
             "' is not a finite number");
      }
    }
  }

  void read_binary() {
    const std::size_t row_bytes = static_cast<std::size_t>(rows_.result.dimension) * sizeof(float);
    for (; rows_.result.rows_in_file < promised_; ++rows_.result.rows_in_file) {
      ++line_;  // the row, in a file without lines
      if (!text_.empty() && text_.front() == '\n') text_.remove_prefix(1);
      const std::size_t space = text_.find(' ');
      if (space == std::string_view::npos || text_.size() - space - 1 < row_bytes) {
        fail("the file ends inside row " + std::to_string(rows_.result.rows_in_file + 1) + " of " +
             std::to_string(promised_) + "; it is incomplete");
      }
      key_ = text_.substr(0, space);
      const char* numbers = text_.data() + space + 1;
      rows_.offer(key_, [&](float* to) {
        std::memcpy(to, numbers, row_bytes);
        if (!std::all_of(to, to + rows_.result.dimension, [](float x) { return std::isfinite(x); })) {
          fail("row " + std::to_string(rows_.result.rows_in_file + 1) + " ('" + key_ +
               "') holds a number that is not finite");
        }
      });
      text_.remove_prefix(space + 1 + row_bytes);
    }
    if (text_.find_first_not_of("\n") != std::string_view::npos) {
      fail("more bytes than the " + std::to_string(promised_) + " rows that the first line promises");
    }
  }

  const std::string& path_;
  std::string_view text_;  // what is left
  Rows& rows_;
  int dimension_;
  std::int64_t promised_ = 0;
  std::size_t line_ = 0;
  std::string key_;
};

}  // namespace

double PretrainedVectors::missing() const {
  const std::vector<std::int32_t> ones(found.size(), 1);
  return missing(ones);
}

double PretrainedVectors::missing(std::span<const std::int32_t> counts) const {
  double all = 0, absent = 0;
  for (std::size_t i = 0; i < std::min(found.size(), counts.size()); ++i) {
    if (!wanted_[i]) continue;
    all += counts[i];
    absent += found[i] ? 0 : counts[i];
  }
  return all > 0 ? absent / all : 0;
}

PretrainedVectors read_vectors(const std::string& path, std::span<const std::string> words, int dimension,
                               const ExtraWords& extra) {
  Rows rows{.result = {}, .exact = {}, .lower = {}, .extra = extra, .extra_seen = {}, .extra_values = {}};
  rows.result.found.assign(words.size(), 0);
  rows.result.wanted_.assign(words.size(), 0);
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].empty()) continue;
    rows.result.wanted_[i] = 1;
    rows.exact.emplace(words[i], i);
    std::string lowered = lower_case(words[i]);
    if (lowered != words[i]) rows.lower.emplace(std::move(lowered), i);
  }
  MappedFile file;
  try {
    file = map_file(path, MapMode::sequential);
  } catch (const std::runtime_error& error) {
    throw DataError("vectors " + path + ": " + error.what() + "; a file of word vectors is expected");
  }
  const std::string_view text(reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size());
  VectorReader(path, text, rows, dimension).read();
  rows.result.values.insert(rows.result.values.end(), rows.extra_values.begin(), rows.extra_values.end());
  return std::move(rows.result);
}

}  // namespace bib
