// A row of the grid, as its name asks for it.
#pragma once
#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>
#include <string>

namespace bib::bench {

/// lstm_forward/h256/b32/t64/padded: op, sizes by their letter, other words. embedding_adam has sizes v, e and n,
/// models h, b, t and a number of steps, s; tests ask for small ones, without them they are those of the comparison.
struct Row {
  std::string name, op;
  std::map<char, int> size;
  bool ragged = false, strict = false, async = false, own = false, overlap = false, graphs = true;
  std::string tile, warp;  // BIB_LSTM_TILE, BIB_LSTM_WARP
  int rigged = 0;          // the comparison that must fail

  explicit Row(const std::string& text) : name(text) {
    std::istringstream in(text);
    std::getline(in, op, '/');
    for (std::string part; std::getline(in, part, '/');) {
      if (part == "ragged")
        ragged = true;
      else if (part == "strict")
        strict = true;
      else if (part == "async")
        async = true;
      else if (part == "own")
        own = true;
      else if (part == "overlap")
        overlap = true;
      else if (part == "nographs")
        graphs = false;
      else if (part.starts_with("tile"))
        tile = part.substr(4);
      else if (part.starts_with("warp"))
        warp = part.substr(4);
      else if (part.starts_with("rigged"))
        rigged = std::stoi(part.substr(6));
      else if (part.size() > 1 && std::isdigit(static_cast<unsigned char>(part[1])))
        size[part[0]] = std::stoi(part.substr(1));
    }
  }
  /// As in torch_grid.py: from T down to T/8, evenly.
  int length(int b) const {
    const int T = size.at('t'), B = size.at('b');
    return ragged ? std::max(1, T - (T - T / 8) * b / std::max(1, B - 1)) : T;
  }
  int size_or(char letter, int usual) const { return size.contains(letter) ? size.at(letter) : usual; }
  bool is_lstm() const { return op.starts_with("lstm_"); }
  bool trains_model() const { return op == "textcnn_step" || op == "ner_step"; }
  /// Choices that leave all bits of an answer as they are, and those that leave only h's.
  bool chooses_order() const { return overlap || !graphs; }
  bool chooses_kernel() const { return async || !tile.empty() || !warp.empty(); }
  Row without_choices() const {
    Row plain = *this;
    plain.async = plain.own = plain.overlap = false, plain.graphs = true;
    plain.tile.clear(), plain.warp.clear();
    return plain;
  }
};

}  // namespace bib::bench
