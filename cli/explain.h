// What bib, bib-serve and bib-client say when the command line makes no sense.
#pragma once
#include <CLI/CLI.hpp>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

namespace bib::cli {

/// "bib train ner"
std::string path_of(const CLI::App& verb);
/// The names of an app's subcommands.
std::vector<std::string> verbs_of(const CLI::App& app);
/// What is wrong with an argument that nothing took, with the name that was probably meant.
std::string refusal(const CLI::App& verb, const std::string& argument);

/// What is wrong with the command line of which verb, with the name that was probably meant.
struct Fault {
  std::string verb, what;
};
Fault fault_of(const CLI::App& app, const CLI::ParseError& error);
/// Prints what is wrong with the command line, the name that was probably meant, and where help is. Returns the exit
/// code; 0 for --help and the like, which arrive as errors too.
int explain(const CLI::App& app, const CLI::ParseError& error);

/// A number from `least` to `most`. CLI::Range lets NaN pass.
template <class Number>
CLI::Validator in_range(Number least, Number most) {
  std::ostringstream range;
  range << least << " to " << most;
  return CLI::Validator(
      [=, range = range.str()](const std::string& text) {
        Number value{};
        if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most) return std::string();
        return text + " is no " + (std::is_integral_v<Number> ? "whole number" : "number") + " from " + range;
      },
      range.str());
}

/// Throws CLI::ValidationError for a flag or an argument whose value is "", as that of a shell's variable that is not
/// set: `--base "$BASE"` must not train a new model in silence, nor `--tokens "$TOKENS"` open a server.
void refuse_empty(const CLI::App& app);

}  // namespace bib::cli
