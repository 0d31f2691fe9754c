// `bib help`.
#pragma once
#include "cli/verbs.h"

namespace bib::cli {

/// `bib help [VERB...]`: what --help prints.
void add_help(CLI::App& app, Action& action);

}  // namespace bib::cli
