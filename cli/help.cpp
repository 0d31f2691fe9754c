#include "cli/help.h"

#include <algorithm>
#include <iostream>
#include <memory>

#include "cli/explain.h"

namespace bib::cli {
namespace {

void print_help(const CLI::App& app, const std::vector<std::string>& verbs) {
  const CLI::App* verb = &app;
  for (const std::string& name : verbs) {
    const std::vector<std::string> known = verbs_of(*verb);
    if (std::find(known.begin(), known.end(), name) == known.end()) throw UsageError(refusal(*verb, name));
    verb = verb->get_subcommand(name);
  }
  // Not verb->help(): of the program itself, that is the help of the verb in use.
  std::cout << verb->get_formatter()->make_help(verb, path_of(*verb), CLI::AppFormatMode::Normal);
}

}  // namespace

void add_help(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("help", "Explain a verb, as its --help does");
  auto names = std::make_shared<std::vector<std::string>>();
  verb->add_option("verb", *names, "The verb, such as predict or train ner");
  verb->footer("Example: bib help train ner");
  verb->callback([&app, &action, names] {
    action = [&app, names] {
      print_help(app, *names);
      return exit_code::ok;
    };
  });
}

}  // namespace bib::cli
