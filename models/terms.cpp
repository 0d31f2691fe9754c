#include "models/terms.h"

#include <bit>

#include "models/text.h"

namespace bib {
namespace {

constexpr int space_symbol = 1;

/// By its first byte: letters and digits of ASCII, and U+00C0..U+07FF (Latin to Arabic), whose words are written with
/// spaces. Elsewhere a term may stand within a word, as a Korean name does before its particle.
bool holds_together(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c >= 0xC3 && c < 0xE0);
}

}  // namespace

std::vector<TermUnit> term_units(const Config& config, std::string_view text, std::span<const ByteRange> units) {
  const bool syllables = config.unit == Unit::syllable, fold = !syllables && config.lowercase;
  std::vector<TermUnit> out;
  out.reserve(units.size());
  bool letter_before = false;
  for (std::size_t i = 0; i < units.size(); ++i) {
    const std::string_view raw = text.substr(units[i].begin, units[i].end - units[i].begin);
    TermUnit unit{.key = composed(raw)};
    if (fold) unit.key = lower_case(unit.key);
    if (syllables) {
      const bool letter = holds_together(static_cast<unsigned char>(raw.front()));
      unit.spaced = i > 0 && units[i - 1].end < units[i].begin;
      unit.joined = letter && letter_before && !unit.spaced;
      letter_before = letter;
    }
    out.push_back(std::move(unit));
  }
  return out;
}

TermTrie::TermTrie() : edges_(1024), term_of_(1, -1) {}

std::size_t TermTrie::slot(std::uint64_t from) const {
  const std::size_t mask = edges_.size() - 1;
  std::size_t at = from * 0x9E3779B97F4A7C15u >> std::countl_zero(mask);  // Fibonacci hashing: the upper bits are mixed
  while (edges_[at].from != 0 && edges_[at].from != from) at = (at + 1) & mask;
  return at;
}

void TermTrie::rehash() {
  std::vector<Edge> old(2 * edges_.size());
  old.swap(edges_);
  for (const Edge& e : old)
    if (e.from != 0) edges_[slot(e.from)] = e;
}

int TermTrie::grow(int node, int symbol) {
  const std::uint64_t from = edge(node, symbol);
  Edge* e = &edges_[slot(from)];
  if (e->from == 0) {
    if (2 * term_of_.size() > edges_.size()) {
      rehash();
      e = &edges_[slot(from)];
    }
    *e = {from, static_cast<int>(term_of_.size())};
    term_of_.push_back(-1);
  }
  return e->to;
}

int TermTrie::symbol_of(const std::string& key) const {
  const auto found = symbols_.find(key);
  return found == symbols_.end() ? 0 : found->second;
}

int TermTrie::add(std::span<const TermUnit> term) {
  int node = 0;
  for (std::size_t i = 0; i < term.size(); ++i) {
    if (i > 0 && term[i].spaced) node = grow(node, space_symbol);
    const int next = static_cast<int>(symbols_.size()) + space_symbol + 1;
    node = grow(node, symbols_.try_emplace(term[i].key, next).first->second);
  }
  int& number = term_of_[static_cast<std::size_t>(node)];
  if (number < 0) number = terms_++;
  return number;
}

std::vector<TermMatch> TermTrie::find(std::span<const TermUnit> text) const {
  std::vector<TermMatch> out;
  const std::size_t n = text.size();
  std::vector<int> symbols(n);
  for (std::size_t i = 0; i < n; ++i) symbols[i] = symbol_of(text[i].key);
  for (std::size_t begin = 0; begin < n;) {
    TermMatch longest;
    if (!text[begin].joined) {
      int node = 0;
      for (std::size_t i = begin; i < n && symbols[i] != 0; ++i) {
        if (i > begin && text[i].spaced && (node = child(node, space_symbol)) == 0) break;
        if ((node = child(node, symbols[i])) == 0) break;
        const int term = term_of_[static_cast<std::size_t>(node)];
        if (term >= 0 && !(i + 1 < n && text[i + 1].joined))
          longest = {static_cast<int>(begin), static_cast<int>(i) + 1, term};
      }
    }
    if (longest.end > 0) out.push_back(longest);
    begin = longest.end > 0 ? static_cast<std::size_t>(longest.end) : begin + 1;
  }
  return out;
}

}  // namespace bib
