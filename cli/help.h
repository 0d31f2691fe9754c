// `bib help`, and what is said when the command line makes no sense.
#pragma once
#include "cli/verbs.h"

namespace bib::cli {

/// `bib help [VERB...]`: what --help prints.
void add_help(CLI::App& app, Action& action);

/// Prints what is wrong with the command line, the name that was probably meant, and where help is. Returns the exit
/// code; 0 for --help and the like, which arrive as errors too.
int explain(const CLI::App& app, const CLI::ParseError& error);

/// Throws CLI::ValidationError for a flag or an argument whose value is "", as that of a shell's variable that is not
/// set: `--base "$BASE"` must not train a new model in silence.
void refuse_empty(const CLI::App& app);

}  // namespace bib::cli
