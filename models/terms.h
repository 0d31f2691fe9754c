// Terms of a dictionary in texts: a trie over units, so that a text is searched in a time that hardly depends on how
// many terms there are.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bib/config.h"
#include "bib/document.h"
#include "models/vocabulary.h"

namespace bib {

/// A unit of a text or of a term as it is compared: in NFC, in lower case where the model reads lower case. Of a
/// syllable model, white space tells two units apart, and letters and digits of scripts that are written with spaces
/// hold together: `ai` is no part of `said`.
struct TermUnit {
  std::string key;
  bool spaced = false;  // white space stands before it, and a unit
  bool joined = false;  // it goes on with the word of the unit before it
};
std::vector<TermUnit> term_units(const Config& config, std::string_view text, std::span<const ByteRange> units);

/// Units [begin, end) of a text are this term.
struct TermMatch {
  int begin = 0, end = 0, term = 0;
  bool operator==(const TermMatch&) const = default;
};

class TermTrie {
 public:
  TermTrie();
  /// The term's number, from 0: that of an equal one that is there, or the next. A term has at least one unit.
  int add(std::span<const TermUnit> term);
  int size() const { return terms_; }
  /// The terms of a text from left to right: where one may begin the longest one, and the search goes on behind it.
  std::vector<TermMatch> find(std::span<const TermUnit> text) const;

 private:
  struct Edge {
    std::uint64_t from = 0;  // node and symbol; 0: free
    int to = 0;
  };
  std::size_t slot(std::uint64_t from) const;
  int child(int node, int symbol) const { return edges_[slot(edge(node, symbol))].to; }  // 0: none
  int grow(int node, int symbol);
  void rehash();
  static std::uint64_t edge(int node, int symbol) {
    return static_cast<std::uint64_t>(node) << 32 | static_cast<std::uint32_t>(symbol);
  }
  int symbol_of(const std::string& key) const;  // 0: no term has it

  std::unordered_map<std::string, int, StringHash, std::equal_to<>> symbols_;  // keys of units, from 2
  std::vector<Edge> edges_;                                                    // linear probing, at most half full
  std::vector<int> term_of_;  // by node, -1: no term ends there; node 0 is the root
  int terms_ = 0;
};

}  // namespace bib
