// CPU or GPU: what `bib bench --advise` measured on this machine, kept for `--device auto`.
#pragma once
#include <optional>
#include <string>

namespace bib {

struct Advice {
  std::string machine;             // fingerprint()
  std::string one_text = "cpu";    // the faster device for one text at a time: cpu or cuda
  std::string many_texts = "cpu";  // for the largest batch measured
  int crossover = 0;               // the batch from which the GPU stays ahead; 0: it never does
  std::string verdict;             // a paragraph for people
};

/// ${XDG_CACHE_HOME:-~/.cache}/bib/advice.json; empty where neither is set.
std::string advice_path();

/// What is known of a machine. A file that is missing or cannot be read is no advice.
std::optional<Advice> read_advice(const std::string& path, const std::string& machine);

/// Puts the advice beside that of other machines (a home may be shared). Throws std::runtime_error when the file cannot
/// be written.
void write_advice(const std::string& path, const Advice& advice);

}  // namespace bib
