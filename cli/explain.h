// What bib, bib-serve and bib-client say when the command line makes no sense.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace bib::cli {

/// "bib train ner"
std::string path_of(const CLI::App& verb);
/// The names of an app's subcommands.
std::vector<std::string> verbs_of(const CLI::App& app);
/// What is wrong with an argument that nothing took, with the name that was probably meant.
std::string refusal(const CLI::App& verb, const std::string& argument);

/// Prints what is wrong with the command line, the name that was probably meant, and where help is. Returns the exit
/// code; 0 for --help and the like, which arrive as errors too.
int explain(const CLI::App& app, const CLI::ParseError& error);

/// Throws CLI::ValidationError for a flag or an argument whose value is "", as that of a shell's variable that is not
/// set: `--base "$BASE"` must not train a new model in silence, nor `--tokens "$TOKENS"` open a server.
void refuse_empty(const CLI::App& app);

}  // namespace bib::cli
